"""Frames, masks and distance maps as image files.

Masks are indexed PNGs in the DAVIS colours; distance maps are 16-bit grey PNGs, black where near, white where far.
Photos are rotated upright as their EXIF orientation says.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from feelvos_lab.errors import LabError, shape_text
from feelvos_lab.files.atomic import complete_file

VOID = 255  # an unlabelled pixel: neither background nor object

MAX_OBJECTS = 32  # per mask; more ids are the grey levels of an interpolated mask

MAX_PIXELS = 1 << 26  # per image: a small file may decompress to any size

FAR = 65535  # the grey value of distance 1

PHOTOS = ("JPEG", "WEBP")  # formats whose EXIF orientation is applied; masks are never in them

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")  # Pillow runs external programs for some of its other formats

# What Pillow raises for a damaged file
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)


def _palette() -> NDArray[np.uint8]:
    """The PASCAL VOC colour map: bits 0, 3, 6 of an id set the high bits of red, 1, 4, 7 of green, 2, 5 of blue."""
    ids, colours = np.arange(256), np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        colours[:, bit % 3] |= ((ids >> bit & 1) << (7 - bit // 3)).astype(np.uint8)
    return colours


PALETTE = _palette()  # (256, 3) RGB, the colour of each id


def read_frame(path: Path | str, *, height: int = 0) -> Tensor:
    """Read a frame, scaled to `height` by antialiased bilinear interpolation unless that is 0.

    Shapes: an image file → uint8 RGB (3, H, W), the width in proportion and rounded.

    Raises:
        LabError: a file that is missing, damaged, no image, too large, or has more than 8 bits per channel.
    """
    with opened_image(path) as image:
        if image.mode.startswith(("I", "F")):
            raise LabError(f"frame {path} must have 8 bits a channel, got an image of mode {image.mode}")
        pixels = _scaled(image.convert("RGB"), height, Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(pixels)).permute(2, 0, 1).contiguous()  # (3, H, W)


def read_mask(path: Path | str, *, binary: bool = False, height: int = 0) -> Tensor:
    """Read a mask's object ids, scaled to `height` by nearest neighbour unless that is 0.

    The file is an indexed PNG, whose indices are the ids (255: void), or an 8-bit grey image of ids 1 … 254. A grey
    image of 0 and 255 only is a black-and-white mask of object 1. `binary` merges all ids to object 1, as DAVIS-2016
    is evaluated.

    Shapes: an image file → int64 (H, W): 0 for background, 255 for void, an object id otherwise.

    Raises:
        LabError: a file that is missing, damaged, no image or too large; an RGB or interpolated mask.
    """
    with opened_image(path) as image:
        if image.mode not in ("1", "L", "P"):
            raise LabError(
                f"mask {path} must be an indexed or an 8-bit grey image whose pixels are object ids, "
                f"got one of mode {image.mode}"
            )
        indexed = image.mode == "P"
        image = image if indexed else image.convert("L")
        values = [value for value, count in enumerate(image.histogram()) if count]
        ids = [value for value in values if value not in (0, VOID)]
        if len(ids) > MAX_OBJECTS:
            raise LabError(
                f"mask {path} holds {len(ids)} ids, expected at most {MAX_OBJECTS}: an interpolated mask "
                "(masks must be scaled by nearest neighbour)?"
            )
        if not indexed and ids and VOID in values:
            first = ", ".join(map(str, ids[:4])) + (", …" if len(ids) > 4 else "")
            raise LabError(
                f"mask {path} is grey and holds 255 (white) next to the ids {first}, "
                "expected ids 1 to 254, or black and white only: an interpolated mask?"
            )
        labels = np.array(_scaled(image, height, Image.Resampling.NEAREST))  # (H, W)
        if binary or (not indexed and VOID in values):
            labels = labels > 0
        return torch.from_numpy(labels.astype(np.int64))


def write_mask(path: Path | str, labels: Tensor) -> None:
    """Write object ids as an indexed PNG in the DAVIS colours, atomically; missing folders are made.

    Shapes: `labels` (H, W), integers 0 … 255.

    Raises:
        LabError: another shape, other values, or a file that cannot be written.
    """
    if labels.ndim != 2 or not labels.numel():
        raise LabError(f"a mask to write must have shape (H, W), got {tuple(labels.shape)}")
    if labels.is_floating_point() or labels.is_complex() or labels.min() < 0 or labels.max() > 255:
        raise LabError(
            f"a mask to write must hold integers 0 to 255, got {labels.dtype} {labels.min()} to {labels.max()}"
        )
    image = Image.fromarray(labels.cpu().numpy().astype(np.uint8))
    image.putpalette(PALETTE.tobytes())
    with complete_file(path) as unfinished:
        image.save(unfinished, format="PNG")


def image_size(path: Path | str) -> tuple[int, int]:
    """Height and width in pixels of the image that `read_frame` would return, from the file's header."""
    with opened_image(path, header_only=True) as image:
        turn = image.getexif().get(ExifTags.Base.Orientation, 1) if image.format in PHOTOS else 1
        return image.size if turn >= 5 else image.size[::-1]  # from 5 on rotated by a quarter turn


def object_ids(labels: Tensor) -> tuple[int, ...]:
    """The ids in a mask, ascending, without background and void; LabError where labels are no integers from 0."""
    if labels.is_floating_point() or (labels.numel() and labels.min() < 0):
        raise LabError(f"a mask must hold object ids, integers from 0, got {labels.dtype} from {labels.min()}")
    return tuple(i for i in labels.flatten().bincount().nonzero().flatten().tolist() if i not in (0, VOID))


def _scaled(image: Image.Image, height: int, how: Image.Resampling) -> Image.Image:
    if height in (0, image.height):
        return image
    width = max(1, round(image.width * height / image.height))
    if width * height > MAX_PIXELS:
        raise LabError(
            f"an image of {image.width}×{image.height} scaled to height {height} has {width}×{height} pixels, "
            f"at most {MAX_PIXELS:,} were expected"
        )
    return image.resize((width, height), how)


@contextmanager
def opened_image(path: Path | str, *, header_only: bool = False) -> Iterator[Image.Image]:
    """Open an image in a `with` block; whatever Pillow raises for it, also in the block, becomes a LabError.

    Raises:
        LabError: a file that is missing, damaged, in none of `FORMATS`, or has more than `MAX_PIXELS`.
    """
    try:
        if not header_only:
            with _opened(path) as image:
                image.verify()  # all checksums of a PNG, some of which decoding skips; the file must be opened again
        with _opened(path) as image:
            if not header_only and image.format in PHOTOS:
                ImageOps.exif_transpose(image, in_place=True)
            yield image
    except LabError:
        raise
    except Image.DecompressionBombError as error:
        raise LabError(f"{path} claims far more pixels than the {MAX_PIXELS:,} that an image may have") from error
    except FileNotFoundError as error:
        raise LabError(f"{path} is missing: an image was expected") from error
    except UnidentifiedImageError as error:
        raise LabError(f"{path} cannot be read as an image: it is none, or its beginning is damaged") from error
    except _DAMAGED as error:
        raise LabError(f"{path} cannot be read as an image: {failure_reason(error)}") from error


def failure_reason(error: Exception) -> str:
    """Another library's exception in one line, for an error message."""
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__


def size_text(size: Sequence[int]) -> str:
    """Height and width → `width×height`, as image sizes are given in error messages."""
    return f"{size[1]}×{size[0]}"


def _opened(path: Path | str) -> Image.Image:
    """Read the file's header, and refuse one that claims more than MAX_PIXELS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # Pillow's limit is higher than ours
        image = Image.open(path, formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise LabError(f"{path} claims {image.width}×{image.height} pixels, at most {MAX_PIXELS:,} were expected")
    return image


def overlay(frame: Tensor, labels: Tensor, *, opacity: float = 0.5) -> np.ndarray:
    """The frame with every object tinted in its palette colour, and its outline in the full colour.

    Shapes: frame uint8 (3, H, W), labels int64 (H, W) → uint8 (H, W, 3); LabError where the sizes differ.
    """
    if frame.shape[-2:] != labels.shape:
        size, given = shape_text(frame.shape[-2:]), shape_text(labels.shape)
        raise LabError(f"labels must have their frame's size {size}, got labels of {given}")
    picture = frame.permute(1, 2, 0).cpu().numpy().astype(np.float32)  # (H, W, 3)
    ids = labels.cpu().numpy()  # (H, W)
    colours = PALETTE[ids % 256].astype(np.float32)  # (H, W, 3)
    weight = np.where(ids > 0, opacity, 0.0)  # (H, W)
    weight[_outline(ids) & (ids > 0)] = 1.0
    blended = picture + weight[..., None] * (colours - picture)
    return blended.round().astype(np.uint8)


def _outline(ids: np.ndarray) -> np.ndarray:
    """The pixels with a 4-neighbour of another id."""
    edge = np.zeros(ids.shape, dtype=bool)
    down, across = ids[1:] != ids[:-1], ids[:, 1:] != ids[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    return edge


def write_distance(path: Path | str, distance: Tensor) -> None:
    """Write a map of normalised distances as a 16-bit grey PNG, atomically; missing folders are made.

    Shapes: `distance` (h, w) in [0, 1]; 1 becomes 65535, so the rounding error is at most 1/131070.

    Raises:
        LabError: another shape, values outside [0, 1] or not finite, or a file that cannot be written.
    """
    if distance.ndim != 2 or not ((distance >= 0) & (distance <= 1)).all():
        shape = f"shape {tuple(distance.shape)}"
        got = shape if distance.ndim != 2 else f"values {distance.min():.3g} to {distance.max():.3g}"
        raise LabError(f"a distance map to write must be (h, w) in [0, 1], got {got}")
    grey = (distance.double() * FAR).round().cpu().numpy().astype(np.uint16)
    with complete_file(path) as unfinished:
        Image.fromarray(grey).save(unfinished, format="PNG")


def read_distance(path: Path | str) -> Tensor:
    """Read a map that `write_distance` wrote: (h, w) float32 in [0, 1]."""
    with opened_image(path) as image:
        if image.mode not in ("I;16", "I"):
            raise LabError(f"a distance map must be a 16-bit grey image, {path} is {image.mode}")
        return torch.from_numpy(np.asarray(image, dtype=np.float32) / FAR)
