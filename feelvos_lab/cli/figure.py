"""`feelvos-lab figure`: the distance-map figures of notebook 08 from the command line, by the same functions.

torch is imported inside the command alone, so that `--help` answers at once.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from feelvos_lab.errors import LabError


def figure(
    videos: Annotated[
        list[str] | None,
        typer.Argument(
            help="Videos, or folders of numbered frames; shapes-SEED and doubles-SEED are synthetic clips. "
            "Without any: doubles-1000000500, the lessons' clip."
        ),
    ] = None,
    *,
    frame: Annotated[
        list[int],
        typer.Option(
            help="The frame, from 1 on; again for more. A strip shows those named, or some evenly up to a single one."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the figures; must be new or empty.")],
    mask: Annotated[
        list[str] | None, typer.Option(help="The first frame's mask, or a folder of masks: one a video, in order.")
    ] = None,
    layout: Annotated[str, typer.Option(help="sheet, strip or arrows.")] = "sheet",
    object_: Annotated[
        list[int] | None,
        typer.Option("--object", help="An object's id, 0 the background; again for more. Default: all."),
    ] = None,
    width: Annotated[str, typer.Option(help="column (3.35 inches) or page (6.9 inches).")] = "page",
    point: Annotated[
        list[str] | None, typer.Option(help="ROW,COLUMN of a pixel where an arrow begins; again for more.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A model.safetensors; without it, the shipped one for film or synthetic clips.")
    ] = None,
    height: Annotated[
        int | None,
        typer.Option(min=0, help="Frames are scaled down to it for the network; 0: never. Default: the model's."),
    ] = None,
) -> None:
    """Draw distance maps of clips for a paper: each figure as PNG, PDF, and JSON that says how it was made.

    The same figures as in notebook 08: both call `feelvos_lab.figures.make_distance_maps.make_figures`.
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
