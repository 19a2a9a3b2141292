"""J, F and their statistics against the numbers of the official evaluation."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.davis import read_davis
from feelvos_lab.data.images import read_mask
from feelvos_lab.evaluation.metrics import contour_accuracy, frame_scores, region_similarity, score_masks, summarise

HERE = Path(__file__).parents[1]
SHARED = Path(os.environ.get("FEELVOS_SHARED", HERE.parent.parent / "shared"))
GOLDEN = HERE / "golden/metrics"
REFERENCE = json.loads((GOLDEN / "reference.json").read_text())
REAL = ("davis2016val_merged/bmx-trees", "davis2016val_merged/camel", "davis2016val_merged/kite-surf")
REAL += ("davis2017_perobject/bmx-trees_1", "davis2017_perobject/bmx-trees_2")


@pytest.fixture(scope="module")
def masks() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "masks.npz") as file:
        return dict(file)


@pytest.mark.parametrize("name", REFERENCE["pairs"])
def test_a_pair_of_masks_scores_as_officially(name: str, masks: dict[str, np.ndarray]) -> None:
    expected = REFERENCE["pairs"][name]
    height, width = expected["size"]
    bits = np.unpackbits(masks[f"pair/{name}"], count=2 * height * width).astype(bool)
    prediction, truth = bits.reshape(2, height, width)
    assert region_similarity(prediction, truth) == pytest.approx(expected["J"], abs=1e-12)
    assert contour_accuracy(prediction, truth) == pytest.approx(expected["F"], abs=1e-12)


@pytest.mark.parametrize("clip_name", sorted({name.rsplit("_", 1)[0] for name in REFERENCE["sequences"]}))
def test_a_whole_evaluation_counts_as_officially(clip_name: str, masks: dict[str, np.ndarray]) -> None:
    truth = torch.from_numpy(masks[f"truth/{clip_name}"].astype(np.int64))
    ids = tuple(i for i in truth[0].unique().tolist() if i)
    clip = Clip(clip_name, torch.zeros(len(truth), 3, *truth.shape[1:], dtype=torch.uint8), truth, ids)
    rows = score_masks(masks[f"predicted/{clip_name}"], clip)
    assert len(rows) == sum(name.startswith(clip_name) for name in REFERENCE["sequences"])
    for row in rows:
        expected = REFERENCE["sequences"][f"{clip_name}_{row['object']}"]
        for measure in "JF":
            ours = [row[measure], row[f"{measure}_recall"], row[f"{measure}_decay"]]
            assert ours == pytest.approx(expected[measure], abs=1e-12)


@pytest.mark.parametrize("case", REFERENCE["statistics"], ids=lambda case: f"{len(case['values'])}_frames")
def test_recall_and_decay_of_a_series_are_the_official_ones(case: dict) -> None:
    scores = [{"clip": "a", "object": 1, "frame": t, "J": v, "F": 1 - v} for t, v in enumerate(case["values"])]
    row = summarise(scores)[0]
    assert [row["J"], row["J_recall"], row["J_decay"]] == pytest.approx(
        [case["mean"], case["recall"], case["decay"]], abs=1e-12
    )
    assert row["F_decay"] == pytest.approx(-case["decay"], abs=1e-12)


@pytest.mark.shared
@pytest.mark.parametrize("key", REAL)
def test_real_sequences_score_as_officially_in_every_frame(key: str) -> None:
    file = SHARED / "golden/metrics/reference.json"
    if not file.is_file():
        pytest.skip(f"no reference numbers at {file}")
    kind, name = key.split("/")
    merged = kind == "davis2016val_merged"
    expected = json.loads(file.read_text())[key]
    name, object_id = (name, 1) if merged else (name[:-2], int(name[-1]))
    year, folder = (2016, "davis16") if merged else (2017, "davis17")
    splits = [path.stem for path in (SHARED / f"data/{folder}/ImageSets/{year}").glob("*.txt")]
    clips = [clip for split in splits for clip in read_davis(SHARED / "data" / folder, year=year, split=split)]
    clip = next(clip for clip in clips if clip.name == name)
    files = sorted((SHARED / "golden/metrics/predictions" / name).glob("*.png"))
    predicted = [read_mask(path, binary=merged) for path in files]

    scores = [row for row in frame_scores(predicted, clip) if row["object"] == object_id]
    assert [row["frame"] for row in scores] == list(range(1, len(clip) - 1))
    for measure in "JF":
        assert np.abs(np.array([row[measure] for row in scores]) - expected[measure]).max() < 1e-6
    total = summarise(scores)[0]
    assert total["frames"] == expected["n"]
    for measure in "JF":
        for ours, theirs in ((measure, "mean"), (f"{measure}_recall", "recall"), (f"{measure}_decay", "decay")):
            assert total[ours] == pytest.approx(expected[f"{measure}_{theirs}"], abs=1e-9)
