"""The command line: `feelvos-lab COMMAND --help`. Wrong input ends in one sentence and exit code 2.

torch is imported inside the commands alone, so that `--help` answers at once.
"""

from __future__ import annotations

import ast
import shlex
import signal
import sys
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feelvos_lab.cli_ablate import ablate_app
from feelvos_lab.cli_figure import figure
from feelvos_lab.errors import LabError
from feelvos_lab.guard import DEBUG, INTERRUPTED, REFUSED, one_sentence

if TYPE_CHECKING:
    from feelvos_lab.config import Config

app = typer.Typer(
    help="Learn, take apart and re-run FEELVOS, the video object segmentation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(ablate_app, name="ablate")
app.command()(figure)


class Feedback(StrEnum):
    soft = "soft"
    hard = "hard"


class Part(StrEnum):
    auto = "auto"
    all = "all"
    deeplab = "deeplab"
    trunk = "trunk"


class Overlay(StrEnum):
    mp4 = "mp4"
    gif = "gif"
    none = "none"


class Data(StrEnum):
    shapes = "shapes"
    davis_2016 = "davis-2016"
    davis_2017 = "davis-2017"
    youtube_vos = "youtube-vos"


class Published(StrEnum):
    davis_2016 = "davis-2016"
    davis_2017 = "davis-2017"
    youtube_vos = "youtube-vos"


class Split(StrEnum):
    train = "train"
    validation = "validation"
    test = "test"


Out = Annotated[Path, typer.Option(help="Folder for the results; must be new or empty.")]
DataRoot = Annotated[Path | None, typer.Option(help="Where the data set lies.")]
Checkpoint = Annotated[Path | None, typer.Option(help="A model.safetensors; without it, the shipped one.")]


Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="One thread, and only algorithms that give the same bits each time.")
]


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of whatever stops the command.")] = False,
) -> None:
    """`--debug` is read by `main`, wherever it stands; here it is only explained."""


@app.command()
def train(
    out: Out,
    preset: Annotated[str, typer.Option(help="smoke, reduced, real or full.")] = "reduced",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    data_root: DataRoot = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting, as name=value; may be repeated.")] = None,
    initialise_from: Annotated[
        Path | None, typer.Option(help="Start from this checkpoint or imported part, not from random weights.")
    ] = None,
    trunk_only: Annotated[
        bool, typer.Option("--trunk-only", help="Of it, take the backbone alone, as the official training does.")
    ] = False,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between states to resume from.")] = 200,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write curves for TensorBoard to tensorboard/ in the folder.")
    ] = False,
    deterministic: Deterministic = False,
) -> None:
    """Train a model: writes model.safetensors, its card model.json, and history.csv.

    An interrupted training goes on where it stopped when the same command is given again. Several processes share it
    as `torchrun --nproc-per-node N -m feelvos_lab.train`, with the same options.
    """
    from feelvos_lab.checkpoint import save_checkpoint
    from feelvos_lab.config import configure
    from feelvos_lab.deterministic import deterministic as repeating
    from feelvos_lab.distributed import joined
    from feelvos_lab.lab import device
    from feelvos_lab.output import writable_folder
    from feelvos_lab.shipped import write_card
    from feelvos_lab.train import train as run_training

    with joined() as share, repeating(deterministic):
        if trunk_only and initialise_from is None:
            raise LabError("--trunk-only says what to take of --initialise-from, which is not given")
        settings = _settings(set_ or [])
        config = configure(preset, **({"root": str(data_root)} if data_root else {}), **settings)
        writes = share.rank == 0
        with writable_folder(out, resuming=("state.safetensors", "tensorboard")) if writes else nullcontext():
            trained = run_training(
                config,
                seed=seed,
                folder=out,
                device=device(),
                progress=print,
                start=initialise_from,
                start_part="trunk" if trunk_only else "all",
                save_every=save_every,
                curves=out / "tensorboard" if tensorboard else None,
            )
            if not writes:
                return
            _write_history(out / "history.csv", trained.history)
            save_checkpoint(out / "model.safetensors", trained.model, config, seed=str(seed))
            command = ["feelvos-lab", "train"]
            if share.of > 1:
                command = ["torchrun", "--nproc-per-node", str(share.of), "-m", "feelvos_lab.train"]
            command += ["--preset", preset, "--seed", str(seed), *(["--data-root", "DIR"] if data_root else [])]
            command += [word for pair in set_ or [] for word in ("--set", pair)]
            command += ["--initialise-from", initialise_from.name] if initialise_from else []
            command += [*(["--trunk-only"] if trunk_only else []), *(["--deterministic"] if deterministic else [])]
            command += ["--out", "DIR"]
            write_card(out / "model.safetensors", config=config, seed=seed, command=shlex.join(command))
        (out / "state.safetensors").unlink(missing_ok=True)
        print(f"the model is in {out / 'model.safetensors'}")
        if tensorboard:
            print(f"its curves: tensorboard --logdir {out / 'tensorboard'}")


@app.command()
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
        Feedback | None, typer.Option(help="What the next frame sees of the last prediction. Default: the model's.")
    ] = None,
    overlay: Annotated[Overlay, typer.Option(help="The film of the masks over the frames.")] = Overlay.mp4,
    height: Annotated[
        int | None,
        typer.Option(min=0, help="Frames are scaled down to it for the network; 0: never. Default: the model's."),
    ] = None,
    cues: Annotated[bool, typer.Option("--cues", help="Save the distance maps of every object too.")] = False,
) -> None:
    """Carry given masks through a video: writes one indexed PNG a frame, and a film.

    An object starts in the first mask that shows it; what later masks say of objects given before is not used.
    """
    from feelvos_lab.infer import propagate
    from feelvos_lab.model.folded import folded
    from feelvos_lab.movie import require_writer
    from feelvos_lab.output import complete_folder, frame_names, read_clip, refuse_occupied, write_segmentation

    refuse_occupied(out)
    require_writer(overlay.value)
    clip = read_clip(video, mask)
    model, config, source = _model(checkpoint)
    scaled = config.data.test_height if height is None else height
    print(f"{clip.name}: {len(clip)} frames, objects {', '.join(map(str, clip.object_ids))}; model: {source}")
    for t in sorted(set(clip.starts) - {0}):
        print(f"given in frame {frame_names(clip)[t]}: {', '.join(map(str, clip.given_in(t)))}")
    with complete_folder(out) as folder:
        predictions = propagate(folded(model), clip, feedback=feedback and feedback.value, height=scaled)
        predictions = _counted(predictions, len(clip))
        write_segmentation(predictions, clip, folder, names=frame_names(clip), moving=overlay.value, cues=cues)
    print(f"{len(clip)} masks{'' if overlay is Overlay.none else f' and overlay.{overlay.value}'} are in {out}")


@app.command()
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
    from feelvos_lab.data.source import load_clips
    from feelvos_lab.evaluate import copy_first_mask
    from feelvos_lab.evaluate import evaluate as score_model
    from feelvos_lab.metrics import write_scores
    from feelvos_lab.output import complete_folder, refuse_occupied
    from feelvos_lab.scoreboard import no_benchmark, score_predictions, table

    refuse_occupied(out)
    if predictions and (checkpoint or data is Data.shapes):
        what = "a checkpoint" if checkpoint else "data shapes"
        raise LabError(f"--predictions scores masks of a DAVIS set that were made elsewhere, it cannot go with {what}")
    if predictions:
        model, settings, source = None, DataConfig(data=data.value, test_height=height or 0), str(predictions)
    else:
        model, config, source = _model(checkpoint)
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
    if sentence := no_benchmark(data.value, split=split.value, clips=clips, height=settings.test_height):
        print(sentence)
    print(f"the scores are in {out}")


@app.command("fetch-data")
def fetch_data(
    data: Annotated[Published, typer.Argument(help="The data set.")],
    out: Annotated[Path, typer.Option(help="Folder for it, the later --data-root; must be new or empty.")],
    sha256: Annotated[
        str | None, typer.Option(help="What the archive must have. Default: the published one, if there is one.")
    ] = None,
) -> None:
    """Download a data set, verify and unpack it; given again after a break, it goes on where it stopped."""
    from feelvos_lab.data.fetch import ARCHIVES, fetch

    if data is Published.youtube_vos:
        raise LabError(
            "YouTube-VOS is given to registered people alone: register at https://youtube-vos.org, download its train "
            f"and valid archives there, and unpack them so that {out / 'train/meta.json'} and "
            f"{out / 'valid/meta.json'} lie beside JPEGImages and Annotations; then pass --data-root {out}"
        )
    fetch(ARCHIVES[data.value], out, sha256=sha256, progress=print)
    print(f"{data.value} is in {out}: pass --data-root {out}")


@app.command("import-tf")
def import_tf(
    checkpoint: Annotated[
        Path, typer.Argument(help="An official checkpoint without its .index, such as DIR/model.ckpt-200004.")
    ],
    out: Annotated[Path, typer.Option(help="The safetensors file to write; must not exist.")],
    part: Annotated[
        Part, typer.Option(help="auto: all where the file is FEELVOS's, else DeepLab's layers or the backbone.")
    ] = Part.auto,
    output_stride: Annotated[int, typer.Option(help="8, as the authors test, or 16, as they train.")] = 8,
) -> None:
    """Turn an official TensorFlow checkpoint into a model of preset full; TensorFlow is not needed."""
    from feelvos_lab.convert.tensorflow import import_checkpoint

    if out.exists():
        raise LabError(f"{out} exists already: choose another name for --out")
    imported = import_checkpoint(checkpoint, out, part=part.value, output_stride=output_stride)
    slots = sum(name.endswith("/Momentum") or name == "global_step" for name in imported.left_out)
    others = [name for name in imported.left_out if not name.endswith("/Momentum") and name != "global_step"]
    print(f"part {imported.part}: {imported.taken} variables read; {slots} of the optimizer left out")
    if others:
        print(f"also left out: {', '.join(others)}")
    print(f"the {'model' if imported.part == 'all' else 'start for a training'} is in {out}")


@app.command()
def doctor(
    model: Annotated[
        str | None, typer.Option(help="A preset: print its network's parameters by stage instead.")
    ] = None,
) -> None:
    """Check the installation: one line a part, exit code 1 if something that is needed is missing."""
    if model is not None:
        from feelvos_lab.doctor import parameter_table

        print(parameter_table(model))
    elif not _examined():
        raise typer.Exit(1)


@app.command()
def start(
    desk: Annotated[Path, typer.Option(help="Where your copies live.")] = Path("work"),
    lab: Annotated[bool, typer.Option(help="Open JupyterLab.")] = True,
) -> None:
    """Check the installation, copy the notebooks to work/ without overwriting yours, and open JupyterLab there."""
    from feelvos_lab.start import NOTEBOOKS, copy_notebooks, open_lab

    if not _examined():
        raise typer.Exit(1)
    for sentence in copy_notebooks(NOTEBOOKS, desk):
        print(sentence)
    print(f"your notebooks are in {desk}/; begin with 00_start_here.ipynb")
    if lab and (status := open_lab(desk)):
        raise typer.Exit(status)


@app.command("app")
def page(
    notebook: Annotated[Path | None, typer.Option(help="The notebook to show. Default: the explorer's.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="A free one.")] = 8866,
    browser: Annotated[bool, typer.Option(help="Open it in a browser.")] = True,
) -> None:
    """Show the explorer and the painter as a page without code, on this computer alone."""
    from feelvos_lab.start import NOTEBOOKS, open_page

    if status := open_page(notebook or NOTEBOOKS / "app.ipynb", port=port, browser=browser):
        raise typer.Exit(status)


@app.command()
def lint(notebooks: Annotated[list[Path], typer.Argument(help="Notebook files.")]) -> None:
    """Say where notebooks break the rules of the house; exit code 1 if they do."""
    from feelvos_lab.nbtools import lint as lint_notebook

    problems = [f"{path}: {problem}" for path in notebooks for problem in lint_notebook(path)]
    print("\n".join(problems) or "nothing to mend")
    if problems:
        raise typer.Exit(1)


@app.command()
def strip(notebooks: Annotated[list[Path], typer.Argument(help="Notebook files.")]) -> None:
    """Remove outputs and execution counts from notebooks, in place."""
    from feelvos_lab.nbtools import strip as strip_notebook

    for path in notebooks:
        if strip_notebook(path):
            print(f"stripped {path}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; what stops it is one line on stderr (see `one_sentence`), with `--debug` a traceback."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, _leave)
    with one_sentence("feelvos-lab", debug=DEBUG in arguments):
        try:
            status = app([a for a in arguments if a != DEBUG], prog_name="feelvos-lab", standalone_mode=False)
        except Exception as error:
            if type(error).__name__ == "Abort":
                raise KeyboardInterrupt from None
            if not hasattr(error, "format_message"):  # what typer says of options, whichever click it brings
                raise
            told = error.format_message()
            if not told:  # a group without a command has shown its help
                raise SystemExit(REFUSED) from None
            command = error.ctx.command_path if getattr(error, "ctx", None) else "feelvos-lab"
            raise LabError(f"{told.rstrip('.')}: see {command} --help") from error
        if status == INTERRUPTED:  # typer took the KeyboardInterrupt
            raise KeyboardInterrupt
        raise SystemExit(status or 0)


def _leave(number: int, _frame: object) -> None:
    """Being ended is an exception like another, so that unfinished folders are removed."""
    raise SystemExit(128 + number)


def _settings(pairs: list[str]) -> dict[str, Any]:
    """`name=value` pairs; a value is a Python literal, true or false, or else text."""
    settings = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise LabError(f"--set must be name=value, got {pair!r}")
        if name in settings:
            raise LabError(f"--set {name} is given twice")
        settings[name] = {"true": True, "false": False}.get(text.lower()) if text.lower() in ("true", "false") else text
        if isinstance(settings[name], str):
            try:
                settings[name] = ast.literal_eval(text)
            except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):  # no literal, so it is text
                settings[name] = text
    return settings


def _model(checkpoint: Path | None) -> tuple[Any, Config, str]:
    """The model of a checkpoint, its configuration, and where it came from, for a person to read."""
    from feelvos_lab.checkpoint import load_checkpoint
    from feelvos_lab.lab import device
    from feelvos_lab.shipped import read_card, shipped_path, shipped_presets

    if checkpoint is None:
        preset = next((p for p in ("real", "reduced") if p in shipped_presets()), None)
        if preset is None:
            raise LabError("no checkpoint is shipped: train one with `feelvos-lab train`, then pass --checkpoint")
        checkpoint = shipped_path(preset)
        read_card(checkpoint)
    model, config = load_checkpoint(checkpoint, device=device())
    return model, config, f"{checkpoint} (preset {config.preset}, configuration {config.digest()})"


def _counted(predictions: Any, total: int) -> Any:
    """Pass predictions on, and tell on stderr's line how far they are, where somebody watches."""
    for prediction in predictions:
        if sys.stderr.isatty():
            print(f"\rframe {prediction.frame + 1} of {total}", end="", file=sys.stderr, flush=True)
        yield prediction
    if sys.stderr.isatty():
        print(file=sys.stderr)


def _examined() -> bool:
    from feelvos_lab.doctor import examine

    findings = examine()
    print("\n".join(finding.line() for finding in findings))
    return all(finding.ok or not finding.needed for finding in findings)


def _write_history(path: Path, history: list[dict[str, float]]) -> None:
    import csv

    from feelvos_lab.data.writing import complete_file

    with complete_file(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=["step", "loss", "learning_rate", "seconds"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)


if __name__ == "__main__":
    main()
