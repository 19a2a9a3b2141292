"""Notebook 03: the nearest pixel of each object in the whole frame."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from feelvos_lab.lessons.checks.exercise import Case, Exercise, Law, Mistake
from feelvos_lab.lessons.checks.labels import label_mistakes
from feelvos_lab.lessons.checks.matching_memory import MEMORY
from feelvos_lab.lessons.checks.tables import (
    any_label,
    changed,
    columns,
    filled,
    normalised,
    of_query_rows,
    over_queries,
    products,
    reshaped,
    same_place,
    seen_only,
    swapped,
    table,
    turned,
    wrong,
)
from feelvos_lab.model.matching import global_matching, normalise_distance

inf = torch.inf


def _cases() -> list[Case]:
    generator = Generator().manual_seed(4)

    def random(query: tuple[int, ...], reference: tuple[int, ...], labels: Tensor, count: int) -> dict[str, Any]:
        pair = (0.7 * torch.randn(*size, generator=generator) for size in (query, reference))
        return dict(zip(("query", "reference", "labels", "num_objects"), (*pair, labels, count), strict=True))

    hand = {
        "query": torch.tensor([[[0.0, 2.0], [1.0, 3.0]]]),
        "reference": torch.tensor([[[0.0, 2.0], [0.0, 2.5]]]),
        "labels": torch.tensor([[0, 1], [0, 1]]),
        "num_objects": 2,
    }
    plain = random((3, 5, 6), (3, 4, 3), torch.tensor([[0, 0, 1], [0, 2, 2], [1, 0, 0], [2, 1, 0]]), 3)
    alike = random((3, 4, 5), (3, 4, 5), torch.tensor([[0, 0, 1, 1, 2], [0, 1, 1, 2, 2]] * 2), 3)
    nobody = random(
        (2, 5, 4), (2, 4, 5), torch.tensor([[0, 1, 2, 0, 1], [0, -1, -1, 1, 0], [2, -1, -1, 0, 2], [1, 0, 0, 2, 1]]), 3
    )
    above = random((2, 3, 4), (2, 3, 5), torch.tensor([[0, 1, 0, 7, 1], [0, 3, 2, 1, 0], [1, 0, 3, 0, 0]]), 3)
    absent = random((2, 2, 3), (2, 3, 3), torch.tensor([[0, 0, 2], [0, 2, 2], [0, 0, 2]]), 4)
    no_ground = random((2, 3, 2), (2, 2, 3), torch.tensor([[1, 1, 2], [1, -1, 2]]), 3)
    return [
        Case("hand", "a grid of 2×2 pixels with one number each, the object on the right", hand, telling=False),
        Case("random", "a 5×6 grid against a 4×3 one, three objects", plain),
        Case("random", "two grids of the same size, 4×5", alike),
        Case("random", "four pixels in the middle have the label −1, which belongs to nobody", nobody),
        Case("edge", "some labels are 3 and 7, and num_objects is 3, so they belong to nobody", above),
        Case("edge", "objects 1 and 3 have no pixel in the reference", absent),
        Case("edge", "the background has no pixel in the reference", no_ground),
    ]


def _regions(arguments: dict[str, Any]) -> dict[str, Tensor]:
    query, labels, count = (arguments[n] for n in ("query", "labels", "num_objects"))
    absent = torch.tensor([not (labels == o).any() for o in range(count)])[:, None, None].expand(-1, *query.shape[1:])
    return {"of objects without a reference pixel": absent, "of objects with reference pixels": ~absent}


_MATCHING = Exercise(
    "global_matching",
    global_matching,
    _cases,
    axes=("object", "row", "column"),
    regions=_regions,
    laws=(
        Law("a distance is a number, and not nan", lambda given, d: not bool(d.isnan().any())),
        Law("nothing is above 1", lambda given, d: bool((d < 1.001).all())),
        Law("nothing is below 0", lambda given, d: bool((d > -0.001).all())),
        Law(
            "an object without a pixel is 1 everywhere",
            lambda given, d: all(bool((d[o] > 0.999).all()) for o in range(len(d)) if not (given["labels"] == o).any()),
        ),
    ),
    mistakes=(
        Mistake(
            "not-squashed",
            "these look like squared distances, not squashed into 0 … 1; use `normalise_distance` on the smallest",
            tuple(wrong(squash=lambda sq: sq, empty=empty) for empty in (1.0, inf, 0.0)),
        ),
        Mistake(
            "unsquashed-distance",
            "these look like distances (with a root), not squashed into 0 … 1; use `normalise_distance` on the "
            "smallest squared distance",
            tuple(wrong(squash=torch.sqrt, empty=empty) for empty in (1.0, inf, 0.0)),
        ),
        Mistake(
            "cut",
            "these look like squared distances cut at 1; use `normalise_distance` on the smallest",
            (filled(1.0, lambda sq: sq, lambda d: d), wrong(squash=lambda sq: sq.clamp(0, 1))),
        ),
        Mistake(
            "root",
            "it looks as if Eq. 1 got the distance, not its square; leave the root out",
            (wrong(squash=lambda sq: normalise_distance(sq.sqrt())),),
        ),
        Mistake(
            "squared-again",
            "the squared distances look squared once more before Eq. 1",
            (wrong(squash=lambda sq: normalise_distance(sq.square())),),
        ),
        Mistake(
            "squashed-twice",
            "Eq. 1 looks applied twice: squash either the table or its minimum",
            (
                wrong(squash=lambda sq: normalise_distance(normalise_distance(sq))),
                changed(normalise_distance),
            ),
        ),
        Mistake(
            "other-squash",
            "the distances look squashed by another function than Eq. 1; use `normalise_distance`",
            tuple(
                wrong(squash=f)
                for f in (torch.tanh, torch.sigmoid, lambda sq: 1 - torch.exp(-sq), lambda sq: sq / (1 + sq))
            ),
        ),
        Mistake(
            "averaged",
            "the squared distances look averaged over the D numbers of an embedding; they are summed",
            (wrong(table=lambda q, r: table(q, r) / len(q)),),
        ),
        Mistake(
            "cosine",
            "the embeddings look compared by direction alone (cosine), or by their products q·r; Eq. 1 takes the "
            "squared distance of the vectors as they are",
            (
                *(wrong(table=normalised, squash=f) for f in (normalise_distance, lambda d: d, lambda d: d / 2)),
                products,
                wrong(table=lambda q, r: 2 * normalised(q, r)),
            ),
        ),
        Mistake(
            "similarity",
            "this is large where the object is, so it is a similarity, 1 − d; a distance is 0 for equal pixels",
            (changed(lambda d: 1 - d),),
        ),
        Mistake(
            "mean",
            "this looks like the mean distance to the object's pixels; Eq. 2 takes the smallest: one is enough",
            (
                wrong(reduce=lambda mine: mine.mean(1)),
                wrong(reduce=lambda mine: mine.median(1).values),
                wrong(squash=lambda sq: sq, reduce=lambda mine: normalise_distance(mine.mean(1))),
            ),
        ),
        Mistake(
            "largest",
            "this looks like the largest distance to the object's pixels; Eq. 2 takes the smallest",
            (wrong(reduce=lambda mine: mine.amax(1)),),
        ),
        Mistake(
            "sum",
            "the distances to all pixels of the object look summed; Eq. 2 takes the smallest",
            (
                wrong(reduce=lambda mine: mine.sum(1)),
                wrong(squash=lambda sq: sq, reduce=lambda mine: normalise_distance(mine.sum(1))),
            ),
        ),
        Mistake(
            "one-pixel",
            "only the first or the last reference pixel of the object seems to count: keep the smallest distance so "
            "far",
            (wrong(reduce=lambda mine: mine[:, 0]), wrong(reduce=lambda mine: mine[:, -1])),
        ),
        Mistake(
            "prototype",
            "the query pixels look compared with the mean embedding of the object; Eq. 2 compares with each of its "
            "pixels and takes the smallest",
            (
                lambda query, reference, labels, *, num_objects: torch.stack(
                    [
                        normalise_distance((query - reference[:, labels == o].mean(1)[:, None, None]).square().sum(0))
                        if (labels == o).any()
                        else torch.ones(query.shape[1:])
                        for o in range(num_objects)
                    ]
                ),
            ),
        ),
        Mistake(
            "labels",
            "all objects have the same map here, the distance to the nearest pixel of any of them; the minimum for "
            "object o runs only over the pixels labelled o",
            (any_label,),
        ),
        Mistake(
            "others",
            "map o looks like the distance to the pixels that are not labelled o: the condition is reversed",
            (wrong(owns=lambda labels, o: labels != o),),
        ),
        Mistake(
            "shifted",
            "the maps look shifted by an object: map o must belong to label o, and the background has label 0",
            (
                wrong(owns=lambda labels, o: labels == o + 1),
                wrong(owns=lambda labels, o: labels == o - 1),
                wrong(owns=lambda labels, o: labels >= o),
                wrong(owns=lambda labels, o: labels <= o),
            ),
        ),
        Mistake(
            "foreground",
            "every object but the background gets the same map: label o, not every label above 0",
            (wrong(owns=lambda labels, o: (labels > 0) if o else labels == 0),),
        ),
        Mistake(
            "multiplied",
            "the pixels of other objects count as distance 0, as where the table is multiplied by a mask of 0 and 1; "
            "fill them with infinity, or leave them out",
            (filled(0.0, normalise_distance, lambda d: d), filled(0.0, lambda sq: sq, normalise_distance)),
        ),
        Mistake(
            "low-fill",
            "the pixels of other objects are filled with 1 before Eq. 1, which makes 0.46 of it; fill them with "
            "infinity before Eq. 1, or with 1 after it",
            (filled(1.0, lambda sq: sq, normalise_distance),),
        ),
        Mistake(
            "small-fill",
            "the pixels of other objects are filled with a number that is too small, so that they are still found; "
            "fill them with infinity before Eq. 1, or with 1 after it",
            tuple(filled(fill, lambda sq: sq, normalise_distance) for fill in (2.0, 3.0, 4.0, 5.0, 9.0, 10.0)),
        ),
        Mistake(
            "not-transposed",
            "`pairwise_sq_dist` takes one vector a row, (N, D), and `flatten(1)` or `view(D, -1)` gives (D, N): "
            "transpose both lists, `query.flatten(1).t()`",
            (
                wrong(table=columns),
                filled(torch.inf, lambda sq: sq, normalise_distance, table=columns),
            ),
        ),
        Mistake(
            "same-place",
            "each pixel is compared only with the one at the same position; the minimum runs over all pixels of the "
            "object, wherever they are, or nothing that moved would be found",
            (same_place,),
        ),
        Mistake(
            "reshape",
            "the embeddings look mixed up: `reshape(-1, D)` of (D, h, w) does not give one pixel a row; flatten the "
            "grid and transpose: `query.flatten(1).t()`",
            (reshaped("query", "reference"), reshaped("query"), reshaped("reference")),
        ),
        Mistake(
            "swapped",
            "query and reference look swapped: the map has a number for each query pixel, and the labels belong to the "
            "reference",
            (swapped,),
        ),
        Mistake(
            "over-queries",
            "the minimum runs over the wrong axis, the query pixels; it runs over the reference pixels of the object, "
            "and one number per query pixel is left",
            (
                over_queries,
                of_query_rows,
                lambda query, reference, labels, *, num_objects: over_queries(
                    query, reference, labels, num_objects=num_objects
                ).view(num_objects, *query.shape[1:]),
            ),
        ),
        Mistake(
            "turned",
            "rows and columns of the grid look swapped: flatten and unflatten in the same order",
            (
                turned,
                changed(lambda d: d.transpose(1, 2).reshape(d.shape)),
                changed(lambda d: d.transpose(1, 2)),
                wrong(relabel=lambda labels, count: labels.t()),
            ),
        ),
        Mistake(
            "argmin",
            "this looks like the index of the nearest pixel (argmin); the map holds the distance to it",
            (wrong(reduce=lambda mine: mine.argmin(1).float()),),
        ),
        *label_mistakes(wrong),
        Mistake(
            "label-above",
            "labels of num_objects and more count for an object; they belong to nobody",
            (
                wrong(relabel=lambda labels, count: labels.clamp(max=count - 1)),
                wrong(relabel=lambda labels, count: torch.where(labels >= count, 0, labels)),
                wrong(relabel=lambda labels, count: torch.where(labels > 0, labels % count, labels)),
            ),
        ),
        Mistake(
            "count",
            "the number of maps comes from the labels that occur; it is `num_objects`, whatever occurs",
            (
                seen_only,
                lambda query, reference, labels, *, num_objects: global_matching(
                    query, reference, labels, num_objects=int(labels.max()) + 1
                ),
            ),
        ),
        Mistake(
            "no-background",
            "the map of the background is missing: o runs from 0 to num_objects − 1",
            (changed(lambda d: d[1:]),),
        ),
        Mistake(
            "absent",
            "an object without a reference pixel should be as far as possible, 1 everywhere, and is 0",
            (wrong(empty=0.0),),
        ),
        Mistake(
            "absent-infinite",
            "an object without a reference pixel should be as far as possible, 1 everywhere, and is infinite or nan",
            tuple(wrong(empty=empty) for empty in (inf, float("nan"))),
        ),
        Mistake(
            "absent-other",
            "an object without a reference pixel gets the distance to the pixels of others; it should be 1 everywhere",
            (
                lambda query, reference, labels, *, num_objects: wrong(
                    owns=lambda ids, o: ids == o if (labels == o).any() else ids >= -9
                )(query, reference, labels, num_objects=num_objects),
            ),
        ),
        Mistake(
            "absent-raises",
            "an object without a reference pixel leaves nothing to take the minimum of; its map is 1 everywhere",
            (
                lambda query, reference, labels, *, num_objects: torch.stack(
                    [
                        normalise_distance(table(query, reference)[:, labels.flatten() == o].amin(1)).view(
                            query.shape[1:]
                        )
                        for o in range(num_objects)
                    ]
                ),
                lambda query, reference, labels, *, num_objects: torch.stack(
                    [
                        normalise_distance(table(query, reference)[:, labels.flatten() == o].min(1).values).view(
                            query.shape[1:]
                        )
                        for o in range(num_objects)
                    ]
                ),
            ),
        ),
    ),
    hints=(
        "Make a list of query pixels and one of reference pixels, compare all with all, then look at one object's "
        "columns of that table at a time.",
        "G_o(p) = min over {q : label(q) = o} of d(p, q). The squashing is monotonic, so min-then-squash gives the "
        "same as squash-then-min.",
        "sq = pairwise_sq_dist(..., ...)                  # (M, N): one pixel a row in both lists\n"
        "maps = []\n"
        "for o in range(num_objects):\n"
        "    mine = ...                                   # the columns of o; all others infinite\n"
        "    maps.append(...)                             # smallest of each row, squashed, as (h, w)\n"
        "return torch.stack(maps)",
        "sq = pairwise_sq_dist(query.flatten(1).t(), reference.flatten(1).t())        # (M, N)\n"
        "maps = []\n"
        "for o in range(num_objects):\n"
        "    mine = sq.masked_fill(labels.flatten() != o, torch.inf)                  # only o's columns count\n"
        "    maps.append(normalise_distance(mine.amin(1)).view(query.shape[1:]))      # inf becomes 1\n"
        "return torch.stack(maps)",
    ),
)

EXERCISES = (_MATCHING, MEMORY)
