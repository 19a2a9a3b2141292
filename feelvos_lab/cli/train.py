"""`feelvos-lab train`: train a model."""

from __future__ import annotations

import ast
import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from feelvos_lab.cli.options import DataRoot
from feelvos_lab.errors import LabError


def train(
    out: Annotated[Path, typer.Option(help="Folder for the results: new, empty, or of an interrupted training.")],
    preset: Annotated[str, typer.Option(help="smoke, reduced, real or full.")] = "reduced",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    data_root: DataRoot = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting as name=value; may be repeated.")] = None,
    initialise_from: Annotated[
        Path | None, typer.Option(help="Initialise the weights from this checkpoint or imported part.")
    ] = None,
    trunk_only: Annotated[
        bool, typer.Option("--trunk-only", help="Take only the backbone from it, as the official training does.")
    ] = False,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between saved states to resume from.")] = 200,
    loaders: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Processes that draw the samples ahead; by default 0 on a CPU and up to 4 on a GPU.",
            show_default=False,
        ),
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard curves to tensorboard/ in the folder.")
    ] = False,
    deterministic: Annotated[
        bool,
        typer.Option("--deterministic", help="Bitwise reproducible: one thread, deterministic algorithms."),
    ] = False,
) -> None:
    """Train a model: writes model.safetensors, its card model.json, and history.csv.

    Ctrl-C saves the training after its present step, and the same command resumes it. For several processes or GPUs:
    `torchrun --nproc-per-node N -m feelvos_lab train`, with the same options.
    """
    import pandas as pd

    from feelvos_lab.config import configure
    from feelvos_lab.deterministic import deterministic as repeating
    from feelvos_lab.files.atomic import writable_folder, write_text
    from feelvos_lab.model.checkpoint import save_checkpoint, write_card
    from feelvos_lab.model.device import device
    from feelvos_lab.training.distributed import process_group
    from feelvos_lab.training.loaders import default_loaders
    from feelvos_lab.training.loop import train as run_training

    with process_group() as share, repeating(deterministic):
        if trunk_only and initialise_from is None:
            raise LabError("--trunk-only needs --initialise-from, which is not given")
        root = [f"root={str(data_root)!r}"] if data_root else []
        config = configure(preset, **settings_of([*root, *(set_ or [])]))
        writes = share.rank == 0
        with writable_folder(out, resuming=("state.safetensors", "tensorboard")) if writes else nullcontext():
            trained = run_training(
                config,
                seed=seed,
                folder=out,
                device=(place := device()),
                progress=print,
                start=initialise_from,
                start_part="trunk" if trunk_only else "all",
                save_every=save_every,
                curves=out / "tensorboard" if tensorboard else None,
                loaders=default_loaders(place) if loaders is None else loaders,
            )
            if not writes:
                return
            history = pd.DataFrame(trained.history, columns=["step", "loss", "learning_rate", "seconds"])
            write_text(out / "history.csv", history.to_csv(index=False, lineterminator="\n"))
            save_checkpoint(out / "model.safetensors", trained.model, config, seed=str(seed))
            command = ["feelvos-lab", "train"]
            if share.of > 1:
                command = ["torchrun", "--nproc-per-node", str(share.of), "-m", "feelvos_lab", "train"]
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


def settings_of(pairs: list[str]) -> dict[str, Any]:
    """Settings from `name=value` pairs; a value is a Python literal, true, false, or else text."""
    settings = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise LabError(f"--set must be name=value, got {pair!r}")
        if name in settings:
            raise LabError(f"--set {name} is given twice")
        try:
            settings[name] = ast.literal_eval(text.title() if text.lower() in ("true", "false") else text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):  # not a literal: text
            settings[name] = text
    return settings
