"""Laws of masks given again: they correct an object that is there, and never the score of a clip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from feelvos_lab.config import configure
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.frames import GivenMasks
from feelvos_lab.data.images import VOID, write_mask
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.errors import LabError
from feelvos_lab.evaluation.scoring import evaluate
from feelvos_lab.inference.propagation import correcting_frames, propagate
from feelvos_lab.model.build import build_model
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.model.grid import resize_labels
from feelvos_lab.model.matching import global_matching

WHOLE = make_clip(11, height=48, width=64, frames=5, objects=2)


@pytest.fixture(scope="module")
def model() -> Feelvos:
    """Untrained features are tiny: its embeddings are enlarged, so that distances spread over [0, 1]."""
    torch.manual_seed(0)
    model = Feelvos(configure("smoke").model).eval()
    with torch.no_grad():
        model.embedding.pointwise.weight.mul_(2000)
    return model


def _given(folder: Path, masks: dict[int, Tensor]) -> Clip:
    """The clip with masks of these frames only, as a user's files give them."""
    for t, mask in masks.items():
        write_mask(folder / f"{t}.png", mask)
    given = GivenMasks({t: folder / f"{t}.png" for t in masks}, length=5, size=(48, 64))
    return Clip("given", WHOLE.frames, given, given.object_ids, given.starts)


@pytest.mark.parametrize("feedback", ["soft", "hard"])
def test_a_corrected_object_is_as_its_mask_says_and_others_stay(model: Feelvos, feedback: str, tmp_path: Path) -> None:
    correct = torch.where(WHOLE.masks[2] == 1, 1, 0)
    correct[:, :4] = VOID
    clip = _given(tmp_path, {0: WHOLE.masks[0], 2: correct})
    assert correcting_frames(clip) == {2: (1,)}
    plain = list(propagate(model, clip, feedback=feedback))
    fixed = list(propagate(model, clip, feedback=feedback, corrections=True))
    for t in (0, 1):
        assert torch.equal(plain[t].probabilities, fixed[t].probabilities)
    at, known = fixed[2], correct != VOID
    assert torch.equal((at.labels == 1)[known], (correct == 1)[known])
    assert torch.equal(at.labels[~known], plain[2].labels[~known])
    assert torch.equal(at.labels, at.probabilities.argmax(0))
    assert torch.allclose(at.probabilities.sum(0), torch.ones(48, 64), atol=1e-5)
    assert (plain[2].labels == 1)[known].sum() != (correct == 1)[known].sum()  # there was something to correct
    fed = fixed[3].cues.previous_mask[1]
    small = resize_labels(correct, tuple(fed.shape))
    assert torch.equal(fed[small != VOID], (small == 1).float()[small != VOID])


def test_the_corrected_pixels_join_those_of_the_first_frame(model: Feelvos, tmp_path: Path) -> None:
    clip = _given(tmp_path, {0: WHOLE.masks[0], 2: WHOLE.masks[2]})
    after = list(propagate(model, clip, corrections=True))[3]
    first, second, query = (model.encode(WHOLE.frames[t][None].float() / 255).embeddings[0] for t in (0, 2, 3))
    for i in (1, 2):
        each = [
            global_matching(query, e, resize_labels((WHOLE.masks[t] == i).long(), (12, 16)), num_objects=2)[1]
            for t, e in ((0, first), (2, second))
        ]
        assert torch.allclose(after.cues.global_map[i], torch.stack(each).amin(0), atol=1e-5)
        assert (each[0] - each[1]).max() > 0.01  # frame 2 has nearer pixels


def test_the_truth_corrects_nothing(model: Feelvos, tmp_path: Path) -> None:
    every = _given(tmp_path, dict(enumerate(WHOLE.masks)))
    some = _given(tmp_path, {t: WHOLE.masks[t] for t in (0, 2, 3)})
    for clip in (WHOLE, every):
        assert correcting_frames(clip) == {}
        for plain, asked in zip(propagate(model, WHOLE), propagate(model, clip, corrections=True), strict=True):
            assert torch.equal(plain.labels, asked.labels)
    for plain, default in zip(propagate(model, WHOLE), propagate(model, some), strict=True):  # who scores asks for none
        assert torch.equal(plain.labels, default.labels)
    ruined = replace(WHOLE, masks=torch.cat([WHOLE.masks[:1], 0 * WHOLE.masks[1:]]))
    assert not evaluate(model, [WHOLE]).equals(evaluate(model, [ruined]))  # the truth is what is compared with, and
    for plain, other in zip(propagate(model, WHOLE), propagate(model, ruined), strict=True):  # no input
        assert torch.equal(plain.labels, other.labels)


def test_a_small_object_between_the_cells_is_looked_for(model: Feelvos) -> None:
    masks = torch.zeros(1, 48, 64, dtype=torch.int64)
    masks[0, 21:23, 30:32] = 4  # the cells are at multiples of 47 / 5 and 9
    assert not (resize_labels(masks[0], (6, 8)) == 4).any()
    predictions = list(propagate(model, Clip("small", WHOLE.frames, masks, (4,)), height=24))
    assert predictions[1].cues.global_map[1].min() < 1
    assert predictions[1].cues.previous_mask[1].sum() == 1


@pytest.mark.parametrize("feedback", ["soft", "hard"])
def test_a_mapping_says_what_is_corrected_also_that_an_object_is_gone(model: Feelvos, feedback: str) -> None:
    masks = WHOLE.masks.clone()
    masks[2][masks[2] == 2] = 0
    clip = replace(WHOLE, masks=masks)
    plain = list(propagate(model, clip, feedback=feedback))
    assert (plain[2].labels == 2).any()  # there is something to take away
    fixed = list(propagate(model, clip, feedback=feedback, corrections={2: (1, 2)}))
    assert torch.equal(fixed[2].labels, masks[2])
    assert fixed[3].cues.previous_mask[2].sum() == 0 and (fixed[3].cues.local_map[2] == 1).all()
    for t in (0, 1):
        assert torch.equal(plain[t].probabilities, fixed[t].probabilities)
    one = list(propagate(model, clip, feedback=feedback, corrections={2: (1,)}))
    assert torch.equal((one[2].labels == 1), masks[2] == 1)
    assert (one[2].labels == 2).any()
    late = replace(clip, starts=(0, 2))
    with pytest.raises(LabError, match="frame 2 cannot correct object 2, which enters in frame 2"):
        next(propagate(model, late, corrections={2: (2,)}))


@pytest.mark.parametrize("feedback", ["soft", "hard"])
def test_what_is_predicted_again_from_the_middle_is_what_a_whole_run_predicts(model: Feelvos, feedback: str) -> None:
    """Also with an object that enters, and a correction, in the frame where it resumes."""
    alone = torch.where(WHOLE.masks == 2, 2, 0)
    kept = list(propagate(model, replace(WHOLE, object_ids=(2,), masks=alone), feedback=feedback))
    masks = torch.cat([alone[:2], WHOLE.masks[2:]])
    clip = replace(WHOLE, masks=masks, starts=(2, 0))  # object 1 has the smaller number and enters later
    whole = list(propagate(model, clip, feedback=feedback, corrections={2: (2,), 3: (1,)}))
    for t in (1, 2):
        again = list(propagate(model, clip, feedback=feedback, corrections={2: (2,), 3: (1,)}, resume=kept[t]))
        assert [p.frame for p in again] == list(range(t, 5))
        for expected, got in zip(whole[t:], again, strict=True):
            assert torch.equal(expected.labels, got.labels)
            assert torch.equal(expected.probabilities, got.probabilities)


def test_a_run_resumes_only_from_what_holds_its_state(model: Feelvos) -> None:
    first = next(propagate(model, WHOLE))
    with pytest.raises(LabError, match="frame 0 was matched with nothing"):
        next(propagate(model, WHOLE, resume=first))
    torch.manual_seed(0)
    pml = build_model(configure("smoke", method="pml", adapt_margin=0.5).model).eval()
    second = list(propagate(pml, WHOLE))[1]
    with pytest.raises(LabError, match=r"adapt_margin must be 0 to resume in the middle of a clip, got 0\.5"):
        next(propagate(pml, WHOLE, resume=second))
