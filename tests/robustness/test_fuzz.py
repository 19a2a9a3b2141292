"""Readers against what nobody wrote: the right result or a LabError, never another exception.

The examples are the same each time. What has checksums (PNG, checkpoints, TensorFlow's index) must be right or
refused; JPEG and video have none, so that of them only the kind of failure is held.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from bad_input_folder import film, write_frames
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from standin_experiment import SPEC, record_by_hand, write_spec

from feelvos_lab.ablation import report
from feelvos_lab.ablation.record import RECORD, read_record
from feelvos_lab.ablation.results import read_results, read_scores
from feelvos_lab.ablation.spec import load_spec
from feelvos_lab.config import configure
from feelvos_lab.data.images import read_distance, read_frame, read_mask, write_distance, write_mask
from feelvos_lab.data.video import VideoFrames
from feelvos_lab.data.youtube_vos import read_youtube_vos
from feelvos_lab.errors import LabError
from feelvos_lab.files.notebooks import parse_parameters, read_parameters
from feelvos_lab.lessons.rules import lint
from feelvos_lab.model.checkpoint import load_checkpoint, read_card, save_checkpoint, write_card
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.tf_import.checkpoint_format import Bundle

Reader = Callable[[Path], object]
SHARED = Path(os.environ.get("FEELVOS_SHARED", Path(__file__).parents[3] / "shared"))
GENUINE = SHARED / "golden" / "checkpoint"


def fuzz(examples: int) -> settings:
    """The same examples each time, without a database or a clock; the folder is shared between them."""
    shared = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=shared)


SHARES = st.floats(0, 1, exclude_max=True)
SPOILS = st.one_of(  # what is done to a file's bytes: cut, or some bits flipped
    st.tuples(st.just("cut"), SHARES.map(lambda share: [share])),
    st.tuples(st.just("flip"), st.lists(SHARES, min_size=1, max_size=3)),
)


def spoilt(content: bytes, spoil: tuple[str, list[float]]) -> bytes:
    how, places = spoil
    if how == "cut":
        return content[: int(places[0] * len(content))]
    damaged = bytearray(content)
    for share in places:
        damaged[int(share * len(content))] ^= 1 << int(share * 1e6) % 8
    return bytes(damaged)


def result(read: Reader, path: Path) -> object:
    """What the reader gives, or None where it refuses; any other exception ends the test."""
    try:
        return read(path)
    except LabError as error:
        assert str(error).strip()
        return None


def same(a: object, b: object) -> bool:
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One good file of each kind."""
    desk = tmp_path_factory.mktemp("desk")
    rng = np.random.default_rng(0)
    write_mask(desk / "mask.png", torch.from_numpy(rng.integers(0, 4, (20, 24))))
    write_distance(desk / "distance.png", torch.rand(9, 11))
    write_frames(desk / "video", range(1))
    film("film.mp4")(desk)
    config = configure("smoke", embedding_dim=4, decoder_dim=8, context_dim=8, head_dim=8)
    save_checkpoint(desk / "model.safetensors", Feelvos(config.model), config)
    write_card(desk / "model.safetensors", config=config, seed=0, command="feelvos-lab train")
    spec = load_spec(write_spec(desk))
    record_by_hand(desk, spec)
    report.write_report(read_results(spec, root=desk))
    return desk


def weights(path: Path) -> object:
    model = load_checkpoint(path)[0]
    return sorted((name, tensor.sum().item()) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "read", "examples"),
    [
        ("mask.png", read_mask, 80),
        ("mask.png", read_frame, 40),
        ("distance.png", read_distance, 60),
        ("model.safetensors", weights, 50),
    ],
)
def test_a_damaged_file_with_checksums_is_right_or_refused(
    name: str, read: Reader, examples: int, desk: Path, tmp_path: Path
) -> None:
    whole, content = read(desk / name), (desk / name).read_bytes()

    @fuzz(examples)
    @given(SPOILS)
    def check(spoil: tuple[str, list[float]]) -> None:
        (tmp_path / name).write_bytes(spoilt(content, spoil))
        found = result(read, tmp_path / name)
        assert found is None or same(found, whole)

    check()


def test_damaged_scores_are_refused_or_still_scores(desk: Path, tmp_path: Path) -> None:
    source = desk / "runs" / "demo" / "report"
    content = (source / "records.csv").read_bytes()

    @fuzz(40)
    @given(SPOILS)
    def check(spoil: tuple[str, list[float]]) -> None:
        (tmp_path / "records.csv").write_bytes(spoilt(content, spoil))
        found = result(read_scores, tmp_path)
        assert found is None or found[["J", "F", "JF"]].stack().between(0, 100).all()

    check()


@pytest.mark.parametrize(
    ("name", "read", "examples"),
    [
        ("video/00000.jpg", read_frame, 60),
        ("film.mp4", lambda path: [frame.shape for frame in VideoFrames(path)], 30),
        ("worker.ipynb", lambda path: (lint(path), read_parameters(path)), 80),
        ("demo.yml", load_spec, 60),
    ],
)
def test_a_damaged_file_without_checksums_is_read_or_refused(
    name: str, read: Reader, examples: int, desk: Path, tmp_path: Path
) -> None:
    content, path = (desk / name).read_bytes(), tmp_path / Path(name).name
    if name == "demo.yml":
        write_spec(tmp_path)

    @fuzz(examples)
    @given(SPOILS)
    def check(spoil: tuple[str, list[float]]) -> None:
        path.write_bytes(spoilt(content, spoil))
        result(read, path)

    check()


# torchvision 0.21 asks FFmpeg for its errors as soon as it is imported; they come from whichever thread meets one
LISTENED = """
import random, sys
from pathlib import Path
import av.logging
from feelvos_lab.data.video import VideoFrames
from feelvos_lab.errors import LabError

av.logging.set_level(av.logging.ERROR)
whole, damaged = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
rng, refused = random.Random(0), 0
for _ in range(100):
    content = bytearray(whole)
    for _ in range(rng.randint(1, 8)):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    damaged.write_bytes(content)
    try:
        frames = VideoFrames(damaged)
        frames[len(frames) - 1]
    except LabError:
        refused += 1
print(refused)
"""


def test_a_damaged_film_stops_nobody_who_listens_to_ffmpeg(desk: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LISTENED, desk / "film.mp4", tmp_path / "film.mp4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and 10 <= int(done.stdout) < 100, done.stderr[-2000:]


def test_a_card_that_was_damaged_is_refused_or_says_the_same_checksum(desk: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((desk / "model.safetensors").read_bytes())
    card = (desk / "model.json").read_bytes()
    wanted = read_card(desk / "model.safetensors")["sha256"]

    @fuzz(60)
    @given(SPOILS)
    def check(spoil: tuple[str, list[float]]) -> None:
        (tmp_path / "model.json").write_bytes(spoilt(card, spoil))
        found = result(read_card, tmp_path / "model.safetensors")
        assert found is None or found["sha256"] == wanted

    check()


@fuzz(80)
@given(st.binary(max_size=300), st.booleans())
def test_bytes_that_nobody_ordered_are_no_tensorflow_index(tmp_path: Path, content: bytes, footed: bool) -> None:
    magic = (0xDB4775248B80FB57).to_bytes(8, "little")
    (tmp_path / "model.ckpt.index").write_bytes(content + (b"\0" * 40 + magic if footed else b""))
    assert result(Bundle, tmp_path / "model.ckpt") is None


@pytest.mark.skipif(not GENUINE.is_dir(), reason="needs golden/checkpoint in the folder FEELVOS_SHARED")
@pytest.mark.parametrize("ending", [".index", ".data-00000-of-00001"])
def test_a_damaged_tensorflow_checkpoint_gives_its_numbers_or_is_refused(ending: str, tmp_path: Path) -> None:
    name = "head.ckpt-200004"
    for path in GENUINE.glob(f"{name}.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())

    def numbers(prefix: Path) -> dict[str, list[float]]:
        bundle = Bundle(prefix)
        return {entry: bundle.read(entry).ravel().tolist() for entry in bundle.entries}

    whole, content = numbers(tmp_path / name), (tmp_path / f"{name}{ending}").read_bytes()

    @fuzz(40)
    @given(SPOILS)
    def check(spoil: tuple[str, list[float]]) -> None:
        (tmp_path / f"{name}{ending}").write_bytes(spoilt(content, spoil))
        found = result(numbers, tmp_path / name)
        assert found is None or found == whole

    check()


@fuzz(60)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31), st.integers(1, 32))
def test_a_mask_comes_back_as_it_was_written(tmp_path: Path, height: int, width: int, seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    ids = np.concatenate([[0, 255], rng.choice(np.arange(1, 255), count, replace=False)])
    labels = torch.from_numpy(rng.choice(ids, (height, width)).astype(np.int64))
    write_mask(tmp_path / "mask.png", labels)
    assert torch.equal(read_mask(tmp_path / "mask.png"), labels)


MODES = ["1", "L", "P", "RGB", "RGBA", "LA", "I;16", "CMYK", "YCbCr", "F", "I"]


@fuzz(80)
@given(st.sampled_from(MODES), st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**31), st.integers(0, 9))
def test_an_image_of_any_mode_is_a_mask_of_its_own_ids_or_refused(
    tmp_path: Path, mode: str, height: int, width: int, seed: int, scaled: int
) -> None:
    pixels = np.random.default_rng(seed).choice([0, 1, 3, 254, 255], (height, width)).astype(np.uint8)
    picture = Image.fromarray(pixels)
    picture = Image.fromarray(pixels.astype(np.uint16)) if mode == "I;16" else picture.convert(mode)
    stored = BytesIO()
    try:
        picture.save(stored, "PNG")
    except OSError:  # a mode that PNG does not have
        picture.convert("RGB").save(stored, "JPEG")
    (tmp_path / "any.png").write_bytes(stored.getvalue())
    labels = result(lambda path: read_mask(path, height=scaled), tmp_path / "any.png")
    if labels is None:
        return
    assert mode in ("1", "L", "P", "LA", "RGB", "RGBA") and labels.dtype == torch.int64
    assert set(labels.unique().tolist()) <= {0, 1, 3, 254, 255}
    if scaled in (0, height) and mode not in ("1", "P") and set(np.unique(pixels)) <= {0, 1, 3, 254}:
        assert torch.equal(labels, torch.from_numpy(pixels.astype(np.int64)))


@fuzz(80)
@given(
    st.one_of(
        st.just(torch.zeros(0, 3, dtype=torch.int64)),
        st.integers(-3, 300).map(lambda value: torch.full((2, 2), value)),
        st.floats(width=32).map(lambda value: torch.full((2, 2), value)),
        st.integers(0, 4).map(lambda axes: torch.zeros([2] * axes, dtype=torch.int64)),
    )
)
def test_labels_that_are_no_mask_are_not_written(tmp_path: Path, labels: torch.Tensor) -> None:
    path = tmp_path / "mask.png"
    path.unlink(missing_ok=True)
    if result(lambda path: write_mask(path, labels) or True, path):
        assert torch.equal(read_mask(path), labels) or labels.max() > 254
    else:
        assert not path.exists()


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON = st.recursive(
    PLAIN, lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3)
)


def test_a_record_with_any_entry_replaced_is_a_record_or_refused(desk: Path, tmp_path: Path) -> None:
    whole = (next((desk / "runs/demo").glob("full-s0-*")) / RECORD).read_text()
    parts = [lambda r: r, lambda r: r["scores"][0], lambda r: r["config"], lambda r: r["history"]]

    @fuzz(100)
    @given(st.sampled_from(parts), st.integers(0, 30), JSON)
    def check(part: Callable[[dict], dict], which: int, value: object) -> None:
        record = json.loads(whole)
        names = sorted(part(record))
        part(record)[names[which % len(names)]] = value
        (tmp_path / RECORD).write_text(json.dumps(record))
        found = result(read_record, tmp_path)
        if found is not None:
            assert all(0 <= row[name] <= 1 for row in found["scores"] for name in ("J", "F", "JF"))
            assert found["train_seconds"] >= 0

    check()


@fuzz(60)
@given(JSON)
def test_any_json_is_no_record_no_notebook_and_no_list_of_videos(tmp_path: Path, content: object) -> None:
    (tmp_path / RECORD).write_text(json.dumps(content))
    assert result(read_record, tmp_path) is None
    for part in ("JPEGImages", "Annotations"):
        (tmp_path / "train" / part).mkdir(parents=True, exist_ok=True)
    (tmp_path / "train/meta.json").write_text(json.dumps({"videos": content}))
    assert result(lambda root: read_youtube_vos(root, split="train"), tmp_path) is None
    (tmp_path / "book.ipynb").write_text(json.dumps({"nbformat": 4, "cells": [content]}))
    assert result(read_parameters, tmp_path / "book.ipynb") is None
    result(lint, tmp_path / "book.ipynb")


@fuzz(120)
@given(st.text(max_size=60))
def test_any_text_is_a_parameters_cell_or_refused(text: str) -> None:
    result(lambda _: parse_parameters(text, where="here"), Path())
    result(lambda _: parse_parameters(f"seed: int = {text}", where="here"), Path())


KEYS = ["question", "notebook", "preset", "split", "metric", "seeds", "baseline", "variants", "claims", "grid", "fixed"]
VALUES = st.text(alphabet="abz019 .:-#&*!{}[]\"'\n|>%@,~", max_size=20)


@fuzz(100)
@given(st.sampled_from(KEYS), VALUES, st.booleans())
def test_a_spec_with_any_value_is_read_or_refused_with_its_place(
    tmp_path: Path, key: str, value: str, first: bool
) -> None:
    path = write_spec(tmp_path)
    lines = [line for line in SPEC.splitlines() if not line.startswith(f"{key}:")]
    lines.insert(0 if first else len(lines), f"{key}: {value}")
    path.write_text("\n".join(lines))
    try:
        spec = load_spec(path)
    except LabError as error:
        assert re.match(rf"{re.escape(str(path))}(:[0-9]+)?[: ,]", str(error)), error
    else:
        assert spec.question and spec.variants
