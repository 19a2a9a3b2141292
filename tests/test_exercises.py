"""Exercises: right answers of any make pass, and a wrong one is told its own mistake and no other."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from feelvos_lab import exercises
from feelvos_lab.data.clip import Clip
from feelvos_lab.errors import LabError
from feelvos_lab.exercise_checks import LESSONS, find_exercise
from feelvos_lab.exercises import exercise, hint, solution
from feelvos_lab.infer import Prediction
from feelvos_lab.model import naive
from feelvos_lab.model.feelvos import Labelled, label_frame
from feelvos_lab.model.matching import normalise_distance as squash
from feelvos_lab.model.resize import resize_bilinear

KEYS = ["seed", "clip", "object"]
inf = torch.inf


def attempt(name: str, answer: Callable[..., Any]) -> Any:
    """Hand in an answer under the exercise's name."""
    answer.__name__ = name
    return exercise(name)(answer)


# Right answers, written in other ways than the library's.


def overlap_of_arrays(prediction, truth):
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    union = np.logical_or(prediction, truth).sum()
    return 1.0 if union == 0 else np.logical_and(prediction, truth).sum() / union


def overlap_by_loop(prediction, truth):
    both = either = 0
    for row, other in zip(prediction.tolist(), truth.tolist(), strict=True):
        for p, t in zip(row, other, strict=True):
            both, either = both + (p and t), either + (p or t)
    return both / either if either else 1


def pairs_by_broadcasting(query, reference):
    return (query[:, None] - reference[None]).square().sum(-1)


def pairs_by_einsum(query, reference):
    products = torch.einsum("nd,md->nm", query, reference)
    return query.square().sum(1)[:, None] + reference.square().sum(1)[None] - 2 * products


def squash_by_sigmoid(sq):
    return 2 * torch.sigmoid(sq) - 1


def match_by_table(query, reference, labels, *, num_objects):
    d = squash(pairs_by_einsum(query.flatten(1).t(), reference.flatten(1).t()))
    maps = [torch.where(labels.flatten() == o, d, 1.0).amin(1) for o in range(num_objects)]
    return torch.stack(maps).view(num_objects, *query.shape[1:])


def match_by_einsum(query, reference, labels, *, num_objects):
    q, r = query.flatten(1), reference.flatten(1)
    sq = (q * q).sum(0)[:, None] + (r * r).sum(0) - 2 * torch.einsum("dm,dn->mn", q, r)
    hot = torch.stack([labels.flatten() == o for o in range(num_objects)])
    return squash(sq.expand(num_objects, -1, -1).masked_fill(~hot[:, None], inf).amin(2)).view(-1, *query.shape[1:])


def memory_by_float(size, *, references=None):
    cells = math.ceil(size[0] / 4) * math.ceil(size[1] / 4)
    return float(cells * (cells if references is None else references) * 4)


def local_by_shifts(query, previous, labels, *, num_objects, radius):
    (h, w), reach = labels.shape, 2 * radius + 1
    seen, ids = F.pad(previous, [radius] * 4), F.pad(labels, [radius] * 4, value=-1)
    maps = torch.full((num_objects, h, w), inf)
    for v in range(reach):
        for u in range(reach):
            sq = (query - seen[:, v : v + h, u : u + w]).square().sum(0)
            for o in range(num_objects):
                maps[o] = torch.minimum(maps[o], sq.masked_fill(ids[v : v + h, u : u + w] != o, inf))
    return squash(maps)


def local_by_unfold(query, previous, labels, *, num_objects, radius):
    d, h, w = query.shape
    side = 2 * radius + 1
    seen = F.unfold(previous[None], side, padding=radius).view(d, side * side, h * w)
    ids = F.unfold((labels[None, None] + 1000).float(), side, padding=radius)[0] - 1000
    sq = torch.einsum("dpm->pm", (seen - query.flatten(1)[:, None]) ** 2)
    return squash(torch.stack([sq.masked_fill(ids != o, inf).amin(0).view(h, w) for o in range(num_objects)]))


def cues_by_cat(global_map, local_map, previous_mask):
    return torch.cat([m[:, None] for m in (global_map, local_map, previous_mask) if m is not None], dim=1)


def combine_by_hand(logits):
    weights = (logits - logits.amax(0)).exp()
    return weights / weights.sum(0, keepdim=True)


def loss_by_sorting(logits, labels, *, keep, ignore=255):
    counted = labels != ignore
    chosen = logits.log_softmax(0).gather(0, (labels * counted)[None])[0]
    losses, order = torch.where(counted, -chosen, 0.0).flatten().sort(descending=True)
    k = max(1, int(keep * labels.numel()))
    return losses[:k].sum() / max(1, int(counted.flatten()[order[:k]].sum()))


def walk(model, clip, *, how="right"):
    size, count = tuple(clip.masks[0].shape), len(clip.object_ids) + 1
    results, first, previous = [], None, None
    for t in range(len(clip)):
        features, embeddings = (x[0] for x in model.encode(clip.frames[t][None] / (1 if how == "bytes" else 255)))
        if t == 0:
            first = previous = label_frame(embeddings, clip.masks[0], num_objects=count)
            given = F.one_hot(clip.masks[0], count).permute(2, 0, 1).float()
            if how != "late":
                results.append(Prediction(0, clip.masks[0], given, None))
            continue
        cues = model.cues(features, embeddings, first, previous)
        logits = model.segment([cues])[0]
        full = resize_bilinear(logits[None], size)[0]
        results.append(Prediction(t, full.argmax(0), full.softmax(0), cues))
        known = Labelled(embeddings, logits.argmax(0), logits.softmax(0))
        if how == "teacher":
            known = label_frame(embeddings, clip.masks[t], num_objects=count)
        if how == "labels":
            known = label_frame(embeddings, full.argmax(0), num_objects=count)
        if how != "still":
            previous = known
        if how == "forgets":
            first = known
    return results


def propagate_by_list(model, clip):
    return walk(model, clip)


def difference_by_index(a, b, column):
    seeds = set(a.seed) & set(b.seed)
    x, y = (t[t.seed.isin(seeds)].set_index(KEYS)[column].sort_index() for t in (a, b))
    if not x.index.equals(y.index):
        raise LabError("not the same test")
    return (x - y).rename("difference").reset_index()


RIGHT = [
    ("region_similarity", overlap_of_arrays),
    ("region_similarity", overlap_by_loop),
    ("pairwise_sq_dist", lambda query, reference: naive.pairwise_sq_dist(query, reference)),
    ("pairwise_sq_dist", pairs_by_broadcasting),
    ("pairwise_sq_dist", pairs_by_einsum),
    ("normalise_distance", lambda sq: naive.normalise_distance(sq)),
    ("normalise_distance", squash_by_sigmoid),
    ("global_matching", naive.global_matching),
    ("global_matching", match_by_table),
    ("global_matching", match_by_einsum),
    ("matching_memory", memory_by_float),
    ("local_matching", naive.local_matching),
    ("local_matching", local_by_shifts),
    ("local_matching", local_by_unfold),
    ("stack_cues", cues_by_cat),
    ("combine_objects", combine_by_hand),
    ("hard_pixel_loss", loss_by_sorting),
    ("propagate", propagate_by_list),
    ("paired_difference", difference_by_index),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_a_right_answer_of_any_make_passes_and_is_used(name, answer, capsys):
    used = attempt(name, answer)
    said = capsys.readouterr().out
    assert said == f"✓ {name}: right on the hand case, at random and at the edge; yours is used from here on.\n"
    assert used is not find_exercise(name).library


@pytest.mark.parametrize("name", LESSONS)
def test_the_library_itself_passes_and_hands_in_no_stub(name, capsys):
    attempt_of_library = find_exercise(name).library
    exercise(name)(attempt_of_library)
    assert capsys.readouterr().out.startswith("✓")


# Wrong answers. Each is written here in its own way, not as in exercise_checks.


def masked_min(d, labels, num_objects, shape, *, empty=1.0, reduce=lambda mine: mine.min(1).values):
    maps = [
        reduce(d[:, labels.flatten() == o]) if (labels == o).any() else d.new_full((len(d),), empty)
        for o in range(num_objects)
    ]
    return torch.stack(maps).reshape(num_objects, *shape)


def square_table(query, reference):
    return torch.cdist(query.flatten(1).t(), reference.flatten(1).t(), compute_mode="donot_use_mm_for_euclid_dist") ** 2


def wrong_match(squashing=squash, **odd):
    return lambda query, reference, labels, *, num_objects: masked_min(
        squashing(square_table(query, reference)), labels, num_objects, query.shape[1:], **odd
    )


def match_all_labels(query, reference, labels, *, num_objects):
    return squash(square_table(query, reference)).min(1).values.reshape(1, *query.shape[1:]).repeat(num_objects, 1, 1)


def match_own_place(query, reference, labels, *, num_objects):
    d = squash(((query - reference) ** 2).sum(0))
    return torch.stack([d.masked_fill(labels != o, 1.0) for o in range(num_objects)])


def wrong_local(*, low=None, high=None, squashing=squash, empty=1.0, mode="zero", fill=-1):
    def answer(query, previous, labels, *, num_objects, radius):
        h, w = labels.shape
        lower = radius if low is None else low(radius)
        upper = radius if high is None else high(radius)
        maps = torch.full((num_objects, h, w), empty)
        for y in range(h):
            for x in range(w):
                best: dict[int, Any] = {}
                for v in range(y - lower, y + upper + 1):
                    for u in range(x - lower, x + upper + 1):
                        inside = 0 <= v < h and 0 <= u < w
                        if mode == "roll":
                            v_, u_, inside = v % h, u % w, True
                        else:
                            v_, u_ = v, u
                        label = int(labels[v_, u_]) if inside else fill
                        there = previous[:, v_, u_] if inside else torch.zeros(len(previous))
                        d = squashing(((query[:, y, x] - there) ** 2).sum()).item()
                        best[label] = min(best.get(label, d), d)
                for o in range(num_objects):
                    if o in best:
                        maps[o, y, x] = best[o]
        return maps

    return answer


def no_squash(sq):
    return sq


def overlap(divide):
    def answer(prediction, truth):
        both, either = (prediction & truth).sum().item(), (prediction | truth).sum().item()
        if not either:
            return 1.0
        return divide(both, either, prediction.sum().item(), truth.sum().item(), prediction.numel())

    return answer


def wrong_loss(reduce, *, largest=True):
    def answer(logits, labels, *, keep, ignore=255):
        losses = F.cross_entropy(logits[None], labels[None], reduction="none", ignore_index=ignore)[0].flatten()
        count = max(1, int(keep * losses.numel()))
        chosen = losses.sort(descending=largest, stable=True)
        kept, which = chosen.values[:count], chosen.indices[:count]
        return reduce(losses, kept, (labels.flatten()[which] != ignore).sum(), (labels != ignore).sum().clamp(min=1))

    return answer


def row_by_row(a, b, column):
    return a[KEYS].assign(
        difference=[x - y for x, y in zip(a[column], b[column], strict=False)] + [0.0] * (len(a) - len(b))
    )


def signed(change):
    def answer(a, b, column):
        right = difference_by_index(a, b, column)
        return right.assign(difference=change(right.difference))

    return answer


def seeds_crossed(a, b, column):
    both = a.merge(b.drop(columns="seed"), on=["clip", "object"])
    return both.assign(difference=both[f"{column}_x"] - both[f"{column}_y"])[[*KEYS, "difference"]]


def partners_dropped(a, b, column):
    x, y = a.set_index(KEYS)[column], b.set_index(KEYS)[column]
    return (x - y).dropna().rename("difference").reset_index()


def filled(value):
    return lambda global_map, local_map, previous_mask: torch.stack(
        [m if m is not None else torch.zeros_like(global_map) + value for m in (global_map, local_map, previous_mask)],
        1,
    )


WRONG = [
    ("region_similarity", "dice", overlap(lambda both, either, p, t, n: both / ((p + t) / 2))),
    ("region_similarity", "accuracy", lambda prediction, truth: (prediction == truth).float().mean().item()),
    ("region_similarity", "one-mask", overlap(lambda both, either, p, t, n: both / p)),
    ("region_similarity", "one-mask", overlap(lambda both, either, p, t, n: both / t)),
    ("region_similarity", "empty", lambda prediction, truth: (prediction & truth).sum() / (prediction | truth).sum()),
    ("pairwise_sq_dist", "root", lambda query, reference: torch.cdist(query, reference)),
    ("pairwise_sq_dist", "mean", lambda query, reference: torch.cdist(query, reference) ** 2 / query.shape[1]),
    ("pairwise_sq_dist", "transposed", lambda query, reference: torch.cdist(reference, query) ** 2),
    (
        "pairwise_sq_dist",
        "norms",
        lambda query, reference: abs((query**2).sum(1, keepdim=True) - (reference**2).sum(1)),
    ),
    ("pairwise_sq_dist", "absolute", lambda query, reference: torch.cdist(query, reference, p=1)),
    ("normalise_distance", "sigmoid", lambda sq: 1 / (1 + (-sq).exp())),
    ("normalise_distance", "no-half", lambda sq: 2 * torch.sigmoid(2 * sq) - 1),
    ("normalise_distance", "similarity", lambda sq: 2 - 2 * torch.sigmoid(sq)),
    ("normalise_distance", "overflow", lambda sq: (sq.exp() - 1) / (1 + sq.exp())),
    ("global_matching", "not-squashed", wrong_match(no_squash)),
    ("global_matching", "not-squashed", wrong_match(no_squash, empty=inf)),
    ("global_matching", "root", wrong_match(lambda sq: squash(sq.sqrt()))),
    ("global_matching", "mean", wrong_match(reduce=lambda mine: mine.mean(1))),
    ("global_matching", "labels", match_all_labels),
    ("global_matching", "same-place", match_own_place),
    ("global_matching", "absent", wrong_match(empty=0.0)),
    (
        "matching_memory",
        "full-size",
        lambda size, *, references=None: (
            4 * size[0] * size[1] * (references if references is not None else size[0] * size[1])
        ),
    ),
    ("matching_memory", "numbers", lambda size, *, references=None: memory_by_float(size, references=references) / 4),
    (
        "matching_memory",
        "rounded-down",
        lambda size, *, references=None: (
            (size[0] // 4)
            * (size[1] // 4)
            * 4
            * ((size[0] // 4) * (size[1] // 4) if references is None else references)
        ),
    ),
    (
        "matching_memory",
        "one-sided",
        lambda size, *, references=None: 4 * math.ceil(size[0] / 4) * math.ceil(size[1] / 4),
    ),
    ("local_matching", "anywhere", wrong_local(low=lambda r: 6, high=lambda r: 6)),
    ("local_matching", "half-window", wrong_local(high=lambda r: r - 1)),
    ("local_matching", "half-window", wrong_local(low=lambda r: r // 2, high=lambda r: r // 2)),
    ("local_matching", "wraps", wrong_local(mode="roll")),
    ("local_matching", "padded", wrong_local(fill=0)),
    ("local_matching", "empty-window", wrong_local(empty=0.0)),
    ("local_matching", "not-squashed", wrong_local(squashing=no_squash)),
    (
        "stack_cues",
        "cues-first",
        lambda global_map, local_map, previous_mask: torch.stack(
            [m for m in (global_map, local_map, previous_mask) if m is not None], 0
        ),
    ),
    (
        "stack_cues",
        "concatenated",
        lambda global_map, local_map, previous_mask: torch.cat(
            [m for m in (global_map, local_map, previous_mask) if m is not None]
        ),
    ),
    (
        "stack_cues",
        "order",
        lambda global_map, local_map, previous_mask: cues_by_cat(global_map, previous_mask, local_map),
    ),
    ("stack_cues", "none-filled", filled(1.0)),
    ("combine_objects", "sigmoid", lambda logits: 1 / (1 + (-logits).exp())),
    ("combine_objects", "space", lambda logits: logits.softmax(2)),
    ("combine_objects", "space", lambda logits: logits.reshape(len(logits), -1).softmax(-1).reshape_as(logits)),
    ("combine_objects", "hard", lambda logits: (logits == logits.amax(0)).float()),
    ("combine_objects", "overflow", lambda logits: torch.exp(logits) / torch.exp(logits).sum(0, keepdim=True)),
    ("combine_objects", "log", lambda logits: logits - logits.logsumexp(0)),
    ("hard_pixel_loss", "all-pixels", wrong_loss(lambda losses, kept, valid, counted: losses.sum() / counted)),
    (
        "hard_pixel_loss",
        "easiest",
        wrong_loss(lambda losses, kept, valid, counted: kept.sum() / valid.clamp(min=1), largest=False),
    ),
    ("hard_pixel_loss", "sum", wrong_loss(lambda losses, kept, valid, counted: kept.sum())),
    ("hard_pixel_loss", "over-all", wrong_loss(lambda losses, kept, valid, counted: kept.sum() / losses.numel())),
    ("hard_pixel_loss", "ignored", wrong_loss(lambda losses, kept, valid, counted: kept.mean())),
    ("hard_pixel_loss", "ignored", wrong_loss(lambda losses, kept, valid, counted: kept.sum() / valid)),
    ("propagate", "truth", lambda model, clip: walk(model, clip, how="teacher")),
    ("propagate", "frozen", lambda model, clip: walk(model, clip, how="still")),
    ("propagate", "moving-first", lambda model, clip: walk(model, clip, how="forgets")),
    ("propagate", "no-first-frame", lambda model, clip: walk(model, clip, how="late")),
    ("propagate", "hard", lambda model, clip: walk(model, clip, how="labels")),
    ("propagate", "not-scaled", lambda model, clip: walk(model, clip, how="bytes")),
    ("paired_difference", "by-row", row_by_row),
    ("paired_difference", "backwards", signed(lambda d: -d)),
    ("paired_difference", "absolute", signed(abs)),
    ("paired_difference", "across-seeds", seeds_crossed),
    ("paired_difference", "dropped", partners_dropped),
]


@pytest.mark.parametrize(("name", "mistake", "answer"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_a_wrong_answer_is_told_its_own_mistake_and_no_other(name, mistake, answer, capsys):
    task = find_exercise(name)
    used = attempt(name, answer)
    said = capsys.readouterr().out
    assert [m.name for m in task.mistakes if m.hint in said] == [mistake], said
    assert said.startswith(f"✗ {name}: ") and said.count("✗") == 1 and "\n\n" not in said
    assert "expected" in said and "got" in said
    assert used is task.library


def test_every_named_mistake_is_tried_here_and_there_are_enough():
    tried = {(name, mistake) for name, mistake, _ in WRONG}
    named = {(name, m.name) for name in LESSONS for m in find_exercise(name).mistakes}
    assert tried == named
    assert len(LESSONS) >= 11 and len(named) >= 30
    assert {name for name, _ in RIGHT} == set(LESSONS)


@pytest.mark.parametrize("name", LESSONS)
def test_a_named_mistake_never_passes_and_never_goes_by_another_name(name, capsys):
    task = find_exercise(name)
    for mistake in task.mistakes:
        for wrong in mistake.wrong:
            told, right = exercises._verdict(task, _with_arguments_of(task, wrong))
            assert not right
            assert [m.name for m in task.mistakes if m.hint in told] == [mistake.name]


def _with_arguments_of(task, wrong):
    """The wrong function under the library's signature, which builtins and lambdas lack."""
    import inspect

    def answer(*arguments, **named):
        return wrong(*arguments, **named)

    answer.__signature__ = inspect.signature(task.library)
    return answer


UNNAMED = {
    "region_similarity": lambda prediction, truth: 0.123,
    "pairwise_sq_dist": lambda query, reference: pairs_by_einsum(query, reference) + 1,
    "normalise_distance": lambda sq: 1 - torch.exp(-sq),
    "global_matching": lambda query, reference, labels, *, num_objects: torch.zeros(num_objects, *query.shape[1:]),
    "matching_memory": lambda size, *, references=None: 7,
    "local_matching": lambda query, previous, labels, *, num_objects, radius: torch.ones(num_objects, *labels.shape),
    "stack_cues": lambda global_map, local_map, previous_mask: global_map,
    "combine_objects": lambda logits: torch.full_like(logits, 1 / len(logits)),
    "hard_pixel_loss": lambda logits, labels, *, keep, ignore=255: logits.mean(),
    "propagate": lambda model, clip: [],
    "paired_difference": lambda a, b, column: a[KEYS].assign(difference=0.0),
}


@pytest.mark.parametrize("name", LESSONS)
def test_a_wrong_answer_without_a_name_fails_with_the_hand_case(name, capsys):
    used = attempt(name, UNNAMED[name])
    said = capsys.readouterr().out
    task = find_exercise(name)
    assert said.startswith(f"✗ {name}: that is not it") and "hand case" in said and "expected" in said
    assert task.cases()[0].about in said
    assert not [m for m in task.mistakes if m.hint in said]
    assert used is task.library


def region_similarity(prediction, truth):
    """Still to be written."""
    ...


def test_a_stub_is_not_attempted_and_the_library_stands_in(capsys):
    def stops(prediction, truth):
        raise NotImplementedError("later")

    def passes(prediction, truth):
        # a note
        pass

    for stub in (region_similarity, stops, passes):
        assert attempt("region_similarity", stub) is find_exercise("region_similarity").library
        said = capsys.readouterr().out
        assert said.startswith("○ region_similarity: not attempted") and said.count("\n") == 1


def test_a_stub_that_does_something_first_is_an_attempt_until_it_says_it_is_none(capsys):
    def forgot(prediction, truth):
        prediction & truth

    attempt("region_similarity", forgot)
    assert "is a `return` missing?" in capsys.readouterr().out

    def begun(prediction, truth):
        both = prediction & truth
        raise NotImplementedError(both)

    attempt("region_similarity", begun)
    assert "not attempted" in capsys.readouterr().out


def test_code_that_raises_is_shown_with_the_shapes_it_was_given(capsys):
    def stumbles(query, reference):
        return query @ reference

    used = attempt("pairwise_sq_dist", stumbles)
    said = capsys.readouterr().out
    assert "your code raised RuntimeError in line" in said
    assert "query (2, 2) float32, reference (3, 2) float32" in said
    assert used is find_exercise("pairwise_sq_dist").library


def test_an_error_in_a_decorated_answer_is_found_in_its_own_lines(capsys):
    @torch.inference_mode()
    def stumbles(query, reference):
        raise IndexError("of the student")

    attempt("pairwise_sq_dist", stumbles)
    line = stumbles.__wrapped__.__code__.co_firstlineno + 2
    assert f"your code raised IndexError in line {line}: of the student" in capsys.readouterr().out


def test_an_answer_that_raises_at_the_edge_alone_is_shown_that_case(capsys):
    attempt(
        "region_similarity",
        lambda prediction, truth: (prediction & truth).sum().item() / (prediction | truth).sum().item(),
    )
    assert "your code raised ZeroDivisionError" in (said := capsys.readouterr().out)
    assert "both masks are empty" in said


def test_an_answer_that_writes_into_its_input_is_told_which(capsys):
    def scribbles(query, reference):
        right = pairs_by_broadcasting(query, reference)
        reference *= 0
        return right

    used = attempt("pairwise_sq_dist", scribbles)
    assert "writes into its argument `reference`" in capsys.readouterr().out
    assert used is find_exercise("pairwise_sq_dist").library


def test_a_table_that_is_written_into_is_noticed_too(capsys):
    def scribbles(a, b, column):
        b["spare"] = 1
        return difference_by_index(a, b, column)

    attempt("paired_difference", scribbles)
    assert "writes into its argument `b`" in capsys.readouterr().out


def test_arguments_of_another_name_are_told(capsys):
    attempt("pairwise_sq_dist", lambda q, r: pairs_by_broadcasting(q, r))
    assert "the arguments must be (query, reference), they are (q, r)" in capsys.readouterr().out


def test_what_an_answer_leaves_out_the_library_does(capsys):
    used = attempt("propagate", lambda model, clip: walk(model, clip))
    task = find_exercise("propagate")
    model, clip = (task.cases()[1].arguments[n] for n in ("model", "clip"))
    assert isinstance(clip, Clip)
    ours, theirs = list(used(model, clip, feedback="hard")), list(task.library(model, clip, feedback="hard"))
    assert all(torch.equal(a.probabilities, b.probabilities) for a, b in zip(ours, theirs, strict=True))
    assert isinstance(used(model, clip), list)


def test_a_function_or_an_exercise_of_another_name_is_refused():
    with pytest.raises(LabError, match="did you mean 'global_matching'"):
        exercise("global_maching")

    def other(query, reference): ...

    with pytest.raises(LabError, match="must be called pairwise_sq_dist, it is called other"):
        exercise("pairwise_sq_dist")(other)


def test_hints_go_from_a_nudge_to_the_code_and_stay_there(capsys, monkeypatch):
    monkeypatch.setattr(exercises, "_hints_shown", {})
    task = find_exercise("global_matching")
    for level in (0, 1, 2, 2):
        hint("global_matching")
        said = capsys.readouterr().out
        assert [h in said for h in task.hints] == [i == level for i in range(3)]
    hint("global_matching", 2)
    assert task.hints[1] in capsys.readouterr().out
    with pytest.raises(LabError, match="must be 1, 2 or 3, got 4"):
        hint("global_matching", 4)


@pytest.mark.parametrize("name", LESSONS)
def test_the_solution_is_the_librarys_own_source(name, capsys):
    solution(name)
    said = capsys.readouterr().out
    assert said.startswith("# feelvos_lab.") and f"def {name}(" in said
    assert "return" in said or "yield" in said


CODE = {
    "region_similarity": "prediction, truth",
    "pairwise_sq_dist": "query, reference",
    "normalise_distance": "sq",
    "global_matching": "query, reference, labels, *, num_objects",
    "matching_memory": "size, *, references=None",
    "local_matching": "query, previous, labels, *, num_objects, radius",
    "stack_cues": "global_map, local_map, previous_mask",
    "combine_objects": "logits",
    "hard_pixel_loss": "logits, labels, *, keep, ignore=255",
    "paired_difference": "a, b, column",
}


@pytest.mark.parametrize("name", CODE)
def test_the_last_hint_is_code_that_passes(name, capsys):
    body = "\n".join(f"    {line}" for line in find_exercise(name).hints[2].splitlines())
    scope = {
        "torch": torch,
        "F": F,
        "LabError": LabError,
        "normalise_distance": squash,
        "pairwise_sq_dist": pairs_by_einsum,
    }
    exec(f"def {name}({CODE[name]}):\n{body}", scope)
    exercise(name)(scope[name])
    assert capsys.readouterr().out.startswith("✓")
