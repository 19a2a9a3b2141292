"""What the values of a mask file mean: ids, colours, or the blends of a mask with soft edges, which are rejected."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from feelvos_lab.errors import LabError

VOID = 255  # an unlabelled pixel: neither background nor object

MAX_OBJECTS = 32  # per mask; more than any data set has

Colour = tuple[int, int, int]  # red, green, blue, 0 … 255

BLACK, WHITE = (0, 0, 0), (255, 255, 255)

RIM_WIDTH = 8  # pixels; a wider band is no rim of a soft edge

_BLEND_ERROR = 12  # levels by which the colour of a rim may miss the line between the two that it blends


def _palette() -> NDArray[np.uint8]:
    """The PASCAL VOC colour map: bits 0, 3, 6 of an id set the high bits of red, 1, 4, 7 of green, 2, 5 of blue."""
    ids, colours = np.arange(256), np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        colours[:, bit % 3] |= ((ids >> bit & 1) << (7 - bit // 3)).astype(np.uint8)
    return colours


PALETTE = _palette()  # (256, 3) RGB, the colour of each id

_PALETTE_IDS: dict[Colour, int] = {tuple(colour): i for i, colour in enumerate(PALETTE.tolist())}


def ids_of_colours(colours: Iterable[Colour]) -> dict[Colour, int]:
    """The id of each colour; black is background and has none.

    Colours of the DAVIS palette keep their ids, (224, 224, 192) is void. White alone is object 1, and colours that are
    all grey (R = G = B) are the ids of a grey mask. Each other colour gets the smallest free id, in the given order.

    Raises:
        LabError: grey colours that hold white next to others.

    Example:
        >>> from feelvos_lab.data.mask_values import ids_of_colours
        >>> ids_of_colours([(255, 0, 0), (128, 0, 0), (0, 0, 0), (0, 0, 255)])  # (128, 0, 0) is the palette's id 1
        {(255, 0, 0): 2, (128, 0, 0): 1, (0, 0, 255): 3}
    """
    shown = [colour for colour in dict.fromkeys(colours) if colour != BLACK]
    if all(colour in _PALETTE_IDS for colour in shown):
        return {colour: _PALETTE_IDS[colour] for colour in shown}
    if all(len(set(colour)) == 1 for colour in shown):
        if WHITE in shown and len(shown) > 1:
            others = listed(colour[0] for colour in shown if colour != WHITE)
            raise LabError(f"255 (white) stands next to the ids {others}, expected ids 1 to 254, or black and white")
        return {colour: 1 if colour == WHITE else colour[0] for colour in shown}
    taken = {_PALETTE_IDS[colour] for colour in shown if colour in _PALETTE_IDS}
    free = (i for i in itertools.count(1) if i not in taken)
    return {colour: _PALETTE_IDS[colour] if colour in _PALETTE_IDS else next(free) for colour in shown}


def own_colour(ids: Mapping[Colour, int]) -> Colour | None:
    """The first colour whose id depends on which others there are: neither of the palette nor one of greys alone."""
    if all(len(set(colour)) == 1 for colour in ids):
        return None
    return next((colour for colour in ids if colour not in _PALETTE_IDS), None)


def colours_in(image: Image.Image, path: Path | str) -> list[Colour]:
    """The colours of an RGB image by first appearance, row by row; LabError where there are more than 32 and black."""
    counted = image.getcolors(MAX_OBJECTS + 1)
    if counted is None or len([colour for _, colour in counted if colour != BLACK]) > MAX_OBJECTS:
        raise LabError(
            f"mask {path} holds more than {MAX_OBJECTS} colours, expected one colour for each object: "
            "a photo, or an interpolated mask?"
        )
    codes = _codes(image)
    places = {colour: int((codes == _code(colour)).argmax()) for _, colour in counted}
    return sorted(places, key=places.__getitem__)


def labels_of_colours(image: Image.Image, path: Path | str, ids: Mapping[Colour, int]) -> NDArray[np.uint8]:
    """Object ids of an RGB image's pixels, (H, W); LabError for a colour that `ids` lacks, or soft edges."""
    shown = colours_in(image, path)
    if unknown := [colour for colour in shown if colour != BLACK and colour not in ids]:
        raise LabError(f"mask {path} holds the colour {unknown[0]}, expected one of {listed(ids)}")
    order = [BLACK, *(colour for colour in shown if colour != BLACK)]
    codes = _codes(image)
    classes = np.zeros(codes.shape, np.uint8)
    for index, colour in enumerate(order[1:], start=1):
        classes[codes == _code(colour)] = index
    refuse_soft_edges(classes, np.array(order), path)
    return np.array([0, *(ids[colour] for colour in order[1:])], np.uint8)[classes]


def refuse_other_background(image: Image.Image, path: Path | str) -> None:
    """Raise LabError for an indexed mask whose background seems to be another index than 0: it is black or transparent.

    So programs write masks whose colours they sort: white may be index 0 and black index 1.
    """
    shown = [index for index, count in enumerate(image.histogram()) if count and index]
    palette = np.reshape(image.getpalette() or [], (-1, 3))
    black = [i for i in shown if i < len(palette) and not palette[i].any()] if palette[:1].any() else []
    clear = image.info.get("transparency", b"")
    clear = {clear} if isinstance(clear, int) else {i for i, alpha in enumerate(clear) if not alpha}
    clear = [i for i in shown if i in clear and i != VOID]
    if black or clear:
        what = f"index {black[0]} is black" if black else f"index {clear[0]} is transparent"
        raise LabError(
            f"mask {path} is indexed and its {what}, expected index 0 for the background: save it as a grey or RGB "
            "image if its colours count"
        )


def has_grey_palette(image: Image.Image) -> bool:
    """Whether each index of an image is shown as the grey value of that number."""
    palette = np.reshape(image.getpalette() or [], (-1, 3))
    return len(palette) > 0 and bool((palette == np.arange(len(palette))[:, None]).all())


def refuse_soft_edges(classes: NDArray[np.uint8], colours: NDArray[np.integer], path: Path | str) -> None:
    """Raise LabError where classes of pixels are the blends along an object's soft edge, not objects themselves.

    The rule. A class is *thin* if no square wider than a third of the mask's thickest object fits into it, and none
    wider than `RIM_WIDTH`. A thin class is a *rim* of an object that is not thin if its colour lies on the line from
    another colour that is not thin to the object's, and 80 % of its pixels have, within its own width, one class of
    that line below and one above it. An object has soft edges if rims touch at least half of its outline. So three
    touching objects are read, a belt between two of them too, but not an object with a band of a blended id all around.
    A line that is thin itself has no solid class: of four classes or more, most fill a square of 2×2 pixels.

    Shapes: `classes` (H, W), indices of `colours` (N, 1 or 3); class 0 is background.
    """
    boxes = ndimage.find_objects(classes.astype(np.int32) + 1, max_label=len(colours))
    reach = [_half_width(classes[box] == c) if box else 0 for c, box in enumerate(boxes)]
    thickest = max(reach[1:], default=0)
    widest = min(RIM_WIDTH // 2, max(1, thickest // 3))
    thin = [c for c in range(1, len(colours)) if 0 < reach[c] <= widest and reach[c] < thickest]
    solid = [c for c in range(1, len(colours)) if reach[c] and c not in thin]
    for core in solid if thin else []:
        rims = [
            c
            for c in thin
            if any(_is_rim(classes, colours, c, (low, core), thin, 2 * reach[c]) for low in (0, *solid) if low != core)
        ]
        inside = classes == core
        outline = inside & _near(~inside, 1)
        touched = outline & _near(np.isin(classes, rims), 1)
        if rims and touched.sum() >= 0.5 * outline.sum():
            blends = listed(_text(colours[c]) for c in rims)
            raise LabError(
                f"mask {path} has soft edges: {blends} only occur as rims of {_text(colours[core])}, expected hard "
                "edges (an interpolated mask?); if they are objects, save their ids as an indexed PNG in colours"
            )
    specks = [] if len(colours) < 5 else _without_square(classes, range(1, len(colours)), size=2)
    if 2 * len(specks) > len(colours) - 1:
        raise LabError(
            f"mask {path} has soft edges: {listed(_text(colours[c]) for c in specks)} nowhere fill 2×2 pixels, "
            "expected hard edges (an interpolated mask?); if they are objects, save their ids as an indexed PNG in "
            "colours"
        )


def look_interpolated(values: NDArray[np.uint8], ids: Iterable[int]) -> bool:
    """Whether most of the ids of a mask (H, W) are gradients or noise: no 3×3 square of theirs is to be found."""
    ids = list(ids)
    return 2 * len(_without_square(values, ids, size=3)) > len(ids)


def _without_square(values: NDArray[np.uint8], ids: Iterable[int], *, size: int) -> list[int]:
    """The ids of a mask (H, W) that nowhere fill a square of that size."""
    flat = ndimage.maximum_filter(values, size) == ndimage.minimum_filter(values, size)
    solid = set(np.unique(values[flat]).tolist())
    return [i for i in ids if i not in solid]


def listed(items: Iterable[object]) -> str:
    """The first four of them, comma-separated, for an error message."""
    texts = [str(item) for item in items]
    return ", ".join(texts[:4]) + (", …" if len(texts) > 4 else "")


def _is_rim(
    classes: NDArray[np.uint8],
    colours: NDArray[np.integer],
    rim: int,
    ends: tuple[int, int],
    thin: list[int],
    distance: int,
) -> bool:
    """Whether a class blends two others in its colour and lies between them in the image."""
    start, line = colours[ends[0]].astype(float), (colours[ends[1]] - colours[ends[0]]).astype(float)
    share = {c: float((colours[c] - start) @ line / (line @ line)) for c in (*ends, *thin)}  # of the way from start
    on_line = {
        c
        for c, way in share.items()
        if c in ends or (0 < way < 1 and abs(colours[c] - start - way * line).max() <= _BLEND_ERROR)
    }
    if rim not in on_line:
        return False
    below = _near(np.isin(classes, [c for c in on_line if share[c] < share[rim]]), distance)
    above = _near(np.isin(classes, [c for c in on_line if share[c] > share[rim]]), distance)
    return (below & above)[classes == rim].mean() >= 0.8


def _half_width(region: NDArray[np.bool_]) -> int:
    """The largest distance to the outside, by 8-neighbours; a line of 1 or 2 pixels has 1, one of 3 or 4 has 2."""
    return int(ndimage.distance_transform_cdt(np.pad(region, 1), metric="chessboard").max())


def _near(region: NDArray[np.bool_], distance: int) -> NDArray[np.bool_]:
    return ndimage.maximum_filter(region.view(np.uint8), 2 * distance + 1, mode="constant").astype(bool)


def _code(colour: Colour) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _codes(image: Image.Image) -> NDArray[np.uint32]:
    pixels = np.asarray(image, np.uint32)  # (H, W, 3)
    return pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]


def _text(colour: NDArray[np.integer]) -> str:
    return str(tuple(colour.tolist()) if len(colour) > 1 else colour[0])
