"""`feelvos-lab evaluate`: J, F and J&F of a model or of given masks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from feelvos_lab.cli.options import Checkpoint, DataRoot, Height, Out, open_model
from feelvos_lab.errors import LabError


def evaluate(
    out: Out,
    data: Annotated[
        Literal["shapes", "davis-2016", "davis-2017", "youtube-vos"] | None, typer.Option(help="The data set.")
    ] = None,
    data_root: DataRoot = None,
    checkpoint: Checkpoint = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Score these masks instead: a folder for each sequence, an indexed PNG for each frame."),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(help="In place of --data: your own true masks, a folder of PNGs or of such folders."),
    ] = None,
    split: Annotated[
        Literal["train", "validation", "test"], typer.Option(help="test: the published val list of DAVIS.")
    ] = "test",
    height: Height = None,
    scored_height: Annotated[
        int, typer.Option(min=0, help="Scale frames and masks to this height for the score; 0: as published.")
    ] = 0,
    official_names: Annotated[
        bool, typer.Option("--official-names", help="Also write the CSV files that the official evaluation writes.")
    ] = False,
) -> None:
    """Score a model or given masks, and the baseline that copies the first mask to all frames."""
    from dataclasses import replace

    from feelvos_lab.config import DataConfig, configure
    from feelvos_lab.data.datasets import load_clips
    from feelvos_lab.evaluation.metrics import write_scores
    from feelvos_lab.evaluation.scoring import benchmark_caveat, copy_first_mask, read_truth, score_predictions, table
    from feelvos_lab.evaluation.scoring import evaluate as score_model
    from feelvos_lab.files.atomic import complete_folder, refuse_occupied

    refuse_occupied(out)
    if truth:
        extra = {"--data": data, "--data-root": data_root, "--checkpoint": checkpoint, "--height": height}
        if given := [name for name, value in {**extra, "--scored-height": scored_height or None}.items() if value]:
            raise LabError(f"--truth needs --predictions only, it cannot be combined with {given[0]}")
        if not predictions:
            raise LabError(f"--truth {truth} needs --predictions DIR, the masks to score")
        clips = read_truth(truth)
        flat = clips[0].frames.paths[0].parent == truth
        print(f"{len(clips)} clips of {truth}; scored: {predictions}")
        with complete_folder(out) as folder:
            scores = score_predictions(predictions, clips, binary=False, flat=flat)
            baseline = copy_first_mask(clips)
            write_scores(scores.to_dict("records"), folder, official=official_names)
            write_scores(baseline.to_dict("records"), folder / "copy_first_mask")
        print(table(scores, baseline))
        print(f"the scores are in {out}")
        return
    if data is None:
        raise LabError("evaluate needs --data, a data set, or --truth DIR with --predictions DIR, your own masks")
    if predictions and (checkpoint or data == "shapes"):
        what = "a checkpoint" if checkpoint else "data shapes"
        raise LabError(f"--predictions scores given masks of a published data set, it cannot be combined with {what}")
    if predictions and height is not None:
        raise LabError(
            "--height is for the network that sees the frames, --predictions needs none: give one of the two"
        )
    if predictions:
        model, settings, source = None, DataConfig(data=data), str(predictions)
    else:
        model, config, source = open_model(checkpoint)
        settings = config.data if data == "shapes" else replace(config.data, test_clips=0)
        if data == "shapes" and settings.data != "shapes":
            settings = configure("reduced").data
        settings = replace(settings, data=data, **({} if height is None else {"test_height": height}))
    settings = replace(settings, root=str(data_root or ""), scored_height=scored_height)
    clips = load_clips(settings, split=split)
    print(f"{len(clips)} clips of {data}, split {split}; scored: {source}")
    if model and data != "shapes":
        wanted, tallest = settings.test_height, max(clip.frames[0].shape[1] for clip in clips)
        seen = f"downscaled to {wanted} rows" if 0 < wanted < tallest else f"as they are, {tallest} rows"
        print(f"the network sees frames {seen}; scored at {scored_height or 'the published'} height")
    with complete_folder(out) as folder:
        scores = (
            score_predictions(predictions, clips, binary=data == "davis-2016")
            if predictions
            else score_model(model, clips, height=settings.test_height, progress=print)
        )
        baseline = copy_first_mask(clips)
        write_scores(scores.to_dict("records"), folder, official=official_names)
        write_scores(baseline.to_dict("records"), folder / "copy_first_mask")
    print(table(scores, baseline))
    if caveat := benchmark_caveat(data, split=split, clips=clips, scored_height=scored_height):
        print(caveat)
    print(f"the scores are in {out}")
