"""J, F and J&F: their laws, a brute-force twin, what is left out and what is refused."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from feelvos_lab.data.clip import Clip
from feelvos_lab.errors import LabError
from feelvos_lab.evaluation.metrics import (
    contour_accuracy,
    frame_scores,
    region_similarity,
    score_masks,
    summarise,
    write_scores,
)

SEEDS = st.integers(0, 2**32 - 1)
quick = settings(max_examples=40, deadline=None)


def random_mask(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Rectangles, some noise, or nothing."""
    mask = np.zeros((height, width), bool)
    for _ in range(rng.integers(0, 4)):
        y, x = rng.integers(0, height), rng.integers(0, width)
        mask[y : y + rng.integers(1, height + 1), x : x + rng.integers(1, width + 1)] ^= True
    return mask ^ (rng.random((height, width)) < rng.choice([0, 0, 0.05, 0.4]))


def random_pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    height, width = (int(v) for v in rng.integers(1, 40, 2))
    return random_mask(rng, height, width), random_mask(rng, height, width)


def brute_contour(mask: np.ndarray) -> np.ndarray:
    """A contour pixel differs from its right, lower or lower right neighbour; beyond the frame lies the same again."""
    height, width = mask.shape
    contour = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            below, right = min(y + 1, height - 1), min(x + 1, width - 1)
            contour[y, x] = mask[y, x] != mask[y, right] or mask[y, x] != mask[below, x]
            contour[y, x] |= mask[y, x] != mask[below, right]
    return contour


def brute_dilation(contour: np.ndarray, radius: int) -> np.ndarray:
    grown = np.zeros_like(contour)
    grid_y, grid_x = np.mgrid[: contour.shape[0], : contour.shape[1]]
    for y, x in np.argwhere(contour):
        grown |= (grid_y - y) ** 2 + (grid_x - x) ** 2 <= radius**2
    return grown


def brute_contour_accuracy(prediction: np.ndarray, truth: np.ndarray, tolerance: float) -> float:
    radius = math.ceil(tolerance * np.linalg.norm(truth.shape)) if tolerance < 1 else int(tolerance)
    ours, theirs = brute_contour(prediction), brute_contour(truth)
    if not ours.any() or not theirs.any():
        return float(ours.any() == theirs.any())
    precision = (ours & brute_dilation(theirs, radius)).sum() / ours.sum()
    recall = (theirs & brute_dilation(ours, radius)).sum() / theirs.sum()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@given(SEEDS, st.sampled_from([0.008, 0.03, 0.1, 0.5, 1, 2, 5]))
@quick
def test_contour_accuracy_equals_its_brute_force_twin(seed: int, tolerance: float) -> None:
    prediction, truth = random_pair(seed)
    expected = brute_contour_accuracy(prediction, truth, tolerance)
    assert contour_accuracy(prediction, truth, tolerance=tolerance) == pytest.approx(expected, abs=1e-12)


@given(SEEDS)
@quick
def test_scores_are_symmetric_and_lie_between_zero_and_one(seed: int) -> None:
    prediction, truth = random_pair(seed)
    for score in (region_similarity, contour_accuracy):
        value = score(prediction, truth)
        assert 0 <= value <= 1 and type(value) is float
        assert value == pytest.approx(score(truth, prediction), abs=1e-12)


@given(SEEDS)
@quick
def test_equal_masks_score_one(seed: int) -> None:
    mask, _ = random_pair(seed)
    assert region_similarity(mask, mask) == contour_accuracy(mask, mask) == 1


@given(SEEDS)
@quick
def test_moving_both_masks_alike_away_from_the_border_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pair = [np.pad(random_mask(rng, 12, 17), 15) for _ in range(2)]
    offset = rng.integers(-13, 14, 2)
    moved = [np.roll(mask, offset, axis=(0, 1)) for mask in pair]
    for score in (region_similarity, contour_accuracy):
        assert score(*moved) == pytest.approx(score(*pair), abs=1e-12)


@given(SEEDS)
@quick
def test_region_similarity_falls_when_wrong_pixels_are_added(seed: int) -> None:
    prediction, truth = random_pair(seed)
    free = np.argwhere(~prediction & ~truth)
    before = region_similarity(prediction, truth)
    if len(free) == 0 or before == 0:
        return
    worse = prediction.copy()
    worse[tuple(free[np.random.default_rng(seed).integers(len(free))])] = True
    assert region_similarity(worse, truth) < before


@given(SEEDS)
@quick
def test_masks_are_not_written_to_and_tensors_score_as_arrays(seed: int) -> None:
    prediction, truth = random_pair(seed)
    before = prediction.copy(), truth.copy()
    for score in (region_similarity, contour_accuracy):
        assert score(torch.from_numpy(prediction), torch.from_numpy(truth)) == score(prediction, truth)
    assert (prediction == before[0]).all() and (truth == before[1]).all()


def test_two_empty_masks_score_one_and_a_single_empty_one_zero() -> None:
    empty, some = np.zeros((20, 30), bool), np.zeros((20, 30), bool)
    some[5:9, 5:9] = True
    for score in (region_similarity, contour_accuracy):
        assert score(empty, empty) == 1
        assert score(some, empty) == score(empty, some) == 0


def test_the_border_of_the_frame_is_no_contour() -> None:
    empty, full = np.zeros((20, 30), bool), np.ones((20, 30), bool)
    assert contour_accuracy(full, empty) == 1  # as officially; J tells them apart
    assert region_similarity(full, empty) == 0


def test_the_tolerance_is_a_share_of_the_diagonal_rounded_up() -> None:
    """The diagonal of 300×400 is 500, so 0.008 of it is 4 pixels: a shift of 4 is forgiven, one of 5 is not."""
    truth = np.zeros((300, 400), bool)
    truth[:, :200] = True  # one straight contour
    near, far = np.roll(truth, 4, axis=1), np.roll(truth, 5, axis=1)
    near[:, :5] = far[:, :5] = True
    assert contour_accuracy(near, truth) == 1
    assert contour_accuracy(far, truth) == 0
    assert contour_accuracy(far, truth, tolerance=5) == 1


@pytest.mark.parametrize("score", [region_similarity, contour_accuracy])
def test_masks_of_different_sizes_are_refused(score) -> None:
    with pytest.raises(LabError, match=r"one size \(H, W\) were expected, got \(2, 3\) and \(3, 2\)"):
        score(np.zeros((2, 3), bool), np.zeros((3, 2), bool))


def small_clip(frames: int = 6, ids: tuple[int, ...] = (1, 2)) -> Clip:
    masks = torch.zeros(frames, 24, 32, dtype=torch.int64)
    for t in range(frames):
        for number, object_id in enumerate(ids):
            masks[t, 2 + 10 * number : 9 + 10 * number, 3 + t : 14 + t] = object_id
    return Clip("small", torch.zeros(frames, 3, 24, 32, dtype=torch.uint8), masks, ids)


def test_a_perfect_prediction_scores_one_without_decay() -> None:
    clip = small_clip()
    assert score_masks(clip.masks, clip) == [
        {"clip": "small", "object": i, "J": 1, "F": 1, "JF": 1}
        | {"J_recall": 1, "F_recall": 1, "J_decay": 0, "F_decay": 0, "frames": 4}
        for i in (1, 2)
    ]


def test_first_and_last_frame_do_not_count() -> None:
    clip = small_clip()
    predicted = clip.masks.clone()
    predicted[0], predicted[-1] = 0, 7
    assert [row["J"] for row in score_masks(predicted, clip)] == [1, 1]
    assert [row["frame"] for row in frame_scores(predicted, clip)] == [1, 1, 2, 2, 3, 3, 4, 4]


def test_an_object_that_the_prediction_lacks_scores_as_an_empty_mask() -> None:
    clip = small_clip()
    present, missing = score_masks(torch.where(clip.masks == 2, 0, clip.masks), clip)
    assert (present["J"], present["F"]) == (1, 1)
    assert (missing["J"], missing["F"], missing["JF"], missing["J_recall"]) == (0, 0, 0, 0)


def test_an_object_that_left_the_scene_scores_one_if_nothing_is_predicted() -> None:
    clip = small_clip(ids=(1,))
    clip.masks[3:] = 0
    predicted = clip.masks.clone()
    predicted[4, :5, :5] = 1
    assert [row["J"] for row in frame_scores(predicted, clip)] == [1, 1, 1, 0]


def test_ids_need_not_be_contiguous_and_unused_numbers_are_no_objects() -> None:
    clip = small_clip(ids=(7, 254))
    assert [(row["object"], row["J"]) for row in score_masks(clip.masks, clip)] == [(7, 1), (254, 1)]


def test_void_pixels_of_the_truth_count_as_background() -> None:
    clip = small_clip(ids=(1,))
    predicted = clip.masks.clone()
    clip.masks[1, 2, 3:15] = 255  # takes 11 of the 7 × 11 pixels from the object
    assert frame_scores(predicted, clip)[0]["J"] == pytest.approx(6 / 7)


def test_relabelling_the_objects_permutes_the_scores() -> None:
    clip = small_clip()
    predicted = clip.masks.roll(1, dims=2)
    predicted[3][predicted[3] == 2] = 0
    swap = torch.tensor([0, 2, 1])
    swapped = Clip("small", clip.frames, swap[clip.masks], (1, 2))
    first, second = score_masks(predicted, clip)
    assert score_masks(swap[predicted], swapped) == [second | {"object": 1}, first | {"object": 2}]


def test_a_generator_is_read_once() -> None:
    clip = small_clip()
    assert score_masks((mask for mask in clip.masks), clip) == score_masks(clip.masks, clip)


def test_an_id_that_the_clip_lacks_is_refused() -> None:
    clip = small_clip()
    predicted = clip.masks.clone()
    predicted[2, 0, 0] = 9
    with pytest.raises(LabError) as told:
        score_masks(predicted, clip)
    assert str(told.value) == "the predicted mask of frame 2 of clip 'small' holds ids [9], expected 0 and [1, 2]"


def test_a_predicted_mask_of_another_size_is_refused() -> None:
    clip = small_clip()
    with pytest.raises(LabError, match=r"frame 1 of clip 'small' has shape \(24, 30\), its truth \(24, 32\)"):
        score_masks(clip.masks[:, :, :-2], clip)


@pytest.mark.parametrize("count", [5, 7])
def test_another_number_of_predicted_masks_is_refused(count: int) -> None:
    clip = small_clip()
    with pytest.raises(LabError, match=f"clip 'small' has 6 frames, got {count} predicted masks"):
        score_masks([clip.masks[0]] * count, clip)


def test_a_clip_of_two_frames_has_no_score() -> None:
    clip = small_clip(frames=2)
    with pytest.raises(LabError, match="clip 'small' has 2 frames, the score needs 3 or more"):
        score_masks(clip.masks, clip)


def test_a_clip_without_its_masks_has_no_score() -> None:
    clip = small_clip()
    bare = Clip("bare", clip.frames, clip.masks[:1], clip.object_ids)
    with pytest.raises(LabError, match="clip 'bare' has 6 frames and 1 masks, the score needs all"):
        score_masks(clip.masks, bare)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_scores_are_written_under_the_official_column_names(tmp_path: Path) -> None:
    clip = small_clip()
    rows = score_masks(torch.where(clip.masks == 2, 0, clip.masks), clip)
    write_scores(rows, tmp_path / "new")
    overall = read_csv(tmp_path / "new/global.csv")
    assert list(overall[0]) == ["J&F-Mean", "J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay"]
    assert [float(v) for v in overall[0].values()] == [0.5, 0.5, 0.5, 0, 0.5, 0.5, 0]
    objects = read_csv(tmp_path / "new/per_object.csv")
    assert list(objects[0])[:3] == ["Sequence", "J-Mean", "F-Mean"]
    assert [(row["Sequence"], row["J-Mean"]) for row in objects] == [("small_1", "1.000000"), ("small_2", "0.000000")]
    assert sorted(os.listdir(tmp_path / "new")) == ["global.csv", "per_object.csv"]


def test_scores_that_cannot_be_written_leave_the_old_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = small_clip()
    rows = score_masks(clip.masks, clip)
    write_scores(rows, tmp_path)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(LabError, match=r"cannot write .*global\.csv: Permission denied"):
        write_scores([rows[0] | {"J": 0.0}], tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


def test_no_scores_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="expected at least one row, got none"):
        write_scores([], tmp_path)
    assert not list(tmp_path.iterdir())


def test_recall_counts_frames_above_one_half_and_not_those_at_it():
    rows = [{"clip": "a", "object": 1, "frame": t, "J": j, "F": 0.5} for t, j in enumerate((0.4, 0.5, 0.6, 0.7), 1)]
    (summary,) = summarise(rows)
    assert summary["J_recall"] == 0.5 and summary["F_recall"] == 0.0
