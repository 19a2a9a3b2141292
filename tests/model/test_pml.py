"""Laws of the ancestor: what the triplet loss asks for, whom a pixel follows, and who may join the pool."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from feelvos_lab.config import configure
from feelvos_lab.data.synthetic import make_clip, make_clips
from feelvos_lab.errors import LabError
from feelvos_lab.inference.propagation import propagate
from feelvos_lab.model.build import build_model
from feelvos_lab.model.checkpoint import load_checkpoint, save_checkpoint
from feelvos_lab.model.feelvos import Cues, Feelvos, Labelled, label_frame
from feelvos_lab.model.grid import resize_labels
from feelvos_lab.model.pml import Pml, confident_pixels, joined, triplet_loss
from feelvos_lab.training.loop import train
from feelvos_lab.training.losses import batch_loss
from feelvos_lab.training.samples import draw_sample

CONFIG = configure("smoke", method="pml", steps=4)
CLIP = make_clip(11, height=48, width=64, frames=4, objects=3)


pytestmark = pytest.mark.usefixtures("one_thread")


def _model(**changes: object) -> Feelvos:
    """Fresh weights whose norms have seen the clip: without, all embeddings are nearly the same."""
    torch.manual_seed(0)
    model = build_model(replace(CONFIG.model, norm_momentum=1.0, **changes)).train()
    with torch.no_grad():
        model.encode(CLIP.frames[:].float() / 255)
    return model.eval()


def _line(*numbers: float) -> torch.Tensor:
    """Embeddings of one dimension: (1, N)."""
    return torch.tensor([numbers])


def test_the_triplet_loss_of_a_hand_case() -> None:
    anchors, owners = _line(0.0, 5.0), torch.tensor([0, 1])
    pool, labels = _line(1.0, -3.0, 2.0, 7.0), torch.tensor([0, 0, 1, 1])
    # anchor 0: own 1² (not 3²), other 2²; anchor 5: own 2² (not 3²), other 4²
    for margin, expected in ((0.0, 0.0), (4.0, (1 - 4 + 4 + 0) / 2), (13.0, (1 - 4 + 13 + 4 - 16 + 13) / 2)):
        assert triplet_loss(anchors, owners, pool, labels, num_objects=2, margin=margin).item() == expected


def test_an_anchor_without_a_positive_or_a_negative_does_not_count() -> None:
    anchors, owners = _line(0.0, 9.0, 9.0), torch.tensor([0, 2, -1])  # object 2 has no pixel, -1 is no object
    pool, labels = _line(1.0, 2.0, 0.0), torch.tensor([0, 1, 255])
    assert triplet_loss(anchors, owners, pool, labels, num_objects=3, margin=4.0).item() == 1.0
    alone = anchors.clone().requires_grad_()
    loss = triplet_loss(alone, torch.zeros(3, dtype=torch.int64), pool[:, :1], labels[:1], num_objects=2, margin=4.0)
    loss.backward()
    assert loss.item() == 0 and torch.equal(alone.grad, torch.zeros(1, 3))


def test_a_missing_list_of_labels_is_refused() -> None:
    with pytest.raises(LabError, match="expected anchors D×A and labels A, got 1×2 and 3"):
        triplet_loss(
            _line(0, 1), torch.zeros(3, dtype=torch.int64), _line(0), torch.tensor([0]), num_objects=1, margin=1
        )


def test_the_gradient_of_the_triplet_loss_is_exact() -> None:
    generator = torch.Generator().manual_seed(3)
    anchors, pool = (torch.randn(3, n, generator=generator, dtype=torch.float64).requires_grad_() for n in (6, 9))
    owners, labels = torch.arange(6) % 3, torch.arange(9) % 3

    def loss(a: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        return triplet_loss(a, owners, p, labels, num_objects=3, margin=1.0)

    assert loss(anchors, pool).item() > 0
    assert torch.autograd.gradcheck(loss, (anchors, pool))


def test_a_copy_of_the_first_frame_gets_its_own_mask() -> None:
    model = _model()
    still = replace(CLIP, frames=CLIP.frames[:1].repeat(2, 1, 1, 1), masks=CLIP.masks[:1])
    prediction = list(propagate(model, still))[1]
    nearest = prediction.cues.sq_distance.argmin(0)
    assert torch.equal(nearest, resize_labels(CLIP.masks[0], tuple(nearest.shape)))
    assert (prediction.labels == CLIP.masks[0]).float().mean() > 0.9  # edges are interpolated


def test_renaming_the_objects_permutes_the_logits() -> None:
    model = _model()
    order = torch.tensor([2, 0, 3, 1])  # object k becomes object order[k]
    logits = []
    with torch.inference_mode():
        encoded = model.encode(CLIP.frames[:2].float() / 255)
        for masks in (CLIP.masks[0], order[CLIP.masks[0]]):
            first = label_frame(encoded.embeddings[0], masks, num_objects=4)
            logits += model.segment([model.cues(encoded.features[1], encoded.embeddings[1], first, first)])
    torch.testing.assert_close(logits[1][order], logits[0])
    assert (logits[1] - logits[0]).abs().max() > 0.1


def test_an_object_without_a_pixel_is_never_found_and_breaks_no_probability() -> None:
    gone = replace(CLIP, masks=torch.where(CLIP.masks[:1] == 2, 0, CLIP.masks[:1]))
    for prediction in list(propagate(_model(), gone))[1:]:
        assert not (prediction.labels == 2).any()
        torch.testing.assert_close(prediction.probabilities.sum(0), torch.ones(48, 64))


def test_it_has_the_weights_of_feelvos_but_for_the_head() -> None:
    names = set(_model().state_dict())
    assert names == {n for n in _model(method="feelvos").state_dict() if not n.startswith("head.")}


def test_it_learns_and_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    clips = make_clips("train", count=3, height=64, width=64, frames=6)
    samples = [draw_sample(clips[:1], config=CONFIG.data, unroll=2, rng=np.random.default_rng(5))]

    def loss(model: Feelvos) -> float:
        rngs = [np.random.default_rng(0)]
        with torch.no_grad():
            return batch_loss(model.train(), samples, config=CONFIG, keep=1.0, rngs=rngs).item()

    trained = train(replace(CONFIG, train=replace(CONFIG.train, steps=12)), seed=0, clips=clips)
    assert loss(trained.model) < 0.8 * loss(_model())
    save_checkpoint(tmp_path / "model.safetensors", trained.model.eval(), CONFIG)
    loaded, config = load_checkpoint(tmp_path / "model.safetensors")
    assert isinstance(loaded, Pml) and config == CONFIG
    for one, other in zip(propagate(trained.model, CLIP), propagate(loaded, CLIP), strict=True):
        assert torch.equal(one.labels, other.labels)


def test_a_part_of_a_batch_weighs_what_it_would_in_the_whole() -> None:
    clips, model = make_clips("train", count=2, height=64, width=64, frames=6), _model()
    samples = [draw_sample([c], config=CONFIG.data, unroll=2, rng=np.random.default_rng(5)) for c in clips]

    def loss(chosen: list[int], **settings: int) -> torch.Tensor:
        rngs = [np.random.default_rng(i) for i in chosen]
        return batch_loss(model, [samples[i] for i in chosen], config=CONFIG, keep=1.0, rngs=rngs, **settings)

    torch.testing.assert_close(loss([0], clips=2) + loss([1], clips=2), loss([0, 1]))


def _cues(*distances: list[float]) -> Cues:
    """A row of pixels with the distances of each object, and their places as embeddings."""
    sq = torch.tensor(distances)[:, None]  # (K, 1, w)
    cells = 10 + torch.arange(sq.shape[2], dtype=torch.float32).view(1, 1, -1)
    return Cues(None, None, None, cells, cells, sq)


def test_only_confident_pixels_join_the_pool_and_what_was_given_stays() -> None:
    first = Labelled(torch.zeros(1, 1, 4), torch.tensor([[0, 0, 1, 1]]), torch.zeros(3, 1, 4))
    absent = [torch.inf] * 4
    cues = _cues([0.0, 5.0, 1.0, 9.0], [3.0, 4.0, 3.0, 0.0], absent)
    sure = confident_pixels(cues, None, margin=2.0)
    pool = joined(first, sure)
    assert pool.embeddings.tolist() == [[0, 0, 0, 0, 10, 13]]  # margins 3, 1, 2, 9
    assert pool.labels.tolist() == [0, 0, 1, 1, 0, 1]
    for _ in range(3):
        sure = confident_pixels(cues, sure, margin=2.0)
    assert joined(first, sure).labels.tolist() == [0, 0, 1, 1, 0, 1, 0, 1]  # no more newcomers than a frame has pixels
    assert len(confident_pixels(_cues([0.0, 5.0, 1.0, 9.0], absent), None, margin=2.0).labels) == 0
    assert len(confident_pixels(_cues([0.0, 5.0, 1.0, 9.0]), None, margin=0.0).labels) == 0


@pytest.mark.parametrize("margin", [0.0, 1e-3])
def test_an_object_that_enters_later_is_far_until_then_and_found_from_then_on(margin: float) -> None:
    frames, masks = CLIP.frames[:1].repeat(4, 1, 1, 1), CLIP.masks[:1].repeat(4, 1, 1)
    masks[:2][masks[:2] == 1] = 0
    clip = replace(CLIP, frames=frames, masks=masks, starts=(2, 0, 0))
    predictions = list(propagate(_model(adapt_margin=margin), clip))
    assert predictions[1].cues.sq_distance[1].isinf().all()
    assert not (predictions[1].labels == 1).any()
    small = resize_labels(masks[3], tuple(predictions[3].cues.sq_distance.shape[1:]))
    assert (predictions[3].cues.sq_distance[1][small == 1] < 1e-4).all()


def test_adaptation_is_off_unless_asked_for_and_then_changes_the_distances() -> None:
    plain = list(propagate(_model(), CLIP))
    unreachable, eager = (list(propagate(_model(adapt_margin=m), CLIP)) for m in (1e6, 1e-3))
    assert torch.equal(plain[3].cues.sq_distance, unreachable[3].cues.sq_distance)
    assert torch.equal(plain[1].cues.sq_distance, eager[1].cues.sq_distance)  # before anybody could join
    assert (eager[3].cues.sq_distance <= plain[3].cues.sq_distance + 1e-4).all()
    assert not torch.equal(plain[3].cues.sq_distance, eager[3].cues.sq_distance)


def test_settings_that_contradict_the_method_are_refused() -> None:
    with pytest.raises(LabError, match="adapt_margin is for method 'pml'"):
        _model(method="feelvos", adapt_margin=0.5)
    with pytest.raises(LabError, match="needs first_matching 'global'"):
        _model(first_matching="none")
    with pytest.raises(LabError, match="needs the cues of a Pml"):
        confident_pixels(_cues([0.0] * 4)._replace(sq_distance=None), None, margin=1.0)
