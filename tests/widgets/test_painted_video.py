"""Masks painted in any frame give, correct and remove objects, and predictions follow from them alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from feelvos_lab.config import configure
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.images import read_mask, write_mask
from feelvos_lab.data.sample_video import film
from feelvos_lab.errors import LabError
from feelvos_lab.inference.propagation import propagate
from feelvos_lab.model.build import build_model
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.widgets import painted_video
from feelvos_lab.widgets.painted_video import KeptFrames, PaintedMasks, PaintedVideo, open_video

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def video(clip: Clip) -> PaintedVideo:
    """With the true first mask, not propagated yet."""
    return PaintedVideo("mine", clip.frames, mask=clip.masks[0], truth=clip)


def replace(video: PaintedVideo, frame: int, labels: torch.Tensor) -> None:
    video.painting(frame).replace(labels)
    video.changed(frame)


def expected(model: Feelvos, video: PaintedVideo, masks: dict[int, torch.Tensor], **given) -> list[torch.Tensor]:
    """What a run over the whole video predicts."""
    clip = Clip("all", video.frames, PaintedMasks(masks, length=len(video), size=video.size), **given["clip"])
    return [p.labels for p in propagate(model, clip, corrections=given["corrections"])]


def test_one_painted_frame_is_what_propagate_is_given(video: PaintedVideo, model: Feelvos, clip: Clip) -> None:
    assert [video.origin(t) for t in (0, 5)] == ["painted", "empty"]
    assert list(video.steps(model)) == list(range(12))
    plain = [p.labels for p in propagate(model, Clip("own", clip.frames, clip.masks[:1], clip.object_ids))]
    assert all(torch.equal(a, b) for a, b in zip(video.predicted, plain, strict=True))
    assert [video.origin(t) for t in (0, 5)] == ["painted", "predicted"]


def test_a_corrected_frame_goes_on_from_there_as_a_whole_run_would(
    video: PaintedVideo, model: Feelvos, clip: Clip
) -> None:
    list(video.steps(model))
    before = list(video.predicted)
    replace(video, 9, clip.masks[9])
    assert [video.origin(t) for t in (8, 9, 10)] == ["predicted", "painted", "outdated"]
    assert list(video.steps(model)) == [8, 9, 10, 11]  # 8 is the last frame that was kept to resume from
    assert all(torch.equal(a, b) for a, b in zip(before[:9], video.predicted[:9], strict=True))
    assert torch.equal(video.predicted[9], clip.masks[9])
    assert not torch.equal(before[10], video.predicted[10])
    whole = expected(
        model,
        video,
        {0: clip.masks[0], 9: clip.masks[9]},
        clip={"object_ids": (1, 2)},
        corrections={9: (1, 2)},
    )
    assert all(torch.equal(a, b) for a, b in zip(whole, video.predicted, strict=True))


def test_an_object_erased_from_a_prediction_is_gone_there(video: PaintedVideo, model: Feelvos) -> None:
    list(video.steps(model))
    assert video.areas(4)[2] > 0
    labels = video.labels(4)
    replace(video, 4, torch.where(labels == 2, 0, labels))
    list(video.steps(model))
    assert video.areas(4) == {1: int((labels == 1).sum()), 2: 0}


def test_a_frame_painted_before_any_prediction_corrects_only_what_it_shows(
    video: PaintedVideo, model: Feelvos, clip: Clip
) -> None:
    shown = torch.where(clip.masks[5] == 1, 1, 0)
    replace(video, 5, shown)
    assert video.corrections(video.clip()) == {0: (), 5: (1,)}
    list(video.steps(model))
    assert torch.equal(video.predicted[5] == 1, shown == 1)


def test_an_object_enters_where_it_is_first_painted(video: PaintedVideo, model: Feelvos) -> None:
    list(video.steps(model))
    labels = video.labels(3).clone()
    labels[:9, :9] = 4
    replace(video, 3, labels)
    assert video.clip().starts == (0, 0, 3) and video.object_ids == (1, 2, 4)
    list(video.steps(model))
    assert [video.areas(t)[4] for t in (2, 3)] == [0, 81]
    with pytest.raises(LabError, match="all objects in frame 0, object 4 enters in frame 3"):
        video.explorable()
    assert video.forget(3) and not video.forget(3)
    assert video.object_ids == (1, 2) and video.explorable().object_ids == (1, 2)
    assert video.explorable().annotated is False


def test_what_is_undone_no_longer_counts_as_painted(video: PaintedVideo, model: Feelvos) -> None:
    list(video.steps(model))
    before = [labels.clone() for labels in video.predicted]
    replace(video, 6, torch.zeros(video.size, dtype=torch.int64))
    assert list(video.key_frames) == [0, 6]
    video.painting(6).undo()
    video.changed(6)
    assert list(video.key_frames) == [0] and torch.equal(video.labels(6), before[6])
    list(video.steps(model))
    assert all(torch.equal(a, b) for a, b in zip(before, video.predicted, strict=True))


def test_a_frame_that_was_looked_at_shows_its_new_prediction(video: PaintedVideo, model: Feelvos, clip: Clip) -> None:
    list(video.steps(model))
    video.painting(10)  # as undo does where there is nothing to undo
    replace(video, 9, clip.masks[9])
    list(video.steps(model))
    assert torch.equal(video.labels(10), video.predicted[10])
    assert not video.is_painted(10)


def test_erasing_the_first_mask_leaves_an_empty_frame(video: PaintedVideo, model: Feelvos) -> None:
    list(video.steps(model))
    video.painting(0).clear()
    video.changed(0)
    assert video.origin(0) == "empty" and not video.labels(0).any()
    with pytest.raises(LabError, match="the first mask is empty: paint at least one object"):
        next(video.steps(model))


def test_a_run_that_is_up_to_date_or_stopped(video: PaintedVideo, model: Feelvos) -> None:
    run = video.steps(model)
    for _ in range(5):
        next(run)
    assert video.valid == len(video.predicted) == 5
    assert list(video.steps(model)) == list(range(12))  # nothing kept yet: frame 8 was not reached
    with pytest.raises(LabError, match="all frames are segmented by these masks"):
        next(video.steps(model))


def test_a_network_with_confident_pixels_starts_again_from_the_first_frame(clip: Clip) -> None:
    torch.manual_seed(0)
    pml = build_model(configure("smoke", method="pml", adapt_margin=0.5).model).eval()
    video = PaintedVideo("mine", clip.frames, mask=clip.masks[0])
    list(video.steps(pml))
    replace(video, 11, clip.masks[11])
    assert next(video.steps(pml)) == 0


def test_only_what_is_up_to_date_is_saved(video: PaintedVideo, model: Feelvos, clip: Clip, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="there is no result to save yet"):
        video.save(tmp_path / "masks")
    list(video.steps(model))
    replace(video, 9, clip.masks[9])
    with pytest.raises(LabError, match="frame 9 was edited, what follows is outdated"):
        video.save(tmp_path / "masks")
    list(video.steps(model))
    video.save(tmp_path / "masks", movie="gif")
    assert torch.equal(read_mask(tmp_path / "masks" / "00009.png"), clip.masks[9])
    assert (tmp_path / "masks" / "overlay.gif").exists()
    with pytest.raises(LabError, match="holds files already"):
        video.save(tmp_path / "masks")


def test_scores_are_those_of_the_object_that_was_painted_on_whatever_its_number(clip: Clip, model: Feelvos) -> None:
    swapped = torch.tensor([0, 7, 3])[clip.masks[0]]
    video = PaintedVideo("mine", clip.frames, mask=swapped, truth=clip)
    assert video.true_ids() == {7: 1, 3: 2} and video.scores(0) == {7: 1.0, 3: 1.0}
    list(video.steps(model))
    j = ((video.labels(6) == 7) & (clip.masks[6] == 1)).sum() / ((video.labels(6) == 7) | (clip.masks[6] == 1)).sum()
    assert video.scores(6)[7] == pytest.approx(float(j))
    beside = torch.where(clip.masks[0] == 0, 1, 0)
    assert PaintedVideo("mine", clip.frames, mask=beside, truth=clip).true_ids() == {}
    both = torch.where(clip.masks[0] == 1, 1, 0)
    both[20:, both[20:].any(0)] *= 2  # two painted objects on one true one
    twice = PaintedVideo("mine", clip.frames, mask=both, truth=clip)
    assert len(twice.object_ids) < 2 or twice.true_ids() == {}
    alone = Clip("own", clip.frames, clip.masks[:1], clip.object_ids)
    assert PaintedVideo("mine", clip.frames, mask=clip.masks[0], truth=alone).scores(0) == {}


def test_a_film_is_scored_in_the_frames_that_have_a_drawn_mask() -> None:
    video = open_video("bunny", mask=film("bunny").masks[0])
    assert video.true_ids() == {1: 1, 2: 2, 3: 3}
    assert video.true_mask(8) is not None and video.true_mask(7) is None
    assert video.scores(8).keys() == {1, 2, 3} and video.scores(7) == {}


def test_a_mask_of_colours_is_read_as_segment_reads_it(clip: Clip, tmp_path: Path) -> None:
    image = Image.new("RGB", (80, 64))
    image.paste((255, 0, 0), (4, 4, 30, 30))
    image.paste((0, 0, 255), (40, 40, 70, 60))
    image.save(tmp_path / "mask.png")
    assert open_video(clip, tmp_path / "mask.png").object_ids == (1, 2)
    write_mask(tmp_path / "other.png", torch.ones(9, 9, dtype=torch.int64))
    with pytest.raises(LabError, match="64×80 like the frames, got 9×9"):
        open_video(clip, tmp_path / "other.png")


def test_frames_that_were_read_stay_in_memory_up_to_a_limit(monkeypatch) -> None:
    read = []

    class Source:
        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> torch.Tensor:
            read.append(index)
            return torch.full((3, 4, 4), index, dtype=torch.uint8)

    monkeypatch.setattr(painted_video, "_KEPT", 2 * 48)  # two frames
    frames = KeptFrames(Source())
    read.clear()
    for t in (0, 1, 0, 1, 2, 0):
        assert int(frames[t][0, 0, 0]) == t
    assert read == [0, 1, 2, 0] and len(frames) == 5
