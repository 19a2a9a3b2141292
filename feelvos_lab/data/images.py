"""Frames, masks and distance maps as image files.

Masks are indexed PNGs in the DAVIS colours; distance maps are 16-bit grey PNGs, black where near, white where far.
Images are turned and mirrored as their EXIF orientation says, so they are read as a viewer shows them.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from feelvos_lab.data.mask_values import (
    MAX_OBJECTS,
    PALETTE,
    VOID,
    Colour,
    colours_in,
    has_grey_palette,
    ids_of_colours,
    labels_of_colours,
    listed,
    look_interpolated,
    own_colour,
    refuse_other_background,
    refuse_soft_edges,
)
from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import complete_file, refuse_pipe

MAX_PIXELS = 1 << 26  # per image: a small file may decompress to any size

FAR = 65535  # the grey value of distance 1

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")  # Pillow runs external programs for some of its other formats

KINDS = "PNG, JPEG, BMP, GIF, WebP or TIFF"  # the same, for error messages

_ORIENTED = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}  # where Pillow finds an orientation

# What Pillow raises for a damaged file
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)


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


def read_mask(
    path: Path | str, *, binary: bool = False, height: int = 0, colours: Mapping[Colour, int] | None = None
) -> Tensor:
    """Read a mask's object ids, scaled to `height` by nearest neighbour unless that is 0.

    The file is an indexed image, whose indices are the ids (255: void), an 8-bit grey image of ids 1 … 254, or an
    RGB image of one colour per object. A grey image of 0 and 255 only is a black-and-white mask of object 1.
    Transparent pixels are background. `binary` merges all ids to object 1, as DAVIS-2016 is evaluated.

    Shapes: an image file → int64 (H, W): 0 for background, 255 for void, an object id otherwise.

    Args:
        colours: the id of each colour, see `colour_ids`. None: a colour must be of the DAVIS palette, grey or white,
            so that it means the same in each mask of a clip.

    Raises:
        LabError: a file that is missing, damaged, no image or too large; a mask with soft edges (`refuse_soft_edges`),
            more than 32 ids or colours, or other channels.
    """
    with opened_image(path) as image:
        image = _mask_image(image, path)
        if image.mode == "RGB":
            if colours is None:
                colours = _ids(colours_in(image, path), path)
                if own := own_colour(colours):
                    raise LabError(
                        f"mask {path} holds the colour {own}, expected black and white or colours of the DAVIS palette"
                    )
            labels = Image.fromarray(labels_of_colours(image, path, colours))
        else:
            labels = _labels(image, path)
        ids = np.array(_scaled(labels, height, Image.Resampling.NEAREST))  # (H, W)
        return torch.from_numpy((ids > 0 if binary else ids).astype(np.int64))


def colour_ids(paths: Sequence[Path | str]) -> dict[Colour, int]:
    """The object id of each colour in the RGB masks of a clip; empty if all are indexed or grey.

    See `ids_of_colours` for the order; colours appear in the files' order, row by row.

    Raises:
        LabError: a mask that `read_mask` rejects, or colours that are in no palette next to a mask of ids.
    """
    shown: list[Colour] = []
    with_ids: list[Path | str] = []
    for path in paths:
        with opened_image(path) as image:
            image = _mask_image(image, path)
            if image.mode == "RGB":
                shown += colours_in(image, path)
            else:
                with_ids.append(path)
    ids = _ids(shown, paths[0]) if shown else {}
    if len(ids) > MAX_OBJECTS:
        raise LabError(f"the masks from {paths[0]} on hold {len(ids)} colours, expected at most {MAX_OBJECTS} objects")
    if with_ids and (own := own_colour(ids)):
        raise LabError(
            f"mask {with_ids[0]} holds ids, but another mask the colour {own}, which has none in the DAVIS palette: "
            "masks of one kind were expected"
        )
    return ids


def _mask_image(image: Image.Image, path: Path | str) -> Image.Image:
    """A mask as an image of mode P (indices), L (grey) or RGB; transparent pixels are black."""
    if image.mode not in ("P", "L", "1", "RGB", "RGBA", "LA"):
        raise LabError(f"mask {path} must be an indexed, an 8-bit grey or an RGB image, got one of mode {image.mode}")
    if image.format != "MPO" and (count := getattr(image, "n_frames", 1)) > 1:
        raise LabError(f"mask {path} holds {count} pictures, one was expected")
    lossy = image.format in ("JPEG", "MPO") or (image.format == "WEBP" and not _is_lossless(path))
    if lossy and (image.mode != "L" or any(image.histogram()[1:VOID])):  # black and white alone lost nothing
        raise LabError(
            f"mask {path} is a lossy {image.format}, whose edges are interpolated: expected a PNG, or another lossless "
            "image"
        )
    if image.mode == "P":
        refuse_other_background(image, path)
        return image
    if "transparency" in image.info and image.mode in ("L", "RGB"):  # one value or colour of a PNG is transparent
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    if image.mode in ("1", "L", "RGB"):
        return image if image.mode == "RGB" else image.convert("L")
    alpha = image.getchannel("A")
    if soft := [value for value, count in enumerate(alpha.histogram()) if count and value not in (0, 255)]:
        raise LabError(
            f"mask {path} is partly transparent (alpha {listed(soft)}), expected alpha 0 or 255: soft edges?"
        )
    plain = image.convert(image.mode.removesuffix("A"))
    return Image.composite(plain, Image.new(plain.mode, plain.size), alpha)


def _labels(image: Image.Image, path: Path | str) -> Image.Image:
    """Ids as an image, from one of indices or grey values."""
    indexed = image.mode == "P"
    values = [value for value, count in enumerate(image.histogram()) if count]
    ids = [value for value in values if value not in (0, VOID)]
    if len(ids) > MAX_OBJECTS:
        soft = look_interpolated(np.asarray(image), ids)
        why = ": an interpolated mask (masks must be scaled by nearest neighbour)?" if soft else " in a mask"
        raise LabError(f"mask {path} holds {len(ids)} ids, expected at most {MAX_OBJECTS}{why}")
    if not indexed and ids and VOID in values:
        raise LabError(
            f"mask {path} is grey and holds 255 (white) next to the ids {listed(ids)}, "
            "expected ids 1 to 254, or black and white only: an interpolated mask?"
        )
    if len(ids) > 1 and (not indexed or has_grey_palette(image)):
        shown = np.array([0, *ids, *({VOID} & {*values})])
        refuse_soft_edges(np.searchsorted(shown, np.asarray(image)).astype(np.uint8), shown[:, None], path)
    return image.point(lambda value: value > 0) if not indexed and VOID in values else image


def _ids(colours: Sequence[Colour], path: Path | str) -> dict[Colour, int]:
    try:
        return ids_of_colours(colours)
    except LabError as error:
        raise LabError(f"mask {path} is grey: {error}") from None


def no_object(labels: Tensor) -> str:
    """Why a mask without an object may hold none: an addition to an error message, or ""."""
    return ": 255 is void in an indexed mask, save black and white as a grey image" if (labels == VOID).any() else ""


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
    """Height and width in pixels of the image that `read_frame` would return, from the file's headers."""
    with opened_image(path, header_only=True) as image:
        if image.format == "PNG" and not _late_orientation(path) and not image.info.keys() & _ORIENTED:
            return image.size[::-1]  # Pillow would decode the pixels to look for an orientation after them
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)  # by a quarter turn
        if turned and image.format == "TIFF":
            image.load()  # Pillow turns it, and whether its size says so before depends on the version
            return image.size[::-1]
        return image.size if turned else image.size[::-1]


def scaled_size(size: Sequence[int], height: int) -> tuple[int, int]:
    """Height and width of an image of this `size` (height, width) when it is read with `height`; 0 keeps it."""
    if height in (0, size[0]):
        return size[0], size[1]
    return height, max(1, round(size[1] * height / size[0]))


def object_ids(labels: Tensor) -> tuple[int, ...]:
    """The ids in a mask, ascending, without background and void; LabError where labels are no integers from 0."""
    if labels.is_floating_point() or (labels.numel() and labels.min() < 0):
        raise LabError(f"a mask must hold object ids, integers from 0, got {labels.dtype} from {labels.min()}")
    return tuple(i for i in labels.flatten().bincount().nonzero().flatten().tolist() if i not in (0, VOID))


def _scaled(image: Image.Image, height: int, how: Image.Resampling) -> Image.Image:
    if height in (0, image.height):
        return image
    height, width = scaled_size(image.size[::-1], height)
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
        require_file(path, "an image")
        if not header_only:
            with _opened(path) as image:
                image.verify()  # all checksums of a PNG, some of which decoding skips; the file must be opened again
        with _opened(path) as image:
            if not header_only:
                ImageOps.exif_transpose(image, in_place=True)
            yield image
    except LabError:
        raise
    except Image.DecompressionBombError as error:
        raise LabError(f"{path} claims far more pixels than the {MAX_PIXELS:,} that an image may have") from error
    except FileNotFoundError as error:
        raise LabError(f"{path} is missing: an image was expected") from error
    except UnidentifiedImageError as error:
        raise LabError(f"{path} cannot be read as an image: it is no {KINDS}, or its beginning is damaged") from error
    except _DAMAGED as error:
        raise LabError(f"{path} cannot be read as an image: {failure_reason(error)}") from error


def require_file(path: Path | str, expected: str) -> None:
    """Raise LabError for anything but a regular file or a link to one: reading a named pipe would wait for ever."""
    path = Path(path)
    if not path.exists():
        raise LabError(f"{path} is missing: {expected} was expected")
    if path.is_dir():
        raise LabError(f"{path} is a folder: {expected} was expected")
    refuse_pipe(path, expected)


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


def _is_lossless(path: Path | str) -> bool:
    """Whether a WebP file holds lossless pixels, by its chunks."""
    with open(path, "rb") as file:
        file.seek(12)  # RIFF, size, WEBP
        return any(kind == b"VP8L" for kind, _ in _chunks(file, "<", checksum=0))


def _late_orientation(path: Path | str) -> bool:
    """Whether a PNG's EXIF or XMP stands after its pixels, as some programs write it; OSError if it breaks off."""
    with open(path, "rb") as file:
        file.seek(8)
        seen: list[bytes] = []
        for kind, start in _chunks(file, ">", checksum=4):
            if b"IDAT" in seen and (kind == b"eXIf" or start.startswith((b"XML:com.adobe.xmp", b"Raw profile type"))):
                return True
            seen.append(kind)
            if kind == b"IEND":
                return False
    raise OSError("broken PNG file, it ends before its last chunk")


def _chunks(file: BinaryIO, order: str, *, checksum: int) -> Iterator[tuple[bytes, bytes]]:
    """The kinds of a PNG's or RIFF file's chunks, each with its first bytes."""
    whole = file.seek(0, 2) if (place := file.tell()) else 0
    while place + 8 <= whole:
        file.seek(place)
        kind, size = file.read(4), file.read(4)
        if order == ">":
            kind, size = size, kind  # PNG: the size comes first
        length = struct.unpack(f"{order}I", size)[0]
        place += 8 + length + checksum + (length % 2 if order == "<" else 0)  # RIFF pads to even sizes
        if place > whole + 1:
            return
        yield kind, file.read(min(length, 20))


def overlay(frame: Tensor, labels: Tensor, *, opacity: float = 0.5) -> np.ndarray:
    """The frame with every object tinted in its palette colour, and its outline in the full colour.

    Shapes: frame uint8 (3, H, W), labels int64 (H, W) → uint8 (H, W, 3); LabError where the sizes differ.
    """
    if frame.shape[-2:] != labels.shape:
        size = size_text(frame.shape[-2:])
        given = size_text(labels.shape) if labels.ndim == 2 else f"shape {tuple(labels.shape)}"
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
    grey = (distance.cpu().double() * FAR).round().numpy().astype(np.uint16)
    with complete_file(path) as unfinished:
        Image.fromarray(grey).save(unfinished, format="PNG")


def read_distance(path: Path | str) -> Tensor:
    """Read a map that `write_distance` wrote: (h, w) float32 in [0, 1]."""
    with opened_image(path) as image:
        if image.mode not in ("I;16", "I"):
            raise LabError(f"a distance map must be a 16-bit grey image, {path} is {image.mode}")
        return torch.from_numpy(np.asarray(image, dtype=np.float32) / FAR)
