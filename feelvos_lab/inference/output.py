"""Write segmentation results: masks, overlay movies and distance maps. `segment` does all of it for one video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from feelvos_lab.config import PRESETS
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.images import overlay, write_distance, write_mask
from feelvos_lab.data.readers import frame_names, read_clip
from feelvos_lab.data.video import Timing, open_movie, require_writer
from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import complete_file, complete_folder, refuse_occupied
from feelvos_lab.inference.both_ways import propagate_both_ways
from feelvos_lab.inference.coco import open_coco
from feelvos_lab.inference.overlap import write_behind
from feelvos_lab.inference.propagation import Prediction, propagate
from feelvos_lab.inference.timing import Rate, timing_of
from feelvos_lab.model.checkpoint import load_checkpoint, shipped_path
from feelvos_lab.model.device import device
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.model.fold_norms import fold_batch_norms

Movie = Literal["mp4", "gif", "none"]


def segment(
    video: Clip | Path | str,
    mask: Path | str | Sequence[Path | str] | None,
    out: Path | str,
    *,
    model: Feelvos | Path | str = "real",
    height: int | None = None,
    feedback: Literal["soft", "hard"] | None = None,
    movie: Movie = "mp4",
    rate: Rate | None = None,
    cues: bool = False,
    corrections: bool | None = None,
    keep: bool = False,
    both_ways: bool = False,
    alpha: bool = False,
    cutouts: bool = False,
    coco: bool = False,
    names: Sequence[str] | None = None,
) -> Path:
    """Carry given masks through a video, and write one indexed PNG per frame and a movie of the masks over the frames.

    On a terminal a progress bar is shown. On the CPU every mask is written before the next frame is read; on a GPU one
    thread reads frames ahead of the network and another writes behind it, each up to `overlap.DEPTH` frames.

    Args:
        video: a video file, a folder of numbered frames, or a `Clip`, which brings its own masks.
        mask: the first frame's mask, an indexed PNG, or several masks as for `read_clip`; None for a `Clip`.
        out: the folder to write; must be new or empty.
        model: a preset with a shipped checkpoint, the path of a checkpoint, or a model in evaluation mode.
        height: taller frames are downscaled to it for the network; 0: never. None: as the checkpoint was tested.
        feedback: see `propagate`.
        movie: the kind of `overlay.mp4` or `overlay.gif`.
        rate: its frames per second, or "own": as the video file's, and with its sound in an mp4. None: 12.
        cues: write the distance maps too, see `write_cues`.
        corrections: see `propagate`. None: for masks read from files, and not for a `Clip`, whose masks may be the
            truth.
        keep: where a later frame cannot be read, keep the masks of the frames before it; the error is raised then.
        both_ways: also carry each object to the frames before its mask, see `propagate_both_ways`.
        alpha, cutouts: write each object's probability, and the object cut out of its frame; see `write_alpha`.
        coco: also write `coco.json`, see `open_coco`.
        names: of the written files, one a frame. None: see `write_segmentation`.

    Raises:
        LabError: a video, mask or checkpoint that cannot be read, an occupied folder, or mp4 without PyAV.

    Example:
        >>> from feelvos_lab import make_clip, segment
        >>> clip = make_clip(1, height=32, width=32, frames=3)
        >>> folder = segment(clip, None, "masks", model="reduced", movie="gif")
        >>> sorted(path.name for path in folder.iterdir())
        ['00000.png', '00001.png', '00002.png', 'overlay.gif']
    """
    refuse_occupied(out)
    require_writer(movie)
    clip = video if isinstance(video, Clip) else read_clip(video, mask or ())
    if not isinstance(model, Feelvos):
        path = shipped_path(model) if model in PRESETS else Path(model)
        model, config = load_checkpoint(path, device=device())
        height = config.data.test_height if height is None else height
    timing = None if rate is None or movie == "none" else timing_of(clip, rate)
    on_gpu = next(model.parameters()).device.type != "cpu"
    corrections = not isinstance(video, Clip) if corrections is None else corrections
    failures: list[LabError] = []
    with complete_folder(out) as folder:
        predictions = (propagate_both_ways if both_ways else propagate)(
            fold_batch_norms(model), clip, feedback=feedback, height=height or 0, corrections=corrections
        )
        if keep:
            predictions = _until_damaged(predictions, failures)
        counted = tqdm(predictions, total=len(clip), unit="frame", disable=None)  # None: only on a terminal
        kinds = {"movie": movie, "cues": cues, "alpha": alpha, "cutouts": cutouts, "coco": coco, "timing": timing}
        written = write_segmentation(counted, clip, folder, **kinds, behind=on_gpu, names=names)
    if failures:
        raise LabError(f"{failures[0]}; the masks of the {written} frames before it are in {out}") from failures[0]
    return Path(out)


def _until_damaged(predictions: Iterable[Prediction], failures: list[LabError]) -> Iterator[Prediction]:
    """The predictions up to a frame that cannot be read, whose error is appended; the first frame's is raised."""
    count = 0
    try:
        for prediction in predictions:
            yield prediction
            count += 1
    except LabError as error:
        if not count:
            raise
        failures.append(error)


def write_segmentation(
    predictions: Iterable[Prediction],
    clip: Clip,
    folder: Path | str,
    *,
    movie: Movie = "mp4",
    timing: Timing | None = None,
    cues: bool = False,
    alpha: bool = False,
    cutouts: bool = False,
    coco: bool = False,
    behind: bool = False,
    names: Sequence[str] | None = None,
) -> int:
    """Write each frame's mask as soon as it is predicted, and the movie along with it; nothing is kept in memory.

    The masks are named like the frames' files, or `00000.png`, … if the frames have none. The folder must exist. With
    `behind` a thread writes, up to `overlap.DEPTH` frames behind the predictions; its error is raised after the next
    one. Other arguments: see `segment`. Returns the number of frames written.
    """
    folder, names, count = Path(folder), names or frame_names(clip), 0

    def write(prediction: Prediction) -> None:
        write_mask(folder / f"{names[prediction.frame]}.png", prediction.labels)
        if cues:
            write_cues(prediction, clip, folder / "cues", name=names[prediction.frame])
        image = prediction.image
        if image is None and (cutouts or movie != "none"):
            image = clip.frames[prediction.frame]
        if alpha or cutouts:
            name = names[prediction.frame]
            write_alpha(prediction, clip, folder, name=name, image=image if cutouts else None, grey=alpha)
        if movie != "none":
            append(overlay(image, prediction.labels))
        if append_coco:
            append_coco(prediction.frame, prediction.labels)

    with ExitStack() as open_files:
        append = open_files.enter_context(open_movie(folder / f"overlay.{movie}", kind=movie, timing=timing))
        append_coco = open_files.enter_context(open_coco(folder / "coco.json", clip, names)) if coco else None
        later = open_files.enter_context(write_behind(on=behind))
        for prediction in predictions:
            later(write, prediction if cues else prediction._replace(cues=None, references=None))
            count += 1
    return count


def write_cues(prediction: Prediction, clip: Clip, folder: Path | str, *, name: str) -> None:
    """Write a frame's distance maps as `global/<id>/<name>.png` and `local/<id>/<name>.png`; id 0 is the background.

    The maps have the size of the stride-4 grid. A frame with a given mask has no maps, and a model only has the maps
    that it matches by. The distance of an object that has not entered yet is 1.
    """
    if prediction.cues is None:
        return
    for kind, maps in (("global", prediction.cues.global_map), ("local", prediction.cues.local_map)):
        if maps is None:
            continue
        for object_id, distance in zip((0, *clip.object_ids), maps, strict=True):
            write_distance(Path(folder) / kind / str(object_id) / f"{name}.png", distance)


def write_alpha(
    prediction: Prediction, clip: Clip, folder: Path | str, *, name: str, image: Tensor | None, grey: bool = True
) -> None:
    """Write each object's probability: 255 p, rounded, as `alpha/<id>/<name>.png` (if `grey`).

    With `image` (3, H, W) uint8, the frame, also as the transparency of `cutouts/<id>/<name>.png`, an RGBA image.
    """
    for object_id in clip.object_ids:
        probability = prediction.probabilities[clip.channel(object_id)].cpu()  # (H, W)
        opacity = (255 * probability).round().numpy().astype(np.uint8)
        pictures = {"alpha": opacity} if grey else {}
        if image is not None:
            pictures["cutouts"] = np.dstack([image.permute(1, 2, 0).cpu().numpy(), opacity])  # (H, W, 4)
        for kind, picture in pictures.items():
            with complete_file(Path(folder) / kind / str(object_id) / f"{name}.png") as unfinished:
                Image.fromarray(picture).save(unfinished, format="PNG")
