"""`feelvos-lab segment`: propagate given masks through a video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from feelvos_lab.cli.options import Checkpoint, Height, Out, open_model


def segment(
    video: Annotated[Path, typer.Argument(help="A video, or a folder of numbered jpg or png frames.")],
    mask: Annotated[
        list[str],
        typer.Option(
            help="The first frame's mask, an indexed PNG. For objects that enter later: a folder of masks named like "
            "the frames, or several --mask FRAME=FILE."
        ),
    ],
    out: Out,
    checkpoint: Checkpoint = None,
    feedback: Annotated[
        Literal["soft", "hard"] | None,
        typer.Option(help="The previous mask as one-hot (hard) or probabilities (soft). Default: the model's."),
    ] = None,
    overlay: Annotated[
        Literal["mp4", "gif", "none"], typer.Option(help="Video of the masks over the frames, 12 frames/s.")
    ] = "mp4",
    height: Height = None,
    cues: Annotated[bool, typer.Option("--cues", help="Also save the distance maps of each object.")] = False,
) -> None:
    """Propagate given masks through a video: one indexed PNG a frame, and an overlay video.

    An object starts in the first mask that contains it; later masks of the same object are ignored.
    """
    from feelvos_lab.data.readers import frame_names, read_clip
    from feelvos_lab.data.video import require_writer
    from feelvos_lab.files.atomic import refuse_occupied
    from feelvos_lab.inference.output import segment as segment_clip

    refuse_occupied(out)
    require_writer(overlay)
    clip = read_clip(video, mask)
    model, config, source = open_model(checkpoint)
    scaled = config.data.test_height if height is None else height
    print(f"{clip.name}: {len(clip)} frames, objects {', '.join(map(str, clip.object_ids))}; model: {source}")
    for t in sorted(set(clip.starts) - {0}):
        print(f"given in frame {frame_names(clip)[t]}: {', '.join(map(str, clip.given_in(t)))}")
    segment_clip(clip, None, out, model=model, height=scaled, feedback=feedback, movie=overlay, cues=cues)
    print(f"{len(clip)} masks{'' if overlay == 'none' else f' and overlay.{overlay}'} are in {out}")
