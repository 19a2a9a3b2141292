"""Masks as editors and other programs write them: soft edges, colours, palettes, transparency."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from test_field_inputs import HEIGHT, WIDTH, message, save_frames, square

from feelvos_lab.data.images import PALETTE, read_mask, write_mask
from feelvos_lab.data.readers import read_clip, read_folder

# soft edges


def disc(level: int, *, factor: int = 3, radius: float = 15.3) -> np.ndarray:
    """An antialiased disc: `factor`² + 1 levels from 0 to `level`."""
    y, x = np.mgrid[: HEIGHT * factor, : WIDTH * factor] / factor
    inside = (np.hypot(y - 24.2, x - 30.1) < radius).astype(float)
    shares = inside.reshape(HEIGHT, factor, WIDTH, factor).mean((1, 3))
    return (level * shares).round().astype(np.uint8)


def blurred(level: int) -> np.ndarray:
    """A wide soft edge in five levels."""
    y, x = np.mgrid[:96, :128]
    shares = np.clip((38 - np.hypot(y - 48, x - 64)) / 16, 0, 1)
    return ((shares * 5).round() / 5 * level).astype(np.uint8)


@pytest.mark.parametrize("values", [disc(200), disc(200, factor=2), disc(9), disc(254, factor=4), blurred(200)])
def test_a_mask_with_soft_edges_is_rejected(tmp_path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(tmp_path / "mask.png")
    assert 3 <= len(np.unique(values)) <= 20
    assert "has soft edges: " in message(read_mask, tmp_path / "mask.png")


def line(width: int) -> Image.Image:
    """A slanted line with antialiased edges: no level of its own fills a square where it is thin."""
    image = Image.new("L", (4 * WIDTH, 4 * HEIGHT))
    ImageDraw.Draw(image).line([10, 10, 220, 160], fill=200, width=width)
    return image.resize((WIDTH, HEIGHT), Image.Resampling.BOX)


@pytest.mark.parametrize("width", [9, 24])
def test_a_line_with_soft_edges_is_rejected_however_thin_it_is(tmp_path: Path, width: int) -> None:
    line(width).save(tmp_path / "grey.png")
    assert "has soft edges: " in message(read_mask, tmp_path / "grey.png")
    line(width).convert("P").save(tmp_path / "indexed.png")  # its palette shows each index as that grey
    assert "has soft edges: " in message(read_mask, tmp_path / "indexed.png")


def test_an_indexed_mask_with_the_palette_of_greys_may_hold_soft_edges_up_to_void(tmp_path: Path) -> None:
    Image.fromarray(disc(255, factor=2)).convert("P").save(tmp_path / "soft.png")
    assert "only occur as rims of 255" in message(read_mask, tmp_path / "soft.png")
    ids = np.where(disc(1, factor=1) > 0, 3, 0).astype(np.uint8)
    ids[:4], ids[-3:] = 255, 7
    Image.fromarray(ids).convert("P").save(tmp_path / "ids.png")
    assert np.array_equal(read_mask(tmp_path / "ids.png").numpy(), ids)


def test_small_objects_of_a_grey_mask_are_read(tmp_path: Path) -> None:
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    for k in range(6):
        ids[5 + 6 * k : 7 + 6 * k, 8 : 11 + k] = k + 1
    ids[40, 40:60] = 7  # a line one pixel thick
    Image.fromarray(ids).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png").numpy(), ids)


def _touching() -> np.ndarray:
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[10:40, 5:20], ids[10:40, 20:35], ids[10:40, 35:50] = 1, 2, 3
    return ids


def _belt() -> np.ndarray:
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[5:20, 20:40], ids[20:22, 20:40], ids[22:45, 20:40] = 3, 2, 1
    return ids


def _skateboard() -> np.ndarray:
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[5:40, 25:37], ids[40:42, 20:42] = 2, 1
    return ids


def _stripes() -> np.ndarray:
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[10:12, 5:30], ids[12:14, 5:30], ids[14:16, 5:30] = 1, 2, 3
    return ids


@pytest.mark.parametrize("ids", [_touching(), _belt(), _skateboard(), _stripes()])
def test_touching_objects_of_a_grey_mask_are_read(tmp_path: Path, ids: np.ndarray) -> None:
    Image.fromarray(ids).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png").numpy(), ids)


def test_an_indexed_mask_may_hold_an_object_around_another(tmp_path: Path) -> None:
    ids = torch.from_numpy(disc(2, factor=1).astype(np.int64))
    ring = torch.from_numpy((disc(1, factor=1, radius=17) > 0) & (ids.numpy() == 0))
    ids[ring] = 1
    write_mask(tmp_path / "mask.png", ids)
    assert torch.equal(read_mask(tmp_path / "mask.png"), ids)


# colours


def save_colours(path: Path, *colours: tuple[int, ...], mode: str = "RGB") -> Path:
    """Squares from left to right."""
    image = Image.new(mode, (WIDTH, HEIGHT))
    for k, colour in enumerate(colours):
        image.paste(colour, (4 + 20 * k, 8 + k, 18 + 20 * k, 30))
    image.save(path, **({"lossless": True} if path.suffix == ".webp" else {}))
    return path


def columns(mask: torch.Tensor) -> list[int]:
    return [int(mask[20, 10 + 20 * k]) for k in range(3)]


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "webp"])
def test_colours_of_the_palette_are_ids_in_every_lossless_format(tmp_path: Path, ending: str) -> None:
    colours = [tuple(PALETTE[i].tolist()) for i in (3, 1, 255)]
    assert columns(read_mask(save_colours(tmp_path / f"mask.{ending}", *colours))) == [3, 1, 255]


def test_black_and_white_in_rgb_is_object_one_and_greys_are_ids(tmp_path: Path) -> None:
    assert columns(read_mask(save_colours(tmp_path / "white.png", (255,) * 3))) == [1, 0, 0]
    assert columns(read_mask(save_colours(tmp_path / "grey.png", (7,) * 3, (2,) * 3))) == [7, 2, 0]
    assert "white" in message(read_mask, save_colours(tmp_path / "both.png", (7,) * 3, (255,) * 3))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_background_and_half_transparent_ones_rejected(tmp_path: Path, mode: str) -> None:
    def shade(alpha: int) -> tuple[int, ...]:
        return (*(255,) * (len(mode) - 1), alpha)

    assert columns(read_mask(save_colours(tmp_path / "a.png", shade(255), shade(0), mode=mode))) == [1, 0, 0]
    path = save_colours(tmp_path / "b.png", shade(255), shade(90), mode=mode)
    assert (
        message(read_mask, path)
        == f"mask {path} is partly transparent (alpha 90), expected alpha 0 or 255: soft edges?"
    )


def test_own_colours_mean_the_same_object_in_every_mask_of_a_clip(tmp_path: Path) -> None:
    from feelvos_lab.data.readers import mask_colours

    red, blue, green = (255, 0, 0), (0, 0, 255), (0, 128, 0)  # the last is the palette's id 2
    folder = save_frames(tmp_path / "clip", ["0", "1", "2"])
    first, later = save_colours(tmp_path / "a.png", red, green), save_colours(tmp_path / "b.png", blue, red)
    masks = [str(first), f"2={later}"]
    assert mask_colours(masks) == {red: 1, green: 2, blue: 3}
    clip = read_clip(folder, masks)
    assert columns(clip.masks[0]) == [1, 2, 0] and columns(clip.masks[2]) == [3, 1, 0]
    assert (clip.object_ids, clip.starts) == ((1, 2, 3), (0, 0, 2))
    assert read_clip(folder, later).object_ids == (1, 2)  # alone: blue, red
    assert message(read_mask, later) == (
        f"mask {later} holds the colour {blue}, expected black and white or colours of the DAVIS palette"
    )
    write_mask(tmp_path / "ids.png", square())
    assert "masks of one kind" in message(read_clip, folder, [str(first), f"2={tmp_path / 'ids.png'}"])


def test_antialiased_or_too_many_colours_are_rejected(tmp_path: Path) -> None:
    folder = save_frames(tmp_path / "clip", ["0", "1"])
    shares = disc(8, factor=3)[..., None] / 8
    Image.fromarray((shares * (200, 30, 90)).astype(np.uint8)).save(tmp_path / "soft.png")
    assert "has soft edges" in message(read_clip, folder, tmp_path / "soft.png")
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    assert "holds more than 32 colours" in message(read_clip, folder, tmp_path / "noise.png")


@pytest.mark.parametrize("ending", ["jpg", "webp"])
def test_a_lossy_mask_in_colours_is_rejected(tmp_path: Path, ending: str) -> None:
    image = Image.new("RGB", (WIDTH, HEIGHT))
    ImageDraw.Draw(image).ellipse((5, 5, 40, 40), fill=(128, 0, 0))
    image.save(tmp_path / f"mask.{ending}")
    assert "whose edges are interpolated" in message(read_mask, tmp_path / f"mask.{ending}")


@pytest.mark.parametrize("ending", ["bmp", "webp", "tif", "tiff"])
def test_frames_of_other_formats_are_read(tmp_path: Path, ending: str) -> None:
    (tmp_path / "clip").mkdir()
    for t in range(3):
        Image.new("RGB", (WIDTH, HEIGHT), (90 * t, 9, 9)).save(tmp_path / f"clip/{t}.{ending}", lossless=True)
    write_mask(tmp_path / "mask.png", square())
    assert [int(frame[0, 0, 0]) for frame in read_folder(tmp_path / "clip", tmp_path / "mask.png").frames] == [
        0,
        90,
        180,
    ]


@pytest.mark.parametrize("quality", [50, 75, 100])
@pytest.mark.parametrize("level", [20, 128, 255])
def test_a_grey_jpeg_is_read_only_where_nothing_was_lost(tmp_path: Path, quality: int, level: int) -> None:
    shape = Image.new("L", (WIDTH, HEIGHT))
    ImageDraw.Draw(shape).ellipse((5, 5, 40, 40), fill=level)
    shape.save(tmp_path / "disc.jpg", quality=quality)
    assert "is a lossy JPEG, whose edges are interpolated" in message(read_mask, tmp_path / "disc.jpg")
    blocks = np.zeros((HEIGHT, WIDTH), np.uint8)
    blocks[8:24, 16:40] = 255  # whole blocks of 8×8 in black and white are stored exactly
    Image.fromarray(blocks).save(tmp_path / "blocks.jpg", quality=quality)
    assert np.array_equal(read_mask(tmp_path / "blocks.jpg").numpy(), blocks > 0)


def test_a_file_of_several_masks_is_no_mask(tmp_path: Path) -> None:
    first, *others = (Image.fromarray(square(k).numpy().astype(np.uint8)) for k in (1, 2, 3))
    first.save(tmp_path / "mask.tif", save_all=True, append_images=others)
    first.save(tmp_path / "mask.png", save_all=True, append_images=others)
    coloured = [image.point(lambda value: 60 * value).convert("RGB") for image in (first, *others)]
    coloured[0].save(tmp_path / "mask.webp", save_all=True, append_images=coloured[1:], lossless=True)
    for name in ("mask.tif", "mask.png", "mask.webp"):
        assert message(read_mask, tmp_path / name) == f"mask {tmp_path}/{name} holds 3 pictures, one was expected"


# palettes


def save_indexed(path: Path, indices: np.ndarray, *colours: tuple[int, int, int], **options: object) -> Path:
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette([value for colour in colours for value in colour])
    image.save(path, **options)
    return path


WHITE, BLACK, RED = (255, 255, 255), (0, 0, 0), (200, 0, 0)


def test_an_indexed_mask_whose_background_is_not_index_0_is_rejected(tmp_path: Path) -> None:
    drawn = square().numpy()
    sorted_colours = Image.fromarray((255 * drawn).astype(np.uint8)).convert("RGB").quantize(2)
    sorted_colours.save(tmp_path / "quantized.png")  # Pillow's index 0 is white: the object
    paths = [tmp_path / "quantized.png", save_indexed(tmp_path / "a.png", 1 - drawn, RED, BLACK)]
    paths += [save_indexed(tmp_path / "b.png", 1 + drawn, RED, BLACK, WHITE)]  # index 0 does not occur
    for path in paths:
        assert "is indexed and its index 1 is black, expected index 0 for the background" in message(read_mask, path)
    for transparency in (1, bytes([255, 0])):
        path = save_indexed(tmp_path / "c.png", 1 - drawn, RED, WHITE, transparency=transparency)
        assert "its index 1 is transparent, expected index 0" in message(read_mask, path)


def test_the_palette_of_an_indexed_mask_does_not_matter_otherwise(tmp_path: Path) -> None:
    drawn = square().numpy()
    black = save_indexed(tmp_path / "a.png", 3 * drawn, *[BLACK] * 4)  # a palette that was never set
    white = save_indexed(tmp_path / "b.png", 3 * drawn, WHITE, BLACK, BLACK, RED)  # blacks that do not occur
    clear = save_indexed(tmp_path / "c.png", 3 * drawn, BLACK, RED, RED, WHITE, transparency=bytes([0, 9, 9, 128]))
    for path in (black, white, clear):
        assert np.array_equal(read_mask(path).numpy(), 3 * drawn)
    save_indexed(tmp_path / "full.png", np.full((HEIGHT, WIDTH), 5), *map(tuple, PALETTE.tolist()))
    assert (read_mask(tmp_path / "full.png") == 5).all()


def test_a_transparent_grey_or_colour_is_background(tmp_path: Path) -> None:
    drawn = square().numpy()
    grey = Image.fromarray(np.where(drawn, 4, 255).astype(np.uint8))
    grey.save(tmp_path / "grey.png", transparency=255)
    assert np.array_equal(read_mask(tmp_path / "grey.png").numpy(), 4 * drawn)
    colours = Image.fromarray(np.where(drawn[..., None], (128, 0, 0), WHITE).astype(np.uint8))
    colours.save(tmp_path / "colours.png", transparency=WHITE)
    assert np.array_equal(read_mask(tmp_path / "colours.png").numpy(), drawn)
