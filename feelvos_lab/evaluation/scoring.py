"""Score a model, the copy-first-mask baseline or masks on disk over a list of clips, and print the table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.frames import LazyFrames, LazyMasks, numbered_files
from feelvos_lab.data.images import object_ids, read_mask
from feelvos_lab.errors import LabError
from feelvos_lab.evaluation.metrics import score_masks
from feelvos_lab.inference.propagation import propagate
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.model.fold_norms import fold_batch_norms

OFFICIAL_VAL = {"davis-2016": 20, "davis-2017": 30}  # sequences of the published validation lists
PUBLISHED_HEIGHT = 480  # rows of the frames of both


def evaluate(
    model: Feelvos, clips: list[Clip], *, height: int = 0, progress: Callable[[str], None] | None = None
) -> pd.DataFrame:
    """Propagate the first mask of every clip and score it: one row per clip and object (see `score_masks`).

    Masks are predicted and scored at the clip's size, such as the published one; `height` only changes what the
    network sees.

    Args:
        height: taller frames are downscaled to it for the network, as in `propagate`; 0: never.
        progress: called with a line for each clip, such as `print`.

    Example:
        >>> from feelvos_lab import evaluate, load_model, make_clip
        >>> scores = evaluate(load_model("reduced"), [make_clip(1, height=32, width=32, frames=3, objects=2)])
        >>> scores["object"].tolist(), scores["frames"].tolist()  # frames 0 (given) and 2 (last) do not count
        ([1, 2], [1, 1])
    """
    folded = fold_batch_norms(model)
    return _score(clips, lambda clip: (p.labels for p in propagate(folded, clip, height=height)), progress)


def copy_first_mask(clips: list[Clip]) -> pd.DataFrame:
    """The scores of the baseline that predicts the first mask, unchanged, for every frame.

    Example:
        >>> from dataclasses import replace
        >>> from feelvos_lab.data import make_clip
        >>> from feelvos_lab.evaluation import copy_first_mask
        >>> clip = make_clip(1, height=32, width=32, frames=3)
        >>> still = replace(clip, masks=clip.masks[:1].expand(3, -1, -1))  # nothing moves: the baseline is perfect
        >>> set(copy_first_mask([still])["JF"])
        {1.0}
    """
    return _score(clips, _copies)


def read_truth(folder: Path | str) -> list[Clip]:
    """True masks as clips to score with: a folder of PNGs, or a folder of such folders; no frames are needed.

    The objects are all ids in the masks; each enters in the first mask that shows it and is scored after it. A clip's
    `frames` only have the masks' names.

    Raises:
        LabError: no PNG in the folder or in a subfolder, masks that cannot be read, or no object in any.

    Example:
        >>> import torch
        >>> from feelvos_lab.data.images import write_mask
        >>> from feelvos_lab.evaluation.scoring import read_truth, score_predictions
        >>> for t in range(4):
        ...     write_mask(f"truth/{t:05d}.png", torch.eye(8, dtype=torch.int64))
        >>> clips = read_truth("truth")
        >>> score_predictions("truth", clips, binary=False, flat=True)["JF"].tolist()
        [1.0]
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise LabError(f"there is no folder {folder}: one with true masks, indexed PNGs, was expected")
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    flat = any(path.suffix.lower() == ".png" for path in folder.iterdir())
    return [_true_clip(path) for path in ([folder] if flat or not inside else inside)]


def _true_clip(folder: Path) -> Clip:
    paths = list(numbered_files(folder, endings=(".png",), step="any").values())
    starts: dict[int, int] = {}
    for t, path in enumerate(paths):
        for i in object_ids(read_mask(path)):
            starts.setdefault(i, t)
    if not starts:
        raise LabError(f"the masks in {folder} are empty: at least one object was expected")
    ids, frames = tuple(sorted(starts)), LazyFrames(paths)
    return Clip(
        folder.resolve().name, frames, LazyMasks(paths, frames=frames, ids=ids), ids, tuple(starts[i] for i in ids)
    )


def score_predictions(folder: Path | str, clips: list[Clip], *, binary: bool, flat: bool = False) -> pd.DataFrame:
    """Score indexed PNGs, `folder/<clip>/<frame>.png`, or `folder/<frame>.png` if `flat`; rows as of `score_masks`.

    With `binary` all ids of a mask are merged into object 1, as DAVIS-2016 is scored. The masks of the first and the
    last frame are not read, since nothing is scored there. A clip without a folder, a scored frame without a valid
    mask, or masks that seem to be numbered otherwise than the frames raise LabError.
    """
    folder = Path(folder)
    return _score(clips, lambda clip: _read_masks(folder if flat else folder / clip.name, clip, binary))


def table(scores: pd.DataFrame, baseline: pd.DataFrame) -> str:
    """J&F, J and F of every object with recall and decay, in percent, next to the baseline's, and the means over all.

    Args: rows of `score_masks` as tables, with the same objects.
    """
    both = scores.merge(baseline, on=["clip", "object"], suffixes=("", "_copy"), sort=False)
    names = {"JF": "J&F", "J": "J", "J_recall": "J recall", "J_decay": "J decay"}
    names |= {
        "F": "F",
        "F_recall": "F recall",
        "F_decay": "F decay",
        "JF_copy": "copy J&F",
        "J_copy": "copy J",
        "F_copy": "copy F",
    }
    values = both[list(names)]
    percent = (100 * pd.concat([values, values.mean().to_frame().T])).round(1) + 0.0  # no -0.0
    text = percent.map("{:.1f}".format).rename(columns=names)
    text.insert(0, "object", [*both["object"].astype(str), f"n={len(both)}"])
    text.index, text.columns.name = [*both["clip"], "mean"], "clip"  # the index is aligned left, its name in the corner
    widths = {name: 1 + max(len(name), *map(len, text[name])) for name in text}
    header, *rows, means = text.to_string(col_space=widths).splitlines()
    rule = "-" * len(header)
    return "\n".join([header, rule, *rows, rule, means])


def benchmark_caveat(data: str, *, split: str, clips: list[Clip], scored_height: int) -> str:
    """Why a score is not the data set's published benchmark; "" if it is one.

    Only all sequences of the published validation list, scored at their own size, are the benchmark; the height at
    which a method looks at a frame is its own choice.
    """
    if data == "shapes":
        return "These are synthetic clips: the numbers compare rows made here, they are no DAVIS benchmark."
    if data == "youtube-vos":
        reason = f"it is taken on the {split} split, not on the evaluation server"
    elif split != "test":
        reason = f"it is taken on the {split} split, not on the published val list"
    elif len(clips) != OFFICIAL_VAL[data]:
        reason = f"the published val list has {OFFICIAL_VAL[data]} sequences, here are {len(clips)}"
    elif scored_height:
        reason = f"frames and masks are scaled to a height of {scored_height}"
    elif small := [clip.name for clip in clips if clip.frames[0].shape[1] < PUBLISHED_HEIGHT]:
        reason = f"the published frames have {PUBLISHED_HEIGHT} rows, those of {small[0]} fewer"
    elif clips[0].frames[0].shape[1] > PUBLISHED_HEIGHT:
        reason = f"the published scores are of frames with {PUBLISHED_HEIGHT} rows, those of {clips[0].name} have more"
    else:
        return ""
    return f"This is no {'YouTube-VOS' if data == 'youtube-vos' else 'DAVIS'} benchmark number: {reason}."


def _score(
    clips: list[Clip], masks_of: Callable[[Clip], Iterable[Tensor]], progress: Callable[[str], None] | None = None
) -> pd.DataFrame:
    rows = []
    for clip in clips:
        scored = score_masks(masks_of(clip), clip)
        rows += scored
        if progress and scored:
            progress(f"{clip.name}  J&F {pd.DataFrame(scored).JF.mean():.3f}")
    return pd.DataFrame(rows)


def _copies(clip: Clip) -> Iterator[Tensor]:
    """For every frame the first mask, with the objects given since then pasted over it."""
    shown = torch.zeros_like(clip.masks[0])
    for t in range(len(clip)):
        if new := clip.given_in(t):
            mask = clip.masks[t]
            shown = torch.where(torch.isin(mask, torch.tensor(new)), mask, shown)  # (H, W)
        yield shown


def _read_masks(folder: Path, clip: Clip, binary: bool) -> Iterator[Tensor]:
    if not folder.is_dir():
        raise LabError(f"no predictions for clip {clip.name!r}: the folder {folder} was expected")
    if not isinstance(clip.frames, LazyFrames):
        raise LabError(f"clip {clip.name!r} has no files, so masks made elsewhere cannot be matched to its frames")
    names = [path.stem for path in clip.frames.paths]
    files = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() == ".png"}
    if names[0] not in files and (others := sorted(files.keys() - set(names))):
        raise LabError(
            f"{folder} holds {others[-1]}.png, which is no frame of clip {clip.name!r}, and not {names[0]}.png: "
            "expected masks named like the frames, not numbered from 1"
        )
    yield torch.empty(0)  # the first frame, which `frame_scores` only counts
    for name in names[1:-1]:
        yield read_mask(files.get(name, folder / f"{name}.png"), binary=binary, height=clip.frames.height)
    yield torch.empty(0)
