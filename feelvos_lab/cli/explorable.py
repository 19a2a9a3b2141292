"""`feelvos-lab explorable`: one HTML file that shows how single pixels are matched, for any browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from feelvos_lab.cli.options import Height
from feelvos_lab.errors import LabError

SAMPLE_OUT = Path("bunny.html")


def explorable(
    video: Annotated[
        str | None,
        typer.Argument(
            help="A video or a folder of numbered frames; bunny is the sample video, shapes-SEED and doubles-SEED are "
            f"synthetic clips. Without it: the sample video, into {SAMPLE_OUT}."
        ),
    ] = None,
    mask: Annotated[
        str | None, typer.Option(help="The first frame's mask: indexed, grey, or in colours; png, bmp, tif or webp.")
    ] = None,
    frames: Annotated[
        str | None, typer.Option(help="The frames to choose from, 1 or later: 8,16,24. Default: four, evenly spaced.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The HTML file; must not exist.")] = None,
    name: Annotated[list[str] | None, typer.Option(help="ID=NAME of an object: 1=dog; may be repeated.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A model.safetensors. Default: the shipped one for real or for synthetic clips.")
    ] = None,
    height: Height = None,
) -> None:
    """Write a page that answers in any browser: a pixel's distances to the first and the previous frame.

    The page is one file of at most 3 MB, without a server or a network; it computes distances itself.
    """
    from feelvos_lab.figures.explorable import write_explorable
    from feelvos_lab.figures.make_distance_maps import find_clips, is_synthetic
    from feelvos_lab.model.checkpoint import load_checkpoint, shipped_path

    if video is None and mask is not None:
        raise LabError(f"--mask {mask} needs a video: expected feelvos-lab explorable VIDEO --mask {mask} --out PAGE")
    if video is not None and out is None:
        raise LabError(f"video {video} needs --out PAGE, a new HTML file")
    out = out or SAMPLE_OUT
    if out.exists():
        raise LabError(f"{out} exists already: choose another name for --out")
    chosen, names = _numbers(frames), dict(_name(text) for text in name or [])
    (source,) = find_clips([video or "bunny"], [] if mask is None else [mask])
    if checkpoint is None:
        checkpoint = shipped_path("reduced" if is_synthetic(source.video) else "real")
    model, _ = load_checkpoint(checkpoint)
    page = write_explorable(source.clip, out, model=model, frames=chosen, height=height, names=names or None)
    print(
        f"{page.path}: {page.size / 1e6:.2f} MB, frames {', '.join(map(str, page.frames))} at height {page.height}; "
        f"distances within {page.bound:.3f} of the library's"
    )


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise LabError(f"--frames must be frame numbers such as 8,16,24, got {text!r}")
    return [int(part) for part in parts]


def _name(text: str) -> tuple[int, str]:
    number, equals, name = text.partition("=")
    if not equals or not name.strip() or not (number.isascii() and number.isdigit()):
        raise LabError(f"--name must be ID=NAME such as 1=dog, got {text!r}")
    return int(number), name.strip()
