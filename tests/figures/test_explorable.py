"""The page of one pixel's distances: its numbers are the library's to the stated bound, and it stays small."""

from __future__ import annotations

import base64
import doctest
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from feelvos_lab.cli import main as cli
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.errors import LabError
from feelvos_lab.figures import explorable, style
from feelvos_lab.figures.explorable import quantise, write_explorable
from feelvos_lab.inference.probe import Probe, Switches
from feelvos_lab.model.checkpoint import load_model
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.model.grid import resize_labels
from feelvos_lab.model.matching import global_matching, local_matching, normalise_distance

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model() -> Feelvos:
    return load_model("reduced")


@pytest.fixture(scope="module")
def clip() -> Clip:
    return make_clip(7, height=64, width=80, frames=6, objects=2)


def content_of(page: Path) -> dict[str, Any]:
    return json.loads(re.search(r'id="content">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)[1])


def unrolled(runs: str) -> torch.Tensor:
    """Runs of channels, as the page reads them."""
    pairs = np.frombuffer(base64.b64decode(runs), np.uint8).reshape(-1, 2)
    return torch.from_numpy(np.repeat(pairs[:, 0], pairs[:, 1]).astype(np.int64))


def read_embeddings(content: dict[str, Any], t: int) -> torch.Tensor:
    """(D, h, w), up to the constant that no difference sees."""
    (h, w), steps = content["grid"], torch.tensor(content["steps"])
    codes = np.frombuffer(base64.b64decode(content["embeddings"][str(t)]), np.uint8).astype(np.float32)
    return (torch.from_numpy(codes).view(h, w, len(steps)) * steps).movedim(-1, 0)


def test_no_distance_of_rounded_embeddings_is_further_off_than_the_bound() -> None:
    generator = torch.Generator().manual_seed(0)
    for scale in (0.02, 0.1, 0.3, 3.0):  # from near to far
        exact = scale * torch.randn(3, 24, 9, 11, generator=generator)
        small = quantise(exact)
        rounded = small.lowest + small.codes * small.steps  # (S, h, w, D)
        true, kept = exact.movedim(1, -1).flatten(0, 2).double(), rounded.flatten(0, 2)
        difference = normalise_distance(torch.cdist(true, true).square()) - normalise_distance(
            torch.cdist(kept, kept).square()
        )
        assert 0 < difference.abs().max() <= small.bound
        assert (true - kept).norm(dim=1).max() <= small.error + 1e-12
    assert small.codes.dtype == torch.uint8


def test_the_bound_is_near_what_the_worst_pair_of_embeddings_loses() -> None:
    """Two embeddings where Eq. 1 is steepest, both rounded by half a step towards each other."""
    step, almost = 2 / 255, 0.4999 * 2 / 255
    first, second = 50 * step, (50 + round(1.02 / step)) * step
    exact = torch.tensor([0.0, 2.0, first + almost, second - almost], dtype=torch.float64)
    small = quantise(exact.view(1, 1, 1, 4))
    kept = (small.lowest + small.codes * small.steps).flatten()
    before, after = (normalise_distance((e[2] - e[3]).square()) for e in (exact, kept))
    assert 0.98 * (small.bound - explorable.FLOAT32) <= abs(before - after) <= small.bound


def test_a_channel_that_is_constant_changes_no_distance() -> None:
    exact = torch.zeros(1, 2, 1, 3)
    exact[0, 0] = torch.tensor([0.0, 0.5, 1.0])
    exact[0, 1] = 7.0
    small = quantise(exact)
    assert small.codes[..., 1].eq(0).all() and small.bound < 0.01


def test_the_steepest_slope_of_equation_1_is_the_one_that_bounds_it() -> None:
    s = torch.linspace(0, 4, 400_001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(normalise_distance(s.square()).sum(), s)
    assert slope.max() <= explorable.STEEPEST <= slope.max() + 1e-3
    assert float(s.detach()[slope.argmax()]) == pytest.approx(1.02, abs=0.01)


def test_the_maps_of_what_the_page_holds_are_the_networks_to_the_bound(
    model: Feelvos, clip: Clip, tmp_path: Path
) -> None:
    page = write_explorable(clip, tmp_path / "page.html", model=model, frames=[5, 2])
    content, probe = content_of(page.path), Probe(model, clip)
    assert page.frames == (2, 5) and content["bound"] == pytest.approx(page.bound) and page.bound < 0.1
    objects, grid = len(content["objects"]), probe.grid
    for t in page.frames:
        now, first, previous = (read_embeddings(content, n) for n in (t, 0, t - 1))
        labels = {n: unrolled(content["cells"][str(n)]).view(grid) for n in (0, t - 1)}
        cues = probe.answer(t).cues
        to_first = global_matching(now, first, labels[0], num_objects=objects)
        radius = content["trained"]["radius"]
        to_previous = local_matching(now, previous, labels[t - 1], num_objects=objects, radius=radius)
        for computed, networks in ((to_first, cues.global_map), (to_previous, cues.local_map)):
            assert (computed - networks).abs().max() <= page.bound
            assert networks.std() > 0.01  # maps that differ from pixel to pixel


def test_the_page_holds_the_answer_of_every_set_of_cues(model: Feelvos, clip: Clip, tmp_path: Path) -> None:
    content = content_of(write_explorable(clip, tmp_path / "page.html", model=model, frames=[3]).path)
    probe, size = Probe(model, clip), tuple(content["size"])
    assert len(content["results"]["3"]) == 8
    for cues, runs in content["results"]["3"].items():
        first, previous, mask = (used == "1" for used in cues)
        names = "global" if first else "none", "local" if previous else "none"
        labels = probe.answer(3, Switches(*names, mask, probe.trained.radius)).labels
        ids = torch.tensor([o["id"] for o in content["objects"]])
        assert torch.equal(ids[unrolled(runs)], resize_labels(labels, size).flatten())


def test_pictures_and_colours_are_those_of_the_figures(model: Feelvos, clip: Clip, tmp_path: Path) -> None:
    content = content_of(write_explorable(clip, tmp_path / "page.html", model=model, frames=[1, 2]).path)
    assert sorted(content["pictures"]) == sorted(content["embeddings"]) == ["0", "1", "2"]  # neighbours share
    colours = np.frombuffer(base64.b64decode(content["colours"]), np.uint8).reshape(256, 3)
    scale = style.colour_scale("distance")
    for value in (0.0, 0.3, 0.999, 1.0):
        assert colours[min(255, int(256 * value))].tolist() == list(scale.to_rgba(value, bytes=True)[:3])


def test_nothing_in_a_name_becomes_part_of_the_page(model: Feelvos, clip: Clip, tmp_path: Path) -> None:
    hostile = Clip("</title></script><b>{{STYLE}}", clip.frames, clip.masks, clip.object_ids)
    names = {clip.object_ids[0]: "</script><i>{{CONTENT}}"}
    page = write_explorable(hostile, tmp_path / "page.html", model=model, frames=[1], names=names).path
    text = page.read_text(encoding="utf-8")
    assert content_of(page)["name"] == hostile.name and content_of(page)["objects"][1]["name"] == names[1]
    assert "<b>" not in text.partition("</head>")[0] and "<i>{{" not in text
    assert text.count("</script>") == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"frames": [0]},
            "a frame to explore must be 1 to 5 in clip 'shapes-7', got 0: the mask of frame 0 is given",
        ),
        ({"frames": [2, 6]}, "a frame to explore must be 1 to 5 in clip 'shapes-7', got 6"),
        ({"frames": []}, "an explorable page needs a frame, got none"),
        ({"names": {9: "dog"}}, "object_id must be one of 0, 1, 2 in clip 'shapes-7', got 9"),
    ],
)
def test_a_page_that_cannot_be_made_is_rejected_in_one_sentence(
    model: Feelvos, clip: Clip, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(LabError, match=f"^{re.escape(message)}$"):
        write_explorable(clip, tmp_path / "page.html", model=model, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_large_clip_is_downscaled_until_its_page_is_small_enough_or_rejected_before_it_is_read(
    model: Feelvos, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clip = Clip("large", torch.zeros(9, 3, 480, 854, dtype=torch.uint8), torch.ones(1, 480, 854).long(), (1,))
    few, many = (explorable._height(clip, model, frames, None, explorable.LARGEST) for frames in ([4], [2, 4, 6, 8]))
    assert 480 >= few > many >= explorable.LOWEST and many % 4 == 0
    with pytest.raises(LabError, match=r"of 1 frame at height 480 would have \d+\.\d MB, at most 2 MB .* fewer frames"):
        monkeypatch.setattr(explorable, "LARGEST", 2_000_000)
        monkeypatch.setattr(explorable, "Probe", None)
        write_explorable(clip, tmp_path / "page.html", model=model, frames=[4], height=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--mask mask.png", "--mask mask.png needs a video"),
        ("video", "video video needs --out PAGE, a new HTML file"),
        ("video --out page.html", "each video needs the mask of its first frame"),
        ("doubles-7 --out here.html", "here.html exists already: choose another name for --out"),
        ("doubles-7 --out page.html --frames 1-3", "--frames must be frame numbers such as 8,16,24, got '1-3'"),
        ("doubles-7 --out page.html --frames 99", "must be 1 to"),
        ("doubles-7 --out page.html --name dog", "--name must be ID=NAME such as 1=dog, got 'dog'"),
    ],
)
def test_the_command_rejects_wrong_input_in_one_line(
    arguments: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here.html").touch()
    with pytest.raises(SystemExit) as end:
        cli.main(["explorable", *arguments.split()])
    assert end.value.code == 2 and message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["here.html"]


def test_the_command_writes_a_page_of_a_synthetic_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.html"
    with pytest.raises(SystemExit) as end:
        cli.main(["explorable", "doubles-7", "--frames", "4,9", "--name", "1=the wheel", "--out", str(out)])
    assert end.value.code == 0 and "frames 4, 9 at height" in capsys.readouterr().out
    assert [o["name"] for o in content_of(out)["objects"]] == ["the background", "the wheel", "object 2"]


def test_the_examples_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(explorable)
    assert not failed and tried > 5


@pytest.mark.slow
def test_the_sample_videos_page_has_four_frames_its_credit_and_at_most_3_mb(tmp_path: Path) -> None:
    page = write_explorable(None, tmp_path / "bunny.html")
    assert page.size == page.path.stat().st_size <= 3_000_000 and page.bound < 0.03
    assert page.frames == (10, 20, 30, 40) and page.height == 180
    content = content_of(page.path)
    assert "Blender Foundation" in content["credit"]
    assert [o["name"] for o in content["objects"]][1] == "the bunny"
