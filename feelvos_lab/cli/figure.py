"""`feelvos-lab figure`: the distance-map figures of notebook 08."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from feelvos_lab.cli.options import Height
from feelvos_lab.errors import LabError


def figure(
    videos: Annotated[
        list[str] | None,
        typer.Argument(
            help="Videos, or folders of numbered frames; bunny is the sample video, shapes-SEED and "
            "doubles-SEED are synthetic clips. Default: doubles-1000000500, the lessons' clip."
        ),
    ] = None,
    *,
    frame: Annotated[
        list[int],
        typer.Option(
            help="The frame, 1 or later; may be repeated. A strip of one frame adds evenly spaced earlier ones."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the figures; must be new or empty.")],
    mask: Annotated[
        list[str] | None,
        typer.Option(help="The first frame's mask, or a folder of masks: one for each video, in order."),
    ] = None,
    layout: Annotated[str, typer.Option(help="sheet, strip or arrows.")] = "sheet",
    object_: Annotated[
        list[int] | None,
        typer.Option("--object", help="An object's id, 0: background; may be repeated. Default: all."),
    ] = None,
    width: Annotated[str, typer.Option(help="column (3.35 inches) or page (6.9 inches).")] = "page",
    point: Annotated[
        list[str] | None, typer.Option(help="ROW,COLUMN of a pixel where an arrow starts; may be repeated.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A model.safetensors. Default: the shipped one for real or for synthetic clips.")
    ] = None,
    height: Height = None,
) -> None:
    """Draw distance maps for a paper: each figure as PNG and PDF, with a JSON file that records how it was made.

    Notebook 08 draws the same figures with `feelvos_lab.figures.make_distance_maps.make_figures`.
    """
    from feelvos_lab import lab
    from feelvos_lab.figures import make_distance_maps
    from feelvos_lab.files.atomic import complete_folder, refuse_occupied
    from feelvos_lab.model.checkpoint import read_card, shipped_path

    refuse_occupied(out)
    videos = videos or ["doubles-1000000500"]
    points = [_point(text) for text in point or []]
    request = make_distance_maps.Request(layout=layout, frames=frame, objects=object_ or (), width=width, points=points)
    sources = make_distance_maps.find_clips(videos, mask or [])
    for source in sources:
        request.check(source.clip)
    if checkpoint is None:
        preset = "reduced" if all(map(make_distance_maps.is_synthetic, videos)) else "real"
        checkpoint = shipped_path(preset)
        read_card(checkpoint)
    model, config = lab.load(checkpoint, device=lab.device())
    request = replace(request, height=config.data.test_height if height is None else height)
    with complete_folder(out) as folder:
        drawn = sum(1 for _ in make_distance_maps.make_figures(model, sources, request, folder=folder))
    print(f"{drawn} figure{'' if drawn == 1 else 's'}: {out}")


def _point(text: str) -> tuple[int, int]:
    row, comma, column = text.partition(",")
    if not comma or not (row.strip().isdecimal() and column.strip().isdecimal()):
        raise LabError(f"--point must be ROW,COLUMN in pixels, got {text!r}")
    return int(row), int(column)
