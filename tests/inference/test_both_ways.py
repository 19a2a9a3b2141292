"""Laws of carrying masks both ways: what is before a given mask is the reversed video, and the rest is unchanged."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from feelvos_lab.config import configure
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.inference.both_ways import BLOCK, Reversed, propagate_both_ways
from feelvos_lab.inference.propagation import propagate
from feelvos_lab.model.feelvos import Feelvos

CLIP = make_clip(11, height=48, width=64, frames=5, objects=2)


@pytest.fixture(scope="module")
def model() -> Feelvos:
    torch.manual_seed(0)
    return Feelvos(configure("smoke").model).eval()


def test_before_the_given_frame_it_is_the_reversed_video_and_after_it_the_video(model: Feelvos) -> None:
    both = list(propagate_both_ways(model, replace(CLIP, starts=(2, 2))))
    back = Clip("back", CLIP.frames[:3].flip(0), CLIP.masks[:3].flip(0), CLIP.object_ids)
    forth = Clip("forth", CLIP.frames[2:], CLIP.masks[2:], CLIP.object_ids)
    assert [p.frame for p in both] == [0, 1, 2, 3, 4]
    for t, prediction in enumerate(propagate(model, back)):
        assert torch.equal(both[2 - t].labels, prediction.labels)
    for t, prediction in enumerate(propagate(model, forth)):
        assert torch.equal(both[2 + t].labels, prediction.labels)
    assert any((both[t].labels > 0).any() for t in (0, 1))
    for p in both:
        assert torch.allclose(p.probabilities.sum(0), torch.ones(48, 64), atol=1e-5)


def test_a_late_object_is_carried_back_behind_those_that_were_there(model: Feelvos) -> None:
    clip = replace(CLIP, starts=(0, 3))
    plain, both = list(propagate(model, clip)), list(propagate_both_ways(model, clip))
    for before, after in zip(plain, both, strict=True):
        assert torch.equal(after.labels[before.labels > 0], before.labels[before.labels > 0])
        assert set((after.labels[after.labels != before.labels]).tolist()) <= {2}
    for t in (3, 4):
        assert torch.equal(plain[t].labels, both[t].labels)
    assert any((both[t].labels == 2).any() for t in (0, 1, 2))


def test_frames_are_read_backwards_in_blocks_that_run_forwards() -> None:
    read: list[int] = []

    class Source:
        def __len__(self) -> int:
            return 40

        def __getitem__(self, index: int) -> torch.Tensor:
            read.append(index)
            return torch.tensor(index)

    reverse = Reversed(Source(), 20)
    assert [int(reverse[i]) for i in range(len(reverse))] == [*range(20, -1, -1)]
    assert read == [*range(21 - BLOCK, 21), *range(21 - BLOCK)]
