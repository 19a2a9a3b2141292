"""Answers to `region_similarity` and `matching_memory`."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch
from answers import right, wrong

J = "region_similarity"
MEMORY = "matching_memory"


@right(J)
def j_by_arrays(prediction, truth):
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    union = np.logical_or(prediction, truth).sum()
    return 1.0 if union == 0 else np.logical_and(prediction, truth).sum() / union


@right(J)
def j_by_loop(prediction, truth):
    both = either = 0
    for row, other in zip(prediction.tolist(), truth.tolist(), strict=True):
        for p, t in zip(row, other, strict=True):
            both, either = both + (p and t), either + (p or t)
    return both / either if either else 1


@right(J)
def j_of_sets(prediction, truth):
    a, b = ({tuple(place) for place in mask.nonzero().tolist()} for mask in (prediction, truth))
    return len(a & b) / len(a | b) if a or b else 1.0


@right(J)
def j_as_tensor(prediction, truth):
    union = (prediction | truth).sum()
    if union == 0:
        return torch.tensor(1.0)
    return (prediction & truth).sum() / union


@right(J)
def j_by_products(prediction, truth):
    p, t = prediction.float().flatten(), truth.float().flatten()
    both = p @ t
    union = p.sum() + t.sum() - both
    return float(both / union) if union > 0 else 1.0


@right(J)
def j_as_fraction(prediction, truth):
    either = int(torch.logical_or(prediction, truth).sum())
    return Fraction(int((prediction * truth).sum()), either) if either else Fraction(1)


@right(J)
def j_with_epsilon(prediction, truth, eps=1e-9):
    both, either = (prediction & truth).double().sum(), (prediction | truth).double().sum()
    return ((both + eps) / (either + eps)).item()


@wrong(J, "Dice")
def j_dice(prediction, truth):
    total = prediction.sum() + truth.sum()
    return (2 * (prediction & truth).sum() / total).item() if total else 1.0


@wrong(J, r"\|A\| \+ \|B\|")
def j_over_sum(prediction, truth):
    total = prediction.sum().item() + truth.sum().item()
    return (prediction & truth).sum().item() / total if total else 1.0


@wrong(J, "background")
def j_accuracy(prediction, truth):
    return (prediction == truth).float().mean()


@wrong(J, "precision")
def j_precision(prediction, truth):
    return (prediction & truth).sum() / max(prediction.sum(), 1) if (prediction | truth).any() else 1.0


@wrong(J, "recall")
def j_recall(prediction, truth):
    return 1.0 if not truth.any() else float(truth[prediction].sum() / truth.sum())


@wrong(J, "one empty mask|is empty")
def j_one_if_any_is_empty(prediction, truth):
    if not prediction.any() or not truth.any():
        return 1.0
    return float((prediction & truth).sum() / (prediction | truth).sum())


@wrong(J, "two empty masks")
def j_nan(prediction, truth):
    return np.divide((prediction & truth).sum().item(), np.float64((prediction | truth).sum().item()))


@wrong(J, "two empty masks")
def j_small_divisor(prediction, truth):
    return (prediction & truth).sum().item() / ((prediction | truth).sum().item() + 1e-8)


@wrong(J, "ZeroDivisionError|empty union")
def j_raises(prediction, truth):
    return int((prediction & truth).sum()) / int((prediction | truth).sum())


@wrong(J, r"shape \(1,\)|one number")
def j_of_shape_one(prediction, truth):
    either = (prediction | truth).flatten().sum(0, keepdim=True)
    return torch.where(either > 0, (prediction & truth).sum() / either.clamp(min=1), 1.0)


@wrong(J, "percent")
def j_percent(prediction, truth):
    either = (prediction | truth).sum().item()
    return round(100 * (prediction & truth).sum().item() / either, 1) if either else 100.0


@wrong(J, "whole number")
def j_floor_division(prediction, truth):
    either = (prediction | truth).sum().item()
    return (prediction & truth).sum().item() // either if either else 1


@wrong(J, "1 − J|distance")
def j_distance(prediction, truth):
    either = (prediction | truth).sum().item()
    return (prediction ^ truth).sum().item() / either if either else 1.0


@wrong(J, "exactly one|xor")
def j_over_xor(prediction, truth):
    different = (prediction ^ truth).sum().item()
    return (prediction & truth).sum().item() / different if different else 1.0


@wrong(J, "return")
def j_without_return(prediction, truth):
    _ = (prediction & truth).sum() / (prediction | truth).sum()


@wrong(J, "frame")
def j_mean_of_both(prediction, truth):
    return (prediction & truth).float().mean().item() if (prediction | truth).any() else 1.0


@wrong(J, "number of pixels")
def j_count(prediction, truth):
    return (prediction & truth).sum().item()


@wrong(J, "writes into its argument `prediction`")
def j_in_place(prediction, truth):
    either = (prediction | truth).sum().item()
    prediction &= truth
    return prediction.sum().item() / either if either else 1.0


@wrong(J, "smoothing|constant")
def j_smoothed(prediction, truth, smooth=1.0):
    return (((prediction & truth).sum() + smooth) / ((prediction | truth).sum() + smooth)).item()


@wrong(J, "got a tuple|one number")
def j_pair(prediction, truth):
    return (prediction & truth).sum().item(), (prediction | truth).sum().item()


@wrong(J, "library")
def j_of_library(prediction, truth):
    from feelvos_lab.evaluation import region_similarity as known

    return known(prediction, truth)


@wrong(J, "calls `region_similarity` itself")
def j_of_its_name(prediction, truth):
    return region_similarity(prediction, truth)  # noqa: F821


@wrong(J, "background")
def j_of_both_classes(prediction, truth):
    scores = []
    for p, t in ((prediction, truth), (~prediction, ~truth)):
        scores.append(((p & t).sum() / (p | t).sum()).item() if (p | t).any() else 1.0)
    return sum(scores) / 2


@wrong(J, "arguments must be")
def j_other_arguments(pred, gt):
    return ((pred & gt).sum() / (pred | gt).sum()).item()


def cells(size):
    return math.ceil(size[0] / 4) * math.ceil(size[1] / 4)


@right(MEMORY)
def memory_by_float(size, *, references=None):
    return float(cells(size) * (cells(size) if references is None else references) * 4)


@right(MEMORY)
def memory_by_stepping(size, *, references=None):
    height, width = size
    grid = len(range(0, height, 4)) * len(range(0, width, 4))
    columns = grid if references is None else references
    return grid * columns * torch.zeros((), dtype=torch.float32).element_size()


@right(MEMORY)
def memory_by_tensor(size, *, references=None):
    rows, columns = torch.div(torch.tensor(size) + 3, 4, rounding_mode="floor")
    queries = rows * columns
    return queries * (queries if references is None else references) * 4


@right(MEMORY)
def memory_by_numpy(size, *, references=None):
    queries = np.prod([(side - 1) // 4 + 1 for side in size], dtype=np.int64)
    if references is None:
        references = queries
    return queries * references * np.dtype(np.float32).itemsize


@right(MEMORY)
def memory_by_convolution(size, *, references=None):
    def side(pixels, *, kernel=3, stride=2, padding=1):
        once = (pixels + 2 * padding - kernel) // stride + 1
        return (once + 2 * padding - kernel) // stride + 1

    queries = side(size[0]) * side(size[1])
    return 4 * queries * {None: queries}.get(references, references)


@right(MEMORY)
def memory_by_divmod(size, *, references=None):
    total = 4
    for side in size:
        whole, rest = divmod(side, 4)
        total *= whole + bool(rest)
    return total * (total // 4 if references is None else references)


@wrong(MEMORY, "all pixels of the frame")
def memory_of_pixels(size, *, references=None):
    pixels = size[0] * size[1]
    return pixels * (references if references is not None else pixels) * 4


@wrong(MEMORY, "bytes")
def memory_of_numbers(size, *, references=None):
    return cells(size) * (cells(size) if references is None else references)


@wrong(MEMORY, "bits")
def memory_in_bits(size, *, references=None):
    return 32 * cells(size) * (cells(size) if references is None else references)


@wrong(MEMORY, "8|float32")
def memory_of_doubles(size, *, references=None):
    return 8 * cells(size) * (cells(size) if references is None else references)


@wrong(MEMORY, "mega")
def memory_in_megabytes(size, *, references=None):
    return 4 * cells(size) * (cells(size) if references is None else references) / 1024**2


@wrong(MEMORY, r"too small|\(H − 1\)")
def memory_floor(size, *, references=None):
    h, w = size[0] // 4, size[1] // 4
    return h * w * (h * w if references is None else references) * 4


@wrong(MEMORY, r"multiple of 4|too large")
def memory_one_more(size, *, references=None):
    h, w = (s // 4 + 1 for s in size)
    return h * w * (h * w if references is None else references) * 4


@wrong(MEMORY, "divided by 16|rounded up each")
def memory_sixteenth(size, *, references=None):
    area = math.ceil(size[0] * size[1] / 16)
    return area * (area if references is None else references) * 4


@wrong(MEMORY, "None|references is None")
def memory_falsy(size, *, references=None):
    return 4 * cells(size) * (references or cells(size))


@wrong(MEMORY, r"M · N|every pair")
def memory_of_a_list(size, *, references=None):
    return 4 * cells(size)


@wrong(MEMORY, r"added|multiplied")
def memory_of_a_sum(size, *, references=None):
    return 4 * (cells(size) + (cells(size) if references is None else references))


@wrong(MEMORY, "squared|references` is given")
def memory_without_references(size, *, references=None):
    return 4 * cells(size) ** 2


@wrong(MEMORY, "default")
def memory_without_default(size, *, references):
    return 4 * cells(size) * (cells(size) if references is None else references)


@wrong(MEMORY, "stride|another stride")
def memory_of_stride_eight(size, *, references=None):
    queries = math.ceil(size[0] / 8) * math.ceil(size[1] / 8)
    return 4 * queries * (queries if references is None else references)


@wrong(MEMORY, "None|TypeError")
def memory_times_none(size, *, references=None):
    return 4 * cells(size) * references


@wrong(MEMORY, "embedding|size")
def memory_of_embeddings(size, *, references=None):
    return 4 * 100 * cells(size) * (cells(size) if references is None else references)


@wrong(MEMORY, "got a str|got '|expected one number")
def memory_as_text(size, *, references=None):
    return f"{4 * cells(size) * (cells(size) if references is None else references) / 1e6:.1f} MB"


@wrong(MEMORY, "library")
def memory_of_library(size, *, references=None):
    from feelvos_lab.model import matching

    return matching.matching_memory(size, references=references)


@wrong(MEMORY, "references.*16|counts cells already")
def memory_of_reference_pixels(size, *, references=None):
    return 4 * cells(size) * (cells(size) if references is None else references // 16)


@wrong(MEMORY, "one side|counts twice")
def memory_of_squares(size, *, references=None):
    queries = math.ceil(size[0] / 4) ** 2
    return 4 * queries * (queries if references is None else references)


@wrong(J, "raised (NotImplementedError|RuntimeError).*bool")
def j_of_a_difference(prediction, truth):
    return 1 - (prediction - truth).abs().sum() / (prediction + truth).sum()


@wrong(J, "a result is expected here, and no exception")
def j_refuses_empty(prediction, truth):
    if not (prediction | truth).any():
        raise ValueError("no object")
    return ((prediction & truth).sum() / (prediction | truth).sum()).item()


@wrong(MEMORY, "32 bits")
def memory_overflows(size, *, references=None):
    queries = torch.tensor(cells(size), dtype=torch.int32)
    return int(queries * (queries if references is None else references) * 4)


@wrong(MEMORY, "rounded down and the other up")
def memory_of_two_roundings(size, *, references=None):
    queries = math.ceil(size[0] / 4) * (size[1] // 4)
    return 4 * queries * (queries if references is None else references)


@wrong(MEMORY, "fraction")
def memory_of_fractions(size, *, references=None):
    queries = ((size[0] - 1) / 4 + 1) * ((size[1] - 1) / 4 + 1)
    return 4 * queries * (queries if references is None else references)
