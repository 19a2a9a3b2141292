"""Clips with several objects by pasting: objects of other clips, or copies of the clip's own that look like it.

A pasted object is cut out of its clip along the masks, frame by frame, scaled by one factor and moved by one offset, so
it keeps its own motion. The clip's own object is in front of all, and pasted objects are behind it in the order of
their ids. So masks are exact, and an object's mask does not depend on how many are pasted behind it.

Frames are composed when they are read. Symbols: H W frame size, h w scaled frame size.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from feelvos_lab.data.clip import Clip
from feelvos_lab.data.difficulty_sweep import BASE, PASTED, Place, clip_name
from feelvos_lab.data.images import size_text
from feelvos_lab.errors import LabError

LARGEST = 0.06  # of the frame: a pasted object's mean area is scaled down to it
MAX_ENLARGED = 1.5  # beyond it an object is visibly blurred
MIN_VISIBLE = 0.002  # of the frame, in frame 0: 205 pixels of 240×427, about 13 cells of stride 4
TRIES = 40  # places drawn for an object
PROBES = 5  # frames, evenly spaced, in which a place is judged


def paste_objects(
    clips: Sequence[Clip], *, objects: int, look_alike: bool = False, seed: int = 0, frames: int = 0
) -> list[Clip]:
    """Each clip with objects pasted behind its own, so that it has `objects` of them with ids 1 (its own), 2, ….

    Without `look_alike` they are the objects of other clips of the list, drawn without repetition, from their first
    frame on. With it they are copies of the clip's own object, starting a quarter to three quarters into the clip.
    Half of them, by chance, are mirrored. A clip that ends early is played backwards from there. An object is scaled
    to the mean area of the clip's own, at most `LARGEST` of the frame; a copy keeps its size up to there.

    Of `TRIES` places drawn uniformly, an object gets the first where half of it is visible in each of `PROBES` frames,
    or else the one where its smallest visible share is largest. In frame 0 every object has `MIN_VISIBLE` of the
    frame or more.

    The edge is hard outside and soft inside: no pixel outside a mask changes, while the outermost pixels inside are
    mixed with what is behind, by the mask's share of their 3×3 neighbourhood. They hold some of the object's former
    background, and would mark its outline.

    Args:
        clips: annotated, with one object each, id 1, given in frame 0; all may differ in size and length.
        objects: 1 or more a clip, its own included; 1 pastes nothing.
        seed: of all that is drawn; fewer objects of the same seed are the first ones of more objects.
        frames: the new clips have at most so many; 0: as many as the clip. What is pasted uses all of its clip.

    Returns:
        lazy clips in the order of `clips`; the pixels of frames and masks outside pasted objects are the clip's.

    Raises:
        LabError: a clip of another kind, too few clips to draw from, or an object that is visible nowhere.

    Example:
        >>> from feelvos_lab.data import make_clip, paste_objects
        >>> clips = [make_clip(seed, objects=1, frames=4) for seed in (1, 2)]
        >>> mixed, alike = paste_objects(clips, objects=2)[0], paste_objects(clips, objects=4, look_alike=True)[0]
        >>> mixed.object_ids, mixed.masks[0].unique().tolist(), alike.masks[0].unique().tolist()
        ((1, 2), [0, 1, 2], [0, 1, 2, 3, 4])
        >>> own = clips[0].masks[3] == 1
        >>> bool(((mixed.masks[3] == 1) == own).all()), bool((mixed.frames[3] == clips[0].frames[3])[:, own].all())
        (True, True)
    """
    if objects < 1:
        raise LabError(f"objects must be 1 or more a clip, got {objects}")
    if not look_alike and objects > len(clips):
        raise LabError(f"{objects} objects a clip need as many clips to draw from, got {len(clips)}")
    for clip in clips:
        if clip.object_ids != (1,) or any(clip.starts) or not clip.annotated:
            raise LabError(
                f"objects are pasted into annotated clips with object 1 alone, given in frame 0; clip {clip.name!r} "
                f"has objects {clip.object_ids}{'' if clip.annotated else ' and no masks'}"
            )
    return [_pasted(clip, clips, objects, look_alike, seed, frames) for clip in clips]


def make_pasted_clips(clips: Sequence[Clip], *, frames: int = 0) -> list[Clip]:
    """The sweep of `difficulty_sweep.PASTED`: each clip as it is, then with more objects, others' or its own copied.

    Args: see `paste_objects`; the seed is always 0.

    Returns:
        clips × (1 + 2 × 2), with names such as `base-scene-cows` and `alike-2-scene-cows`.
    """
    made = [(Place(BASE, 0, clip.name), clip) for clip in paste_objects(clips, objects=1, frames=frames)]
    for factor in PASTED:
        for level, count in enumerate(factor.levels, start=1):
            crowded = paste_objects(clips, objects=int(count), look_alike=factor.name == "alike", frames=frames)
            made += [(Place(factor.name, level, clip.name), new) for clip, new in zip(clips, crowded, strict=True)]
    return [replace(clip, name=clip_name(place)) for place, clip in made]


@dataclass(frozen=True)
class _Layer:
    """An object of a clip on its way to another."""

    clip: Clip
    start: int  # the clip's frame that is shown in frame 0
    mirrored: bool
    scale: float
    shift: tuple[int, int] = (0, 0)  # rows and columns, of the scaled frame

    def mask(self, t: int) -> Tensor:
        """The object in its own scaled frame, bool (h, w)."""
        return self._scaled((self.clip.masks[self._index(t)] == 1)[None], v2.InterpolationMode.NEAREST)[0]

    def image(self, t: int) -> Tensor:
        """The scaled frame, uint8 (3, h, w)."""
        return self._scaled(self.clip.frames[self._index(t)], v2.InterpolationMode.BILINEAR)

    def _scaled(self, picture: Tensor, how: v2.InterpolationMode) -> Tensor:
        if self.scale != 1:
            size = [max(1, round(side * self.scale)) for side in picture.shape[-2:]]
            picture = v2.functional.resize(picture, size, interpolation=how, antialias=True)
        return picture.flip(-1) if self.mirrored else picture

    def _index(self, t: int) -> int:
        """Forwards to the last frame, backwards to the first, and so on."""
        last = len(self.clip) - 1
        return last - abs((self.start + t) % (2 * last) - last) if last else 0


@dataclass(frozen=True)
class _Composite:
    """A clip and what is pasted into it, front to back; `part` composes what of a frame is wanted."""

    own: Clip
    layers: tuple[_Layer, ...]
    length: int
    part: Callable[[_Composite, int], Tensor]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        return self.part(self, range(self.length)[index])

    def __iter__(self) -> Iterator[Tensor]:
        return (self[t] for t in range(self.length))


def _mask(of: _Composite, t: int) -> Tensor:
    """The mask of frame t, int64 (H, W)."""
    labels = of.own.masks[t].clone()
    for object_id, layer in enumerate(of.layers, start=2):
        labels[(labels == 0) & _moved(layer.mask(t), layer.shift, labels.shape)] = object_id
    return labels


def _frame(of: _Composite, t: int) -> Tensor:
    """Frame t, uint8 (3, H, W)."""
    frame = of.own.frames[t]
    size = frame.shape[-2:]
    image, pasted = frame.float(), torch.zeros(size, dtype=torch.bool)
    for layer in reversed(of.layers):
        mask = _moved(layer.mask(t), layer.shift, size)  # (H, W)
        share = F.avg_pool2d(mask[None].float(), 3, stride=1, padding=1, count_include_pad=False)  # (1, H, W)
        image += mask * share * (_moved(layer.image(t), layer.shift, size) - image)
        pasted |= mask
    return torch.where(pasted & (of.own.masks[t] == 0), image.round().to(torch.uint8), frame)


def _moved(picture: Tensor, shift: tuple[int, int], size: Sequence[int]) -> Tensor:
    """A picture (…, h, w) moved by some rows and columns, on an empty canvas (…, H, W)."""
    canvas = picture.new_zeros(*picture.shape[:-2], *size)
    (top, bottom), (left, right) = (
        (max(0, by), min(room, by + extent)) for by, room, extent in zip(shift, size, picture.shape[-2:], strict=True)
    )
    if top < bottom and left < right:
        canvas[..., top:bottom, left:right] = picture[
            ..., top - shift[0] : bottom - shift[0], left - shift[1] : right - shift[1]
        ]
    return canvas


def _pasted(clip: Clip, clips: Sequence[Clip], objects: int, look_alike: bool, seed: int, frames: int) -> Clip:
    """One clip with its layers."""
    length = min(len(clip), frames) if frames else len(clip)
    source = zlib.crc32(clip.name.encode())  # a clip's draws do not depend on its place in the list
    others = [other for other in clips if other is not clip]
    order = np.random.default_rng([seed, source]).permutation(len(others))
    probes = np.linspace(0, length - 1, PROBES).round().astype(int).tolist()
    taken = [clip.masks[t] != 0 for t in probes]  # void pixels too
    own_area = _mean_share([clip.masks[t] == 1 for t in probes])
    layers: list[_Layer] = []
    for number in range(objects - 1):
        rng = np.random.default_rng([seed, source, look_alike, number])
        other = clip if look_alike else others[order[number]]
        start = _later(clip, rng) if look_alike else 0
        layer = _Layer(other, start, bool(rng.integers(2)), 1.0)
        area = _mean_share([layer.mask(t) for t in probes]) * math.prod(layer.mask(0).shape) / taken[0].numel()
        wanted = min(area if look_alike else own_area, LARGEST)
        layer = replace(layer, scale=min(MAX_ENLARGED, math.sqrt(wanted / area)))
        shapes = [layer.mask(t) for t in probes]
        layer = replace(layer, shift=_free_place(shapes, taken, rng, f"{other.name!r} in clip {clip.name!r}"))
        for covered, shape in zip(taken, shapes, strict=True):
            covered |= _moved(shape, layer.shift, covered.shape)
        layers.append(layer)
    name = f"{clip.name}-{objects}-{'alike' if look_alike else 'objects'}" if layers else clip.name
    pictures, masks = (_Composite(clip, tuple(layers), length, part) for part in (_frame, _mask))
    return Clip(name, pictures, masks, tuple(range(1, objects + 1)))


def _later(clip: Clip, rng: np.random.Generator) -> int:
    """A frame in the middle half of a clip with at least half of the object's first area; frame 0 if there is none."""
    first = int((clip.masks[0] == 1).sum())
    middle = rng.permutation(np.arange(len(clip) // 4, 3 * len(clip) // 4 + 1).clip(max=len(clip) - 1))
    return next((int(t) for t in middle if int((clip.masks[t] == 1).sum()) >= first / 2), 0)


def _mean_share(masks: Sequence[Tensor]) -> float:
    return float(np.mean([mask.float().mean().item() for mask in masks]))


def _free_place(
    shapes: Sequence[Tensor], taken: Sequence[Tensor], rng: np.random.Generator, what: str
) -> tuple[int, int]:
    """The shift of an object, given its masks (h, w) and the pixels (H, W) covered by those in front, in each probe."""
    size = taken[0].shape
    middle = shapes[0].nonzero().float().mean(0).tolist()
    best, shift = -1.0, (0, 0)
    for _ in range(TRIES):
        drawn = tuple(round(rng.uniform(0, room) - at) for room, at in zip(size, middle, strict=True))
        seen = [
            int((_moved(shape, drawn, size) & ~covered).sum()) for shape, covered in zip(shapes, taken, strict=True)
        ]
        if seen[0] < MIN_VISIBLE * taken[0].numel():
            continue
        least = min(count / max(1, int(shape.sum())) for count, shape in zip(seen, shapes, strict=True))
        if least > best:
            best, shift = least, drawn
        if least >= 0.5:
            break
    if best < 0:
        raise LabError(
            f"object {what}: none of {TRIES} places in {size_text(size)} leaves {MIN_VISIBLE:.1%} of frame 0 to it"
        )
    return shift
