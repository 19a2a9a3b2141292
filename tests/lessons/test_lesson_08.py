"""Lesson 08, the studio: it runs for a list of clips under papermill, and what its text claims is so."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from lesson_runs import NOTEBOOKS, run_here
from PIL import Image

from feelvos_lab.config import configure
from feelvos_lab.data.images import write_mask
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.errors import LabError
from feelvos_lab.files import notebooks
from feelvos_lab.inference.matches import find_links, run_to_frames
from feelvos_lab.lessons import rules
from feelvos_lab.model.checkpoint import shipped_mismatch
from feelvos_lab.model.grid import resize_labels

NAME = "08_distance_map_studio"
pytestmark = pytest.mark.skipif(
    bool(shipped_mismatch(configure("reduced"), seed=0)), reason="the reduced model is not shipped"
)


def test_the_lesson_is_stripped_and_keeps_the_rules(tmp_path):
    copy = tmp_path / f"{NAME}.ipynb"
    copy.write_text((NOTEBOOKS / f"{NAME}.ipynb").read_text(encoding="utf-8"), encoding="utf-8")
    assert rules.lint(copy) == [] and not notebooks.strip(copy)


def test_papermill_draws_a_list_of_clips_that_the_parameters_name(tmp_path):
    clip = make_clip(3, height=40, width=48, frames=5, objects=2)
    (tmp_path / "film").mkdir()
    for t, frame in enumerate(clip.frames):
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(tmp_path / "film" / f"{t}.png")
    write_mask(tmp_path / "first.png", clip.masks[0])
    given = "{clips: [film, shapes-7], masks: [first.png], layout: strip, frames: [1, 4], objects: [1], width: page}"
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--cwd", str(tmp_path), "-y", given]
    command += [str(NOTEBOOKS / f"{NAME}.ipynb"), str(tmp_path / "done.ipynb")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    cells = json.loads((tmp_path / "done.ipynb").read_text(encoding="utf-8"))["cells"]
    assert not [o for c in cells for o in c.get("outputs", []) if o.get("name") == "stderr"]
    pictures = {c["id"]: sum("image/png" in o.get("data", {}) for o in c.get("outputs", [])) for c in cells}
    assert {n: count for n, count in pictures.items() if count} == {
        "paper": 1, "clip": 1, "sheet": 1, "strip": 1, "arrows": 1, "failing": 1, "given": 1, "own": 2,
    }  # fmt: skip
    for name in ("film-strip-4-page", "shapes-7-strip-4-page"):
        notes = json.loads((tmp_path / "figures" / f"{name}.json").read_text(encoding="utf-8"))
        assert notes["parameters"]["frames"] == [1, 4] and notes["parameters"]["objects"] == [1]
        assert notes["checkpoint_sha256"] and notes["preset"] == "real"  # a folder is taken for real video
    assert notes["parameters"]["video"] == "shapes-7"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    desk = tmp_path_factory.mktemp("studio")
    scope, printed = run_here(NAME, desk, change=str)
    torch.set_num_threads(threads)
    return scope, printed, {p.name for p in (desk / "figures").iterdir()}


def test_as_shipped_it_keeps_every_figure_with_its_notes(run):
    names = ["08-sheet", "08-strip", "08-arrows", "08-failing", "bunny-sheet-24-column"]
    assert run[2] == {f"{name}.{kind}" for name in names for kind in ("png", "pdf", "json")}


def test_the_numbers_on_paper_are_those_that_the_text_counts(run):
    anywhere, nearby = run[0]["anywhere"], run[0]["nearby"]
    assert (anywhere[0, 2], anywhere[1, 2], anywhere[3, 3]) == (1, 5, 5)
    assert (anywhere == 5).sum() == 15
    assert nearby.tolist() == [[5, 5, 1, -1], [5, 5, 5, -1], [5, 5, 5, -1], [-1, -1, -1, -1]]


@pytest.fixture(scope="module")
def film(run):
    """The lesson's clip frame by frame: what was seen, and the truth on the stride-4 grid."""
    clip, model = run[0]["source"].clip, run[0]["model"]
    seen = run_to_frames(model, clip, range(1, 16))
    truth = {t: resize_labels(clip.masks[t], seen[t].cues.global_map.shape[1:]) for t in range(1, 16)}
    return seen, truth


def test_neither_map_would_do_for_both_objects(film):
    seen, truth = film
    cues, truth = seen[8].cues, truth[8]
    g1, g2, l1, l2 = cues.global_map[1], cues.global_map[2], cues.local_map[1], cues.local_map[2]
    assert l1[truth == 1].median() < g1[truth == 1].median() - 0.08
    assert g2[truth == 2].median() < 0.15 and l2[truth == 2].median() < 0.1
    assert (g2[truth != 2] < 0.3).sum() > 1.5 * (l2[truth != 2] < 0.3).sum()
    before = resize_labels(seen[7].labels, truth.shape)
    slivers = ((l2 < 0.3) & (truth != 2) & (before == 2)).nonzero()
    first_of_1 = (truth == 1).nonzero()
    assert len(slivers) >= 5
    assert torch.cdist(slivers.float(), first_of_1.float()).min(1).values.median() < 3  # cells: beside object 1


def test_a_global_map_ages_and_a_spot_comes_back_with_the_look_alike(film):
    seen, truth = film

    def mean(name: str, o: int, t: int) -> float:
        return float(getattr(seen[t].cues, name)[o][truth[t] == o].mean())

    aged = [mean("global_map", o, 15) - mean("global_map", o, 1) for o in (1, 2)]
    assert aged[0] > aged[1] > 0.1
    assert all(mean("local_map", o, 15) - mean("local_map", o, 1) < aged[o - 1] / 1.5 for o in (1, 2))
    bright = {t: [int((m[2][truth[t] != 2] < 0.3).sum()) for m in seen[t].cues[:2]] for t in (4, 8, 13)}
    assert all(2 * bright[8][m] <= min(bright[4][m], bright[13][m]) for m in (0, 1))  # hidden in the middle


def test_the_last_arrow_leads_from_the_look_alike_into_the_object_and_has_no_fellow(run, film):
    (seen, truth), scope = film, run[0]
    cells = scope["matches"].choose_cells(seen[8], 2, scope["source"].clip)
    links = find_links(seen[8], 2, scope["source"].clip, cells, model=scope["model"])
    assert all(truth[8][link.query] == 2 for link in links[:-1]) and truth[8][links[-1].query] != 2
    assert links[-1].previous is None and links[-1].first_distance < 0.3 and len(links) >= 3
    steps = torch.tensor([[b - a for a, b in zip(li.query, li.previous, strict=True)] for li in links[:-1]]).float()
    jumps = torch.tensor([[b - a for a, b in zip(li.query, li.first, strict=True)] for li in links[:-1]]).float()
    assert steps.std(0).max() < 1 and jumps.std(0).max() > 2
    assert links[-1].first_distance < 0.1 and max(li.first_distance for li in links[:-1]) < 0.1


def test_the_numbers_to_guess_are_those_of_the_grids(run):
    assert "without a window: it is 15;" in run[1]["paper"] and "radius 1: it is 7;" in run[1]["paper"]
    assert [line[2:].split(" is ", 1)[1].split(";")[0] for line in run[1]["numbers"].splitlines()] == [
        "changed colours", "no difficulty", "a return", "a look-alike",
    ]  # fmt: skip


def test_the_stones_are_near_to_the_bunny_in_its_global_map_alone(run):
    clip, network = run[0]["sources"][0].clip, run[0]["network"]
    seen = run_to_frames(network, clip, [24], height=240)[24]
    truth = resize_labels(clip.masks[24], seen.cues.global_map.shape[1:])
    far, near = ({o: float(m[1][truth == o].mean()) for o in range(4)} for m in seen.cues[:2])
    assert max(far[2], far[3]) < far[0] - 0.3 and near[2] > far[2] + 0.2 and near[3] < near[2] - 0.2
    assert all(((seen.labels == o) & (clip.masks[24] == 1)).sum() < 0.05 * (clip.masks[24] == 1).sum() for o in (2, 3))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layout": "shet"}, "there is no layout 'shet'"),
        ({"frames": [41]}, "there is no frame 41 in clip 'bunny': it has frames 0 to 40"),
        ({"frames": [0]}, "frame 0 of clip 'bunny' has no distance maps"),
        ({"height": 3}, "height must be a whole number from 4 to 4320, got 3"),
        ({"preset": "full"}, "preset must be 'smoke' or 'reduced' or 'real', got 'full'"),
        ({"clip_seed": -1}, "clip_seed must be a whole number from 0"),
    ],
)
def test_a_parameter_out_of_range_is_refused_before_anything_is_drawn(given, message, tmp_path):
    with pytest.raises(LabError, match=message):
        run_here(NAME, tmp_path, change=str, **given)
    assert not list(tmp_path.iterdir())


def test_each_letter_fails_as_the_text_says(run):
    rows = run[0]["rows"]
    names = ("global, mean inside", "local, mean inside", "global, bright cells outside", "local, bright cells outside")
    inside, local, outside, local_outside, j = (
        {letter: row[name] for letter, row in rows.items()} for name in (*names, "J")
    )
    assert inside["B"] < 0.25 and local["B"] < 0.25 and j["B"] > 0.8
    assert outside["D"] > 2 * outside["B"] and local["D"] < 0.25
    assert local_outside["D"] > 2 * local_outside["B"]  # the look-alike was let in before
    piece = [cue[2] < 0.3 for cue in run[0]["seen"]["D"].cues[:2]]
    assert (piece[0] & piece[1] & ~run[0]["inside"]["D"]).sum() > 40  # the same piece in both maps
    assert local["C"] == 1 and (run[0]["seen"]["C"].cues.local_map[2] > 0.9).all() and j["C"] > 0.5
    assert inside["A"] > 0.7 and local["A"] < 0.4 and outside["A"] > 10 and 0.2 < j["A"] < 0.7
