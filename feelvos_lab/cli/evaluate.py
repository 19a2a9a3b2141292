"""`feelvos-lab evaluate`: J, F and J&F of a model, or of masks made elsewhere.

torch and pandas are imported inside the command alone, so that `--help` answers at once.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from feelvos_lab.cli.options import Checkpoint, DataRoot, Out, open_model
from feelvos_lab.errors import LabError


class Data(StrEnum):
    shapes = "shapes"
    davis_2016 = "davis-2016"
    davis_2017 = "davis-2017"
    youtube_vos = "youtube-vos"


class Split(StrEnum):
    train = "train"
    validation = "validation"
    test = "test"


def evaluate(
    data: Annotated[Data, typer.Option(help="What to score on.")],
    out: Out,
    data_root: DataRoot = None,
    checkpoint: Checkpoint = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Score these masks instead: one folder a sequence, one indexed PNG a frame.")
    ] = None,
    split: Annotated[Split, typer.Option(help="test is the published val list of DAVIS.")] = Split.test,
    height: Annotated[
        int | None, typer.Option(min=0, help="Scale frames to it; 0: as published. Default: the model's.")
    ] = None,
) -> None:
    """Score a model, or masks made elsewhere, beside the baseline that copies the first mask."""
    from dataclasses import replace

    from feelvos_lab.config import DataConfig, configure
    from feelvos_lab.data.datasets import load_clips
    from feelvos_lab.evaluation.metrics import write_scores
    from feelvos_lab.evaluation.scoring import benchmark_caveat, copy_first_mask, score_predictions, table
    from feelvos_lab.evaluation.scoring import evaluate as score_model
    from feelvos_lab.files.atomic import complete_folder, refuse_occupied

    refuse_occupied(out)
    if predictions and (checkpoint or data is Data.shapes):
        what = "a checkpoint" if checkpoint else "data shapes"
        raise LabError(f"--predictions scores masks of a DAVIS set that were made elsewhere, it cannot go with {what}")
    if predictions:
        model, settings, source = None, DataConfig(data=data.value, test_height=height or 0), str(predictions)
    else:
        model, config, source = open_model(checkpoint)
        settings = config.data if data is Data.shapes else replace(config.data, test_clips=0)
        if data is Data.shapes and settings.data != "shapes":
            settings = configure("reduced").data
        settings = replace(settings, data=data.value, **({} if height is None else {"test_height": height}))
    clips = load_clips(replace(settings, root=str(data_root or "")), split=split.value)
    print(f"{len(clips)} clips of {data.value}, split {split.value}; scored: {source}")
    with complete_folder(out) as folder:
        scores = (
            score_predictions(predictions, clips, binary=data is Data.davis_2016)
            if predictions
            else score_model(model, clips, progress=print)
        )
        baseline = copy_first_mask(clips)
        write_scores(scores.to_dict("records"), folder)
        write_scores(baseline.to_dict("records"), folder / "copy_first_mask")
    print(table(scores, baseline))
    if sentence := benchmark_caveat(data.value, split=split.value, clips=clips, height=settings.test_height):
        print(sentence)
    print(f"the scores are in {out}")
