"""`feelvos-lab segment`: propagate given masks through a video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from feelvos_lab.cli.clip_folders import find_jobs, holds_clips, write_submission
from feelvos_lab.cli.options import Checkpoint, Height, open_model
from feelvos_lab.errors import LabError

if TYPE_CHECKING:
    from feelvos_lab.data.clip import Clip


SAMPLE_OUT = Path("bunny-masks")


def segment(
    video: Annotated[
        Path | None,
        typer.Argument(
            help="A video, a folder of numbered frames, or a folder of such folders, one a clip. Without it and "
            f"--mask: the sample video, into the folder {SAMPLE_OUT}."
        ),
    ] = None,
    mask: Annotated[
        list[str] | None,
        typer.Option(
            help="The first frame's mask: indexed, grey, or in colours; png, bmp, tif or webp. For objects that enter "
            "later: a folder of masks named like the frames, or several --mask FRAME=FILE. For a folder of clips: a "
            "folder with NAME.png or a folder NAME for each."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; must be new or empty.")] = None,
    checkpoint: Checkpoint = None,
    feedback: Annotated[
        Literal["soft", "hard"] | None,
        typer.Option(help="The previous mask as one-hot (hard) or probabilities (soft). Default: the model's."),
    ] = None,
    overlay: Annotated[Literal["mp4", "gif", "none"], typer.Option(help="Video of the masks over the frames.")] = "mp4",
    rate: Annotated[
        str | None,
        typer.Option(help="Its frames per second, or own: those of VIDEO, with its sound in an mp4. Default: 12."),
    ] = None,
    height: Height = None,
    cues: Annotated[bool, typer.Option("--cues", help="Also save the distance maps of each object.")] = False,
    corrections: Annotated[
        bool, typer.Option(help="Correct an object by its later masks, unless every frame has one.")
    ] = True,
    both_ways: Annotated[
        bool, typer.Option("--both-ways", help="Also carry each object to the frames before its mask.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the masks of the frames before one that cannot be read.")
    ] = False,
    alpha: Annotated[
        bool, typer.Option("--alpha", help="Also save the probability of each object, an 8-bit grey PNG a frame.")
    ] = False,
    cutouts: Annotated[
        bool, typer.Option("--cutouts", help="Also save each object cut out, an RGBA PNG a frame.")
    ] = False,
    coco: Annotated[
        bool, typer.Option("--coco", help="Also save coco.json: each object in each frame, as COCO's run lengths.")
    ] = False,
    first: Annotated[str | None, typer.Option("--from", help="The first frame, by name or number.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="The last frame, by name or number.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Only every so many frames, from the first one on.")] = 1,
    listing: Annotated[
        Path | None, typer.Option("--list", help="Of a folder of clips, those that this file names, one a line.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Of a folder of clips, leave out those that --out has already.")
    ] = False,
    archive: Annotated[
        Path | None,
        typer.Option(
            "--zip", help="Of a folder of clips, also write all masks to this file, as DAVIS's server takes them."
        ),
    ] = None,
) -> None:
    """Propagate given masks through a video: one indexed PNG a frame, and an overlay video.

    An object starts in the first mask that contains it; later masks of it correct it. Without a video and a mask,
    the sample video is segmented: a clip of Big Buck Bunny with three objects. Needs the extra video.
    """
    from feelvos_lab.data.readers import frame_names, mask_colours, read_clip
    from feelvos_lab.data.sample_video import film
    from feelvos_lab.data.video import require_writer
    from feelvos_lab.files.atomic import refuse_occupied
    from feelvos_lab.inference.output import segment as segment_clip
    from feelvos_lab.inference.part import read_part
    from feelvos_lab.inference.timing import timing_of

    sample = video is None and not mask
    if not sample:
        out = _checked(video, mask, out)
    out = out or SAMPLE_OUT
    many = not sample and (listing is not None or holds_clips(video))
    part = first is not None or last is not None or every > 1
    if part and (sample or many):
        raise LabError("--from, --to and --every choose frames of one video, none was given")
    if many and rate == "own":
        raise LabError("--rate own is for a video file: folders of frames have no rate, give frames per second")
    if resume and not many:
        raise LabError("--resume is for a folder of clips: the masks of one video are written as a whole or not at all")
    if archive and not many:
        raise LabError(f"--zip {archive} is for a folder of clips, one video was given")
    if archive and archive.exists():
        raise LabError(f"--zip {archive} is there already: choose another name")
    if not resume:
        refuse_occupied(out)
    require_writer(overlay)
    if sample:
        print("no video given: the sample video is segmented, an excerpt of Big Buck Bunny (Blender Foundation)")
    jobs = find_jobs(video, mask, out, listing=listing) if many else []
    names = clip = None
    if part:
        clip, names = read_part(video, mask, first=first, last=last, every=every)
    elif not many:
        clip = film() if sample else read_clip(video, mask)
    for colour, object_id in ({} if sample or many else mask_colours(mask)).items():
        print(f"colour {colour}: {'void' if object_id == 255 else f'object {object_id}'}")
    if overlay == "none" and rate is not None:
        raise LabError(f"--rate {rate} is of the overlay, which --overlay none leaves out")
    if clip is not None and rate is not None:
        timing_of(clip, _rate(rate))  # before the model is read
    model, config, source = open_model(checkpoint)
    scaled = config.data.test_height if height is None else height
    corrections = corrections and not sample  # the sample's later masks are the truth that it is compared with

    def run(clip: Clip, out: Path) -> None:
        print(f"{clip.name}: {len(clip)} frames, objects {', '.join(map(str, clip.object_ids))}; model: {source}")
        _print_masks(clip, names or frame_names(clip), corrections=corrections)
        segment_clip(
            clip,
            None,
            out,
            model=model,
            height=scaled,
            feedback=feedback,
            movie=overlay,
            rate=_rate(rate),
            cues=cues,
            corrections=corrections,
            keep=keep,
            both_ways=both_ways,
            alpha=alpha,
            cutouts=cutouts,
            coco=coco,
            names=names,
        )
        print(f"{len(clip)} masks{'' if overlay == 'none' else f' and overlay.{overlay}'} are in {out}")

    for job in jobs:
        if resume and any(job.out.glob("*.png")):
            print(f"{job.out} is there already")
        else:
            run(read_clip(job.frames, [str(job.mask)]), job.out)
    if archive:
        print(f"{write_submission(archive, jobs)} masks of {len(jobs)} clips are in {archive}")
    if clip:
        run(clip, out)
    if sample:
        print(_overlap(clip, out))


def _rate(text: str | None) -> float | str | None:
    if text in (None, "own"):
        return text
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise LabError(f"--rate must be 'own' or frames per second, such as 25 or 30000/1001, got {text!r}") from None


def _print_masks(clip: Clip, names: list[str], *, corrections: bool) -> None:
    """Print which later masks are used, and for what."""
    from feelvos_lab.data.frames import GivenMasks
    from feelvos_lab.inference.propagation import correcting_frames

    for t in sorted(set(clip.starts) - {0}):
        print(f"given in frame {names[t]}: {', '.join(map(str, clip.given_in(t)))}")
    if not corrections:
        return
    for t, ids in correcting_frames(clip).items():
        print(f"corrected in frame {names[t]}: {', '.join(map(str, ids))}")
    if isinstance(clip.masks, GivenMasks) and len(clip.masks.paths) == len(clip):
        print("every frame has a mask: each object is carried from its first one, later ones correct nothing")


def _checked(video: Path | None, mask: list[str] | None, out: Path | None) -> Path:
    """The output folder; LabError where a video, its mask or the folder is missing."""
    if video is None:
        raise LabError(f"--mask {mask[0]} needs a video: expected feelvos-lab segment VIDEO --mask {mask[0]} --out DIR")
    if not mask:
        raise LabError(f"video {video} needs --mask FILE, the mask of its first frame")
    if out is None:
        raise LabError(f"video {video} needs --out DIR, a new or empty folder for the results")
    return out


def _overlap(clip: Clip, folder: Path) -> str:
    """The mean J over objects in each drawn frame, in a line."""
    from feelvos_lab.data.images import read_mask
    from feelvos_lab.evaluation.metrics import drawn_scores

    rows = drawn_scores((read_mask(folder / f"{t:05d}.png") for t in range(len(clip))), clip)
    by_frame: dict[int, list[float]] = {}
    for row in rows:
        by_frame.setdefault(row["frame"], []).append(row["J"])
    means = ", ".join(f"{100 * sum(values) / len(values):.1f} in frame {t}" for t, values in by_frame.items())
    return f"overlap J with the drawn masks, mean of {len(clip.object_ids)} objects in %: {means}"
