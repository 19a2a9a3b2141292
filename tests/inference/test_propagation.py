"""Laws of inference: what is fed back, what is kept, and what ids come out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from feelvos_lab.config import configure
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.images import read_mask, write_mask
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.errors import LabError
from feelvos_lab.evaluation.scoring import copy_first_mask, evaluate
from feelvos_lab.inference.output import segment
from feelvos_lab.inference.probe import distance_maps
from feelvos_lab.inference.propagation import propagate
from feelvos_lab.model.checkpoint import load_checkpoint
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.model.grid import resize_labels
from feelvos_lab.model.matching import global_matching

CLIP = make_clip(11, height=48, width=64, frames=5, objects=3)


@pytest.fixture(scope="module")
def model() -> Feelvos:
    """Untrained features are tiny: its embeddings are enlarged, so that distances spread over [0, 1]."""
    torch.manual_seed(0)
    model = Feelvos(configure("smoke").model).eval()
    with torch.no_grad():
        model.embedding.pointwise.weight.mul_(2000)
    return model


def test_a_prediction_a_frame_with_the_given_mask_first(model: Feelvos) -> None:
    predictions = list(propagate(model, CLIP))
    assert [p.frame for p in predictions] == [0, 1, 2, 3, 4]
    assert torch.equal(predictions[0].labels, CLIP.masks[0])
    assert predictions[0].cues is None
    for p in predictions:
        assert p.labels.shape == (48, 64)
        assert p.probabilities.shape == (4, 48, 64)
        assert torch.allclose(p.probabilities.sum(0), torch.ones(48, 64), atol=1e-5)
    assert torch.equal(predictions[3].labels, predictions[3].probabilities.argmax(0))


def test_any_object_ids_come_back_as_they_were_given(model: Feelvos) -> None:
    ids = torch.tensor([0, 3, 40, 200])
    renamed = Clip("renamed", CLIP.frames, ids[CLIP.masks], (3, 40, 200))
    for plain, other in zip(propagate(model, CLIP), propagate(model, renamed), strict=True):
        assert torch.equal(ids[plain.labels], other.labels)


def test_only_the_first_mask_is_looked_at(model: Feelvos) -> None:
    unannotated = Clip("first-only", CLIP.frames, CLIP.masks[:1], CLIP.object_ids)
    for whole, alone in zip(propagate(model, CLIP), propagate(model, unannotated), strict=True):
        assert torch.equal(whole.labels, alone.labels)


def test_frames_are_read_one_by_one_and_never_again(model: Feelvos) -> None:
    class Counted:
        def __init__(self) -> None:
            self.read: list[int] = []

        def __len__(self) -> int:
            return len(CLIP)

        def __getitem__(self, index: int) -> torch.Tensor:
            self.read.append(index)
            return CLIP.frames[index]

    frames = Counted()
    for seen, prediction in enumerate(propagate(model, Clip("lazy", frames, CLIP.masks, CLIP.object_ids))):
        assert frames.read == list(range(seen + 1))
        assert prediction.frame == seen


def test_soft_and_hard_feedback_differ_from_the_second_step_on(model: Feelvos) -> None:
    soft, hard = (list(propagate(model, CLIP, feedback=f)) for f in ("soft", "hard"))
    assert torch.equal(soft[1].probabilities, hard[1].probabilities)
    assert not torch.equal(soft[2].probabilities, hard[2].probabilities)
    assert set(hard[2].cues.previous_mask.unique().tolist()) == {0.0, 1.0}
    assert len(soft[2].cues.previous_mask.unique()) > 2
    with pytest.raises(LabError, match="'soft' or 'hard', got 'warm'"):
        list(propagate(model, CLIP, feedback="warm"))


def test_the_network_may_see_smaller_frames_and_still_answers_at_full_size(model: Feelvos) -> None:
    whole, same, small = (list(propagate(model, CLIP, height=h)) for h in (0, 48, 24))
    assert torch.equal(whole[4].probabilities, same[4].probabilities)
    assert small[4].labels.shape == (48, 64)
    assert small[4].cues.features.shape[-2:] == (6, 8)


def test_what_is_fed_back_is_the_prediction_and_not_the_truth(model: Feelvos) -> None:
    predictions = list(propagate(model, CLIP))
    size = predictions[2].cues.previous_mask.shape[-2:]
    assert size == (12, 16)
    fed = predictions[2].cues.previous_mask
    assert torch.allclose(fed.sum(0), torch.ones(size), atol=1e-5)
    logits = model.segment([predictions[1].cues])[0]
    assert torch.allclose(fed, logits.softmax(0), atol=1e-5)


def test_a_frame_of_another_size_is_refused_with_its_number(model: Feelvos) -> None:
    class Odd:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> torch.Tensor:
            return CLIP.frames[index] if index < 2 else CLIP.frames[index][:, :40]

    with pytest.raises(LabError, match="frame 2 of odd must be 48×64, is 40×64"):
        list(propagate(model, Clip("odd", Odd(), CLIP.masks, CLIP.object_ids)))


def test_distance_maps_are_those_of_propagate(model: Feelvos) -> None:
    cues = list(propagate(model, CLIP))[3].cues
    maps = distance_maps(CLIP, model, 3)
    assert torch.equal(maps.global_map, cues.global_map) and torch.equal(maps.local_map, cues.local_map)
    without = Feelvos(configure("smoke", previous_matching="none").model).eval()
    assert distance_maps(CLIP, without, 1).local_map is None
    for frame in (-1, 0, 5):
        with pytest.raises(LabError, match=f"must be 1 to 4 in clip '{CLIP.name}', got {frame}"):
            distance_maps(CLIP, model, frame)


def test_segment_takes_paths_as_text_or_a_clip_and_a_model(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "video").mkdir()
    for t, frame in enumerate(CLIP.frames):
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(tmp_path / "video" / f"{t:03d}.png")
    write_mask(tmp_path / "mask.png", CLIP.masks[0])
    paths = (str(tmp_path / name) for name in ("video", "mask.png", "a"))
    first = segment(*paths, model=str(checkpoint), movie="none", cues=True)
    network, _ = load_checkpoint(checkpoint)
    second = segment(CLIP, None, tmp_path / "b", model=network, movie="gif")
    assert (second / "overlay.gif").is_file() and not list(first.glob("overlay.*"))
    for t, prediction in enumerate(propagate(network, CLIP)):
        assert torch.equal(read_mask(first / f"{t:03d}.png"), prediction.labels)
        assert torch.equal(read_mask(second / f"{t:05d}.png"), prediction.labels)
        assert all((first / "cues" / kind / "1" / f"{t:03d}.png").is_file() == (t > 0) for kind in ("global", "local"))
    with pytest.raises(LabError, match="holds files already"):
        segment(CLIP, None, first, model=network)


def _entering(clip: Clip, **frames: int) -> Clip:
    """The clip without its objects before they enter; `o2=3` lets object 2 enter in frame 3."""
    starts = tuple(frames.get(f"o{i}", 0) for i in clip.object_ids)
    masks = clip.masks.clone()
    for i, start in zip(clip.object_ids, starts, strict=True):
        masks[:start][masks[:start] == i] = 0
    return replace(clip, masks=masks, starts=starts)


@pytest.mark.parametrize("feedback", ["soft", "hard"])
def test_objects_that_are_all_given_first_are_as_without_starts(model: Feelvos, feedback: str) -> None:
    stated = replace(CLIP, starts=(0, 0, 0))
    for plain, other in zip(
        propagate(model, CLIP, feedback=feedback), propagate(model, stated, feedback=feedback), strict=True
    ):
        assert torch.equal(plain.probabilities, other.probabilities)
        assert torch.equal(plain.labels, other.labels)


@pytest.mark.parametrize("feedback", ["soft", "hard"])
def test_until_a_late_object_is_given_everything_is_as_if_there_were_none(model: Feelvos, feedback: str) -> None:
    late = _entering(CLIP, o2=3)
    without = replace(CLIP, masks=CLIP.masks * (CLIP.masks != 2), object_ids=(1, 3))
    pairs = list(
        zip(propagate(model, late, feedback=feedback), propagate(model, without, feedback=feedback), strict=True)
    )
    for with_it, without_it in pairs[:3]:
        assert torch.equal(with_it.labels, without_it.labels)
        assert torch.equal(with_it.probabilities[[0, 1, 3]], without_it.probabilities)
        assert (with_it.probabilities[2] == 0).all()
    for with_it, without_it in pairs[1:4]:  # in frame 3 it is not yet looked for
        assert (with_it.cues.global_map[2] == 1).all() and (with_it.cues.local_map[2] == 1).all()
        assert (with_it.cues.previous_mask[2] == 0).all()
        assert torch.equal(with_it.cues.global_map[[0, 1, 3]], without_it.cues.global_map)


@pytest.mark.parametrize("feedback", ["soft", "hard"])
def test_the_mask_that_gives_an_object_is_taken_for_it_alone(model: Feelvos, feedback: str) -> None:
    late = _entering(CLIP, o2=3)
    without = replace(CLIP, masks=CLIP.masks * (CLIP.masks != 2), object_ids=(1, 3))
    given = CLIP.masks[3] == 2
    assert given.any()
    with_it = list(propagate(model, late, feedback=feedback))
    without_it = list(propagate(model, without, feedback=feedback))
    assert torch.equal(with_it[3].labels, torch.where(given, 2, without_it[3].labels))
    assert (with_it[3].probabilities[2] == given.float()).all()
    assert torch.allclose(with_it[3].probabilities.sum(0), torch.ones(48, 64), atol=1e-5)
    only_new = late.masks.clone()
    only_new[3] *= given  # a file that shows nothing but the new object
    fed = list(propagate(model, replace(late, masks=only_new), feedback=feedback))
    assert torch.equal(fed[3].labels, with_it[3].labels)
    assert (with_it[4].cues.previous_mask[2] > 0).any()


def test_a_late_object_is_matched_with_the_frame_that_gives_it(model: Feelvos) -> None:
    late = _entering(CLIP, o2=3)
    predictions = list(propagate(model, late))
    reference, query = (model.encode(CLIP.frames[t][None].float() / 255).embeddings[0] for t in (3, 4))
    labels = resize_labels((CLIP.masks[3] == 2).long(), tuple(query.shape[-2:]))
    expected = global_matching(query, reference, labels, num_objects=2)[1]
    assert torch.allclose(predictions[4].cues.global_map[2], expected, atol=1e-5)
    assert expected.amax() > 0.1  # not all of them are near


def test_the_background_of_a_later_reference_is_what_neither_mask_nor_prediction_calls_an_object(
    model: Feelvos,
) -> None:
    late = _entering(CLIP, o2=3)
    at, after = list(propagate(model, late))[3:5]
    first, third, query = (model.encode(CLIP.frames[t][None].float() / 255).embeddings[0] for t in (0, 3, 4))
    size = tuple(query.shape[-2:])
    grounds = [
        resize_labels((late.masks[0] == 0).long(), size),
        resize_labels(((late.masks[3] == 0) & (at.labels == 0)).long(), size),
    ]
    pooled = torch.stack(
        [global_matching(query, e, m, num_objects=2)[1] for e, m in zip((first, third), grounds, strict=True)]
    )
    assert torch.allclose(after.cues.global_map[0], pooled.amin(0), atol=1e-5)
    assert (pooled[0] - pooled[1]).max() > 0.01  # the later reference has nearer pixels


def test_ids_in_any_order_of_entering_come_back_as_they_were_given(model: Feelvos) -> None:
    late = _entering(CLIP, o1=2, o2=3)  # 3 is there first, then 1, then 2
    ids = torch.tensor([0, 9, 4, 6])
    renamed = Clip("renamed", CLIP.frames, ids[late.masks], (4, 6, 9), (3, 0, 2))
    for plain, other in zip(propagate(model, late), propagate(model, renamed), strict=True):
        assert torch.equal(ids[plain.labels], other.labels)
        assert torch.allclose(plain.probabilities[[0, 2, 3, 1]], other.probabilities, atol=1e-5)


def test_frames_before_the_first_object_are_background_and_the_rest_is_as_if_the_clip_began_there(
    model: Feelvos,
) -> None:
    late = _entering(CLIP, o1=2, o2=2, o3=2)
    cut = Clip("cut", CLIP.frames[2:], CLIP.masks[2:], CLIP.object_ids)
    predictions = list(propagate(model, late))
    for t in (0, 1):
        assert (predictions[t].labels == 0).all() and predictions[t].cues is None
        assert (predictions[t].probabilities[0] == 1).all() and (predictions[t].probabilities[1:] == 0).all()
    for whole, alone in zip(predictions[2:], propagate(model, cut), strict=True):
        assert torch.equal(whole.labels, alone.labels)
        assert torch.equal(whole.probabilities, alone.probabilities)


@pytest.fixture(scope="module")
def frames_of_one_object() -> Iterator[Clip]:
    yield replace(CLIP, masks=(CLIP.masks == 2).long(), object_ids=(1,))


def test_a_still_clip_is_scored_perfectly_by_copying_the_first_mask(frames_of_one_object: Clip) -> None:
    clip = frames_of_one_object
    still = replace(clip, masks=clip.masks[:1].expand(5, -1, -1))
    scores = copy_first_mask([still])
    assert scores[["J", "F", "JF"]].to_numpy().tolist() == [[1.0, 1.0, 1.0]]


def test_every_object_of_every_clip_has_a_row(model: Feelvos, frames_of_one_object: Clip) -> None:
    lines: list[str] = []
    scores = evaluate(model, [CLIP, replace(frames_of_one_object, name="other")], progress=lines.append)
    assert scores["object"].tolist() == [1, 2, 3, 1]
    assert scores["clip"].tolist() == [CLIP.name] * 3 + ["other"]
    assert ((scores.J + scores.F) / 2 - scores.JF).abs().max() < 1e-9
    assert len(lines) == 2
