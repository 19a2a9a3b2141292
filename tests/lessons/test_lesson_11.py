"""Notebook 11 trains, resumes and scores: on shapes, on small copies of both data sets, and on DAVIS where it is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lesson_runs import NOTEBOOKS, cells_of, run_here, solve
from test_davis import add_sequence
from test_youtube_vos import write_video

from feelvos_lab.config import configure
from feelvos_lab.errors import LabError
from feelvos_lab.files.notebooks import read_parameters, source
from feelvos_lab.lessons.training_run import compare_with_paper
from feelvos_lab.model.checkpoint import load_checkpoint, save_checkpoint
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.training import train

NAME = "11_train_full_feelvos"
SHARED = Path(os.environ.get("FEELVOS_SHARED", Path(__file__).parents[3] / "shared"))
FIGURES = {"11-loss.png", "11-worst-0.png", "11-maps-0.png"}

pytestmark = pytest.mark.usefixtures("one_thread")


def execute(desk: Path, /, **given):
    """The notebook's names and what its cells printed; it has no exercise to change."""
    return run_here(NAME, desk, change=solve, **given)


def drawn(run_folder: Path) -> set[str]:
    return {path.name for path in (run_folder / "figures").glob("*.png")}


def test_without_data_papermill_trains_a_small_network_and_says_so_where_it_cannot_be_missed(tmp_path):
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--cwd", str(tmp_path)]
    command += [str(NOTEBOOKS / f"{NAME}.ipynb"), str(tmp_path / "done.ipynb"), "-p", "folder", "mine"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    cells = json.loads((tmp_path / "done.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = {c["id"]: c["outputs"] for c in cells if c["cell_type"] == "code"}
    printed = {name: "".join("".join(o.get("text", "")) for o in found) for name, found in outputs.items()}
    assert not [o for found in outputs.values() for o in found if o.get("name") == "stderr"]
    warning = "THIS IS A DEMONSTRATION AND NOT THE TRAINING OF PRESET FULL: data_root is empty"
    assert all(f"{'=' * 100}\n{warning}" in printed[where] for where in ("chosen", "score"))
    (table,) = (o for o in outputs["published"] if "data" in o)
    assert "DEMONSTRATION, no result" in "".join(table["data"]["text/plain"])
    assert (
        printed["forecast"].splitlines()[-1].startswith("steps 1 to 3 took ")
        and "GB of the process" in printed["forecast"]
    )
    assert "mine holds the state of step 3 of 40" in printed["train"]
    assert re.findall(r"step (\d+)/40", printed["train"]) == [str(n) for n in range(4, 41, 2)]
    assert printed["resume"].endswith("steps made: 0; the same weights: True\n")
    pictures = {name: sum("image/png" in o.get("data", {}) for o in found) for name, found in outputs.items()}
    assert {name: count for name, count in pictures.items() if count} == {"loss": 1, "worst": 2, "maps": 2}
    assert drawn(tmp_path / "mine") == FIGURES | {"11-worst-1.png", "11-maps-1.png"}
    assert (tmp_path / "mine/scores/global.csv").is_file()
    trained = load_checkpoint(tmp_path / "mine/model.safetensors")[1]
    assert trained == configure("smoke", steps=40, hard_anneal_steps=20)


def test_run_again_after_an_interruption_it_ends_with_the_weights_of_one_session(tmp_path):
    config = configure("smoke", steps=8, hard_anneal_steps=4)
    train(config, seed=3, folder=tmp_path / "mine", stop_after=4)
    given = {"preset": "smoke", "steps": 8, "seed": 3, "folder": "mine", "loaders": 1}
    scope, printed = execute(tmp_path, **given)
    assert scope["ahead"] == {"loaders": 1} and "second run makes: it is 0;" in printed["resume"]
    assert scope["foreseen"].first == 4 and "step 7 of 8" in printed["train"]
    assert not scope["banner"] and "this run" in scope["score_rows"]
    assert "they are no DAVIS benchmark" in printed["score"]
    whole = train(config, seed=3).model.state_dict()
    assert all(torch.equal(tensor, whole[name]) for name, tensor in scope["trained"].model.state_dict().items())
    assert execute(tmp_path, **given)[1]["forecast"].splitlines()[-1].startswith("all 8 steps are made")
    with pytest.raises(LabError, match=r"belongs to configuration .* use another folder or delete it"):
        execute(tmp_path, **given | {"steps": 9})


def test_a_parameter_out_of_range_is_rejected_by_name_before_anything_is_read(tmp_path):
    with pytest.raises(LabError, match="accumulate must divide the batch_size of 48, got 7"):
        execute(tmp_path, accumulate=7, data_root="nowhere", cpu=True)
    with pytest.raises(LabError, match="loaders must be a whole number from 0 to 64, got -1"):
        execute(tmp_path, loaders=-1)
    with pytest.raises(LabError, match=r"preset must be .*, got 'ful'.*'full'"):
        execute(tmp_path, preset="ful")
    with pytest.raises(LabError, match="seed must not be negative"):
        execute(tmp_path, seed=-1)
    with pytest.raises(LabError, match=r"nowhere needs the folders|nowhere is no DAVIS-2017 root"):
        execute(tmp_path, data_root="nowhere", cpu=True)
    assert not list(tmp_path.iterdir())


def test_the_papers_network_begins_with_a_given_trunk_on_both_data_sets(tmp_path):
    davis = tmp_path / "both/davis-2017"
    for name in ("bear", "dog"):
        add_sequence(davis, name)
    (davis / "ImageSets/2017").mkdir(parents=True)
    (davis / "ImageSets/2017/train.txt").write_text("bear\n")
    (davis / "ImageSets/2017/val.txt").write_text("dog\n")
    write_video(tmp_path / "both/youtube-vos/train", "video", entering={1: 0, 2: 10}, last=20)
    config = configure("full")
    torch.manual_seed(1)
    save_checkpoint(tmp_path / "trunk.safetensors", Feelvos(config.model), config)
    given = {"data": "davis-2017+youtube-vos", "data_root": str(tmp_path / "both"), "start": "trunk.safetensors"}
    small = {"steps": 2, "height": 24, "width": 32, "batch_size": 2, "accumulate": 2, "test_height": 16}
    scope, printed = execute(tmp_path, **given, **small, start_part="trunk", cpu=True, folder="full")
    assert scope["config"].preset == "full" and not scope["banner"]
    assert printed["clips"].startswith("2 clips of davis-2017+youtube-vos to train on, 1 to score")
    assert scope["compared"].loc["first weights", "here"] == "trunk.safetensors"
    own = {"steps", "batch_size", "accumulate", "height", "width", "hard_anneal_steps", "test_height"}
    compared = scope["compared"].iloc[3:]
    assert set(compared.index[compared.differs.astype(bool)]) == own
    assert "the published val list has 30 sequences, here are 1" in printed["score"]
    assert scope["score_rows"]["this run"]["seen at"] == "16 rows"
    assert scope["score_rows"]["paper: FEELVOS"]["J&F"] == "71.5"
    assert drawn(tmp_path / "full") == FIGURES


@pytest.mark.shared
@pytest.mark.parametrize("preset", ["real", "full"])
def test_on_davis_it_trains_scores_at_the_published_size_and_shows_the_worst_clip(preset, tmp_path):
    davis = SHARED / "data/davis16"
    if not davis.is_dir():
        pytest.skip(f"no real video in {SHARED}: set FEELVOS_SHARED")
    root = tmp_path / "DAVIS"
    for split, name, frames in (("train", "bear", 6), ("train", "dog-agility", 6), ("val", "soapbox", 5)):
        for kind, ending in (("JPEGImages", "jpg"), ("Annotations", "png")):
            (root / kind / "480p" / name).mkdir(parents=True)
            for t in range(frames):
                (root / kind / "480p" / name / f"{t:05d}.{ending}").symlink_to(
                    davis / kind / "480p" / name / f"{t:05d}.{ending}"
                )
        (root / "ImageSets/2016").mkdir(parents=True, exist_ok=True)
        with (root / f"ImageSets/2016/{split}.txt").open("a") as listing:
            listing.write(f"{name}\n")
    small = {"steps": 4, "height": 32, "width": 48, "batch_size": 2, "test_height": 96}
    scope, printed = execute(tmp_path, preset=preset, data="davis-2016", data_root=str(root), cpu=True, **small)
    assert not scope["banner"] and scope["config"].preset == preset
    assert "changed: {'data': 'davis-2016', 'steps': 4, 'height': 32, 'width': 48," in printed["chosen"]
    assert re.search(r"these steps: forecast \d+ s, took \d+ s", printed["train"])
    assert scope["foreseen"].left == 1 and [row["step"] for row in scope["logged"]] == [1, 2, 3, 4]
    row = scope["score_rows"]["this run"]
    assert (row["trained on"], row["seen at"], row["scored at"]) == ("davis-2016", "96 rows", "480 rows")
    assert scope["score_rows"]["paper: FEELVOS"]["J"] == "81.1" and "here are 1" in printed["score"]
    assert drawn(tmp_path / scope["run_folder"]) == FIGURES
    notes = json.loads((tmp_path / scope["run_folder"] / "figures/11-worst-0.json").read_text())
    assert notes["parameters"]["clip"] == "soapbox"


def test_what_its_text_says_of_its_parameters_is_so():
    parameters = read_parameters(NOTEBOOKS / f"{NAME}.ipynb")
    texts = {cell["id"]: source(cell) for cell in cells_of(NAME)}
    for words in texts["commands"].split("-p ")[1:]:
        assert words.split()[0] in parameters
    real = compare_with_paper(configure("real", data="davis-2016"))
    assert 35 <= int(real["differs"].sum()) <= 46  # "some forty"
    full = compare_with_paper(configure("full", data="davis-2017+youtube-vos"))
    assert not full["differs"].any()
    saved = 1234 // parameters["save_every"].default * parameters["save_every"].default
    assert f"the state of step {saved:,} would be read" in texts["after-resume"]
