"""One self-contained HTML file: a pixel's distances to the first and the previous frame, in any browser.

The page computes Eq. 1 itself, from embeddings quantised to 8 bits; its HTML, CSS and JavaScript are the files in
`feelvos_lab/figures/explorable_page/`. Nothing is loaded from a network.

Symbols: S stored frames, K objects including background, D embedding, H W the network's frame, h w the stride-4 grid.
"""

from __future__ import annotations

import base64
import html
import io
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.images import PALETTE, VOID, scaled_size
from feelvos_lab.data.sample_video import CREDITS, NAMES, film, is_sample
from feelvos_lab.errors import LabError
from feelvos_lab.figures import style
from feelvos_lab.files.atomic import write_text
from feelvos_lab.inference.probe import Probe, Switches
from feelvos_lab.model.checkpoint import load_model
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.model.grid import resize_labels, stride4_size

LARGEST = 3_000_000  # bytes of a page

COUNT = 4  # frames of a page, unless they are chosen

LOWEST = 120  # rows below which no height is chosen automatically: small objects vanish

STEEPEST = 0.7872  # the largest slope of Eq. 1, d = tanh(s² / 2), as a function of s = ‖e_p − e_q‖; at s = 1.02

FLOAT32 = 1e-4  # what the library's own distances may miss, as sums in float32

_REST = 128_000  # bytes of a page without embeddings and pictures
_PICTURE = 0.18  # bytes a pixel of a picture, in base64, at most
_PARTS = Path(__file__).with_name("explorable_page")


class Quantised(NamedTuple):
    """Embeddings in 8 bits: `lowest + codes * steps` is within `error` (‖·‖) of each of them."""

    codes: Tensor  # (S, h, w, D) uint8
    steps: Tensor  # (D,) float64
    lowest: Tensor  # (D,) float64
    error: float  # the largest distance of an embedding to its quantised one
    bound: float  # of the error of every distance and distance map computed from the codes


class Written(NamedTuple):
    """What `write_explorable` wrote."""

    path: Path
    size: int  # bytes
    frames: tuple[int, ...]
    height: int  # rows of the frames that the network saw
    bound: float  # no distance in the page is further from the library's


def quantise(embeddings: Tensor) -> Quantised:
    """Round embeddings to 256 levels a channel, and bound what that changes in distances.

    With every ‖e − ê‖ ≤ ε, ‖e_p − e_q‖ changes by at most 2ε (triangle inequality), and d of Eq. 1 by at most 2ε times
    its largest slope. A minimum over pixels, as in Eq. 3 and 4, changes by no more than its distances.

    Shapes: (S, D, h, w) float → codes (S, h, w, D).

    Example:
        >>> import torch
        >>> from feelvos_lab.figures.explorable import quantise
        >>> small = quantise(torch.tensor([0.0, 1.0, 2.0, 5.1]).view(1, 1, 2, 2))
        >>> small.codes.flatten().tolist(), round(float(small.steps[0]), 6), small.error <= 0.01
        ([0, 50, 100, 255], 0.02, True)
    """
    exact = embeddings.double().movedim(1, -1)  # (S, h, w, D)
    lowest, highest = exact.flatten(0, 2).amin(0), exact.flatten(0, 2).amax(0)  # (D,)
    # The page reads the steps as decimals, so these decimals are what is bounded. A constant channel has any step.
    steps = torch.tensor(
        [float(f"{step:.7g}") for step in ((highest - lowest) / 255).clamp(min=1e-9).tolist()]
    ).double()
    codes = ((exact - lowest) / steps).round().clamp(0, 255)  # (S, h, w, D)
    error = float((lowest + codes * steps - exact).norm(dim=-1).max())
    return Quantised(codes.to(torch.uint8), steps, lowest, error, STEEPEST * 2 * error + FLOAT32)


def write_explorable(
    clip: Clip | None,
    path: Path | str,
    *,
    model: Feelvos | None = None,
    frames: Sequence[int] | None = None,
    height: int | None = None,
    names: Mapping[int, str] | None = None,
) -> Written:
    """Write a page in which a pixel of a frame shows its distance to every pixel of the first and previous frame.

    Each frame is stored with the one before it, 8 bits a number: the page has at most `LARGEST` bytes.

    Args:
        clip: all objects given in frame 0. None: the sample video, `film("bunny")`.
        model: in evaluation mode, with a head (`method: feelvos`). None: the shipped network for real video.
        frames: those to choose from, 1 to T − 1. None: `COUNT` of them, evenly spaced up to the last.
        height: taller frames are downscaled to it for the network, see `propagate`. None: the largest, not below
            `LOWEST`, with which the page is small enough.
        names: what the page calls objects, by id, such as {1: "the dog"}; the others are "object 2".

    Raises:
        LabError: frames that the clip lacks or that are given; a page that would be too large; what `Probe` rejects.

    Example:
        >>> from feelvos_lab import load_model, make_clip
        >>> from feelvos_lab.figures.explorable import write_explorable
        >>> clip = make_clip(1, height=64, width=96, frames=4)
        >>> page = write_explorable(clip, "page.html", model=load_model("reduced"), frames=[1, 3])
        >>> page.frames, page.size < 3_000_000, page.bound < 0.05
        ((1, 3), True, True)
    """
    clip = film() if clip is None else clip
    model = load_model("real") if model is None else model
    frames = _frames(clip, frames)
    room = LARGEST
    while True:
        rows = _height(clip, model, frames, height, room)
        content = page_content(clip, model, frames, height=rows, names=names)
        text = _page(content)
        if (size := len(text.encode())) <= LARGEST:
            break
        if height is not None:
            raise LabError(_too_large(size, frames, content["size"][0]))
        room -= size - LARGEST  # of many objects, or ragged ones: the estimate was too small by as much
    write_text(path, text)
    return Written(Path(path), size, frames, content["size"][0], content["bound"])


def page_content(
    clip: Clip, model: Feelvos, frames: Sequence[int], *, height: int, names: Mapping[int, str] | None = None
) -> dict[str, Any]:
    """What the page knows, as JSON: pictures, labels, quantised embeddings, and the results of all sets of cues.

    Args: see `write_explorable`; frames ascending.
    """
    if names is None:
        names = NAMES[clip.name] if is_sample(clip) else {}
    for object_id in names:
        clip.channel(object_id)  # raises for an object that the clip lacks
    stored = sorted({0, *frames, *(t - 1 for t in frames)})
    probe = Probe(model, clip, height=height, keep=stored)
    trained = probe.trained
    looks = {t: probe.look(t, object_id=clip.object_ids[0], cell=(0, 0)) for t in frames}
    first, embeddings, cells = probe.references(frames[0])[0], {}, {}
    for t in frames:
        previous = probe.references(t)[1]
        embeddings |= {t - 1: previous.embeddings, t: probe.answer(t).cues.embeddings}
        cells[t - 1] = previous.labels
    embeddings[0], cells[0] = first.embeddings, first.labels
    small = quantise(torch.stack([embeddings[t].cpu() for t in stored]))
    size, given = _network_size(clip, height), clip.masks[0]
    labels = {0: given, **{t - 1: look.previous_labels for t, look in looks.items()}}
    channels = torch.full((256,), VOID)
    channels[0] = 0
    channels[list(clip.object_ids)] = torch.arange(1, 1 + len(clip.object_ids))
    return {
        "name": clip.name,
        "credit": CREDITS[clip.name] if is_sample(clip) else "",
        "size": size,
        "grid": probe.grid,
        "steps": small.steps.tolist(),
        "bound": math.ceil(1e4 * small.bound) / 1e4,
        "objects": [
            {"id": o, "name": names.get(o, style.name_of(o)), "colour": PALETTE[o].tolist()}
            for o in (0, *clip.object_ids)
        ],
        "trained": {
            "first": trained.first_matching != "none",
            "previous": trained.previous_matching != "none",
            "mask": trained.previous_mask,
            "radius": trained.radius if trained.previous_matching == "local" else max(probe.grid) - 1,
        },
        "frames": list(frames),
        "colours": _base64(style.colour_scale("distance").to_rgba(np.arange(256) / 255, bytes=True)[:, :3]),
        "pictures": _pictures(clip, stored, size),
        "embeddings": {t: _base64(codes.numpy()) for t, codes in zip(stored, small.codes, strict=True)},
        "cells": {t: _runs(k) for t, k in cells.items()},
        "labels": {t: _runs(resize_labels(channels[mask], size)) for t, mask in labels.items()},
        "results": {t: _results(probe, t, size, channels) for t in frames},
    }


def _results(probe: Probe, frame: int, size: tuple[int, int], channels: Tensor) -> dict[str, str]:
    """The labels that the head gives, by the cues that are on: "101" is the first frame's and the previous mask."""
    trained = probe.trained
    used = (trained.first_matching != "none", trained.previous_matching != "none", trained.previous_mask)
    choices = itertools.product(*((True, False) if cue else (False,) for cue in used))
    results = {}
    for first, previous, mask in choices:
        switches = Switches(
            first_matching=trained.first_matching if first else "none",
            previous_matching=trained.previous_matching if previous else "none",
            previous_mask=mask,
            radius=trained.radius,
        )
        labels = probe.answer(frame, switches).labels
        results["".join("01"[on] for on in (first, previous, mask))] = _runs(resize_labels(channels[labels], size))
    return results


def _frames(clip: Clip, frames: Sequence[int] | None) -> tuple[int, ...]:
    """The chosen frames, ascending; LabError for none, or for one without a prediction."""
    last = len(clip) - 1
    if frames is None:
        count = min(COUNT, last)
        return tuple(sorted({round(last * i / count) for i in range(1, count + 1)}))
    if not frames:
        raise LabError("an explorable page needs a frame, got none")
    for t in frames:
        if not 1 <= t <= last:
            why = ": the mask of frame 0 is given" if t == 0 else ""
            raise LabError(f"a frame to explore must be 1 to {last} in clip {clip.name!r}, got {t}{why}")
    return tuple(sorted(set(frames)))


def _height(clip: Clip, model: Feelvos, frames: Sequence[int], height: int | None, room: int) -> int:
    """The height to downscale to, so that the page takes about `room` bytes; LabError where it would take more."""
    rows = clip.frames[0].shape[-2]
    heights = [rows, *range(4 * (min(rows - 1, 1080) // 4), LOWEST - 1, -4)] if height is None else [height]
    for chosen in heights:
        if (needed := _estimate(clip, model, frames, chosen)) <= room:
            return chosen
    raise LabError(_too_large(needed + LARGEST - room, frames, _network_size(clip, heights[-1])[0]))


def _estimate(clip: Clip, model: Feelvos, frames: Iterable[int], height: int) -> int:
    """About how many bytes the page will have."""
    stored = {0, *frames, *(t - 1 for t in frames)}
    size = _network_size(clip, height)
    h, w = stride4_size(size)
    a_frame = 4 * -(-h * w * model.config.embedding_dim // 3) + _PICTURE * size[0] * size[1]
    return round(_REST + len(stored) * a_frame)


def _too_large(size: int, frames: Sequence[int], height: int) -> str:
    count = f"{len(frames)} frame{'' if len(frames) == 1 else 's'}"
    return (
        f"the page of {count} at height {height} would have {size / 1e6:.1f} MB, at most {LARGEST / 1e6:.0f} MB are "
        "expected: choose fewer frames, neighbouring ones, or a smaller height"
    )


def _network_size(clip: Clip, height: int) -> tuple[int, int]:
    """H and W of the frames as the network takes them."""
    size = tuple(clip.frames[0].shape[-2:])
    return scaled_size(size, height) if 0 < height < size[0] else size


def _pictures(clip: Clip, frames: Sequence[int], size: tuple[int, int]) -> dict[int, str]:
    """Frames as WebP in data URIs, of the best quality with which they are as small as estimated."""
    images = {}
    for t in frames:
        frame = clip.frames[t]
        if tuple(frame.shape[-2:]) != size:
            frame = v2.functional.resize(frame, list(size), antialias=True)
        images[t] = Image.fromarray(frame.permute(1, 2, 0).cpu().numpy())
    for quality in (85, 75, 65, 50, 35, 20):
        encoded = {t: "data:image/webp;base64," + _webp(image, quality) for t, image in images.items()}
        if sum(map(len, encoded.values())) <= _PICTURE * size[0] * size[1] * len(frames):
            break
    return encoded


def _webp(image: Image.Image, quality: int) -> str:
    file = io.BytesIO()
    image.save(file, format="WEBP", quality=quality)
    return base64.b64encode(file.getvalue()).decode()


def _runs(channels: Tensor) -> str:
    """Channels (H, W) as runs, row by row: bytes channel, length, channel, length, …; 255 for what has none."""
    values, lengths = channels.flatten().cpu().unique_consecutive(return_counts=True)
    runs = [(value % 256, n) for value, n in zip(values.tolist(), lengths.tolist(), strict=True)]
    pairs = [pair for value, n in runs for pair in (*[(value, 255)] * (n // 255), (value, n % 255))]
    return _base64(np.array(pairs))


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=np.uint8).tobytes()).decode()


def _page(content: Mapping[str, Any]) -> str:
    """The HTML file: the parts of `explorable_page`, and the content as JSON in which no `<` can end its element."""
    text = (_PARTS / "page.html").read_text(encoding="utf-8")
    parts = {
        "TITLE": html.escape(f"{content['name']}: where a pixel finds its match"),
        "STYLE": (_PARTS / "page.css").read_text(encoding="utf-8"),
        "DISTANCES": (_PARTS / "distances.js").read_text(encoding="utf-8"),
        "SCRIPT": (_PARTS / "page.js").read_text(encoding="utf-8"),
        "CONTENT": json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    }
    for name, part in parts.items():  # the content last: nothing in it is replaced
        before, _, after = text.partition(f"{{{{{name}}}}}")
        text = before + part + after
    return text
