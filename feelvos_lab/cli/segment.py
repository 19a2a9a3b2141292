"""`feelvos-lab segment`: given masks, carried through a video.

torch is imported inside the command alone, so that `--help` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from feelvos_lab.cli.options import Checkpoint, Out, open_model


def segment(
    video: Annotated[Path, typer.Argument(help="A video, or a folder of numbered jpg or png frames.")],
    mask: Annotated[
        list[str],
        typer.Option(
            help="The first frame's mask, an indexed PNG. For objects that enter later: a folder of masks named like "
            "the frames, or FRAME=FILE again and again."
        ),
    ],
    out: Out,
    checkpoint: Checkpoint = None,
    feedback: Annotated[
        Literal["soft", "hard"] | None,
        typer.Option(help="What the next frame sees of the last prediction. Default: the model's."),
    ] = None,
    overlay: Annotated[
        Literal["mp4", "gif", "none"], typer.Option(help="The film of the masks over the frames, 12 a second.")
    ] = "mp4",
    height: Annotated[
        int | None,
        typer.Option(min=0, help="Frames are scaled down to it for the network; 0: never. Default: the model's."),
    ] = None,
    cues: Annotated[bool, typer.Option("--cues", help="Save the distance maps of every object too.")] = False,
) -> None:
    """Carry given masks through a video: writes one indexed PNG a frame, and a film.

    An object starts in the first mask that shows it; what later masks say of objects given before is not used.
    """
    from tqdm import tqdm

    from feelvos_lab.data.readers import frame_names, read_clip
    from feelvos_lab.data.video import require_writer
    from feelvos_lab.files.atomic import complete_folder, refuse_occupied
    from feelvos_lab.inference.output import write_segmentation
    from feelvos_lab.inference.propagation import propagate
    from feelvos_lab.model.fold_norms import fold_batch_norms

    refuse_occupied(out)
    require_writer(overlay)
    clip = read_clip(video, mask)
    model, config, source = open_model(checkpoint)
    scaled = config.data.test_height if height is None else height
    print(f"{clip.name}: {len(clip)} frames, objects {', '.join(map(str, clip.object_ids))}; model: {source}")
    for t in sorted(set(clip.starts) - {0}):
        print(f"given in frame {frame_names(clip)[t]}: {', '.join(map(str, clip.given_in(t)))}")
    with complete_folder(out) as folder:
        predictions = propagate(fold_batch_norms(model), clip, feedback=feedback, height=scaled)
        counted = tqdm(predictions, total=len(clip), unit="frame", disable=None)  # None: on a terminal only
        write_segmentation(counted, clip, folder, names=frame_names(clip), moving=overlay, cues=cues)
    print(f"{len(clip)} masks{'' if overlay == 'none' else f' and overlay.{overlay}'} are in {out}")
