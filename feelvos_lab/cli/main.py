"""The command line `feelvos-lab`: its commands, and how errors end it.

Commands import torch and pandas in their bodies, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from feelvos_lab.cli.ablate import ablate_app
from feelvos_lab.cli.errors import DEBUG, INTERRUPTED, REFUSED, report_errors
from feelvos_lab.cli.evaluate import evaluate
from feelvos_lab.cli.explorable import explorable
from feelvos_lab.cli.figure import figure
from feelvos_lab.cli.segment import segment
from feelvos_lab.cli.train import train
from feelvos_lab.errors import LabError

app = typer.Typer(
    help="Learn, take apart and re-run FEELVOS, the video object segmentation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(ablate_app, name="ablate")

Notebooks = Annotated[list[Path] | None, typer.Argument(help="Notebook files. Default: the project's.")]

for command in (figure, explorable, train, segment, evaluate):
    app.command()(command)


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """`main` reads `--debug` at any position; it is declared here for --help."""


@app.command("fetch-data")
def fetch_data(
    data: Annotated[Literal["davis-2016", "davis-2017", "youtube-vos"], typer.Argument(help="The data set.")],
    out: Annotated[Path, typer.Option(help="Folder for it, later --data-root; must be new or empty.")],
    sha256: Annotated[
        str | None, typer.Option(help="Expected checksum of the archive. Default: the published one, if any.")
    ] = None,
) -> None:
    """Download a data set, verify and unpack it."""
    from feelvos_lab.data.download import ARCHIVES, fetch

    if data == "youtube-vos":
        raise LabError(
            "YouTube-VOS needs a registration: register at https://youtube-vos.org, download its train and valid "
            f"archives, and unpack them so that {out / 'train/meta.json'} and {out / 'valid/meta.json'} are next to "
            f"JPEGImages and Annotations; then pass --data-root {out}"
        )
    fetch(ARCHIVES[data], out, sha256=sha256, progress=print)
    print(f"{data} is in {out}: pass --data-root {out}")


@app.command("import-tf")
def import_tf(
    checkpoint: Annotated[
        Path, typer.Argument(help="An official checkpoint without its .index, such as DIR/model.ckpt-200004.")
    ],
    out: Annotated[Path, typer.Option(help="The safetensors file to write; must not exist.")],
    part: Annotated[
        Literal["auto", "all", "deeplab", "trunk"],
        typer.Option(help="auto: all of a FEELVOS checkpoint; of another, DeepLab's layers or the backbone."),
    ] = "auto",
    output_stride: Annotated[int, typer.Option(help="8 as in the authors' tests, or 16 as in their training.")] = 8,
) -> None:
    """Convert an official TensorFlow checkpoint to a model of preset full; TensorFlow itself is not needed."""
    from feelvos_lab.tf_import.convert import import_checkpoint

    if out.exists():
        raise LabError(f"{out} exists already: choose another name for --out")
    imported = import_checkpoint(checkpoint, out, part=part, output_stride=output_stride)
    slots = sum(name.endswith("/Momentum") or name == "global_step" for name in imported.left_out)
    others = [name for name in imported.left_out if not name.endswith("/Momentum") and name != "global_step"]
    print(f"part {imported.part}: {imported.taken} variables read; {slots} of the optimizer left out")
    if others:
        print(f"also left out: {', '.join(others)}")
    print(f"the {'model' if imported.part == 'all' else 'part to start a training from'} is in {out}")


@app.command()
def doctor(
    model: Annotated[
        str | None, typer.Option(help="Instead print the parameters of this preset's network by stage.")
    ] = None,
) -> None:
    """Check the installation, one line a part; exit code 1 if a required part is missing."""
    if model is not None:
        from feelvos_lab.model.summary import parameter_table

        print(parameter_table(model))
    elif not _check_installation():
        raise typer.Exit(1)


@app.command()
def start(
    desk: Annotated[Path, typer.Option(help="Folder for your copies.")] = Path("work"),
    lab: Annotated[bool, typer.Option(help="Open JupyterLab.")] = True,
) -> None:
    """Check the installation, copy the notebooks to work/ but keep those you changed, and open JupyterLab there."""
    from feelvos_lab.cli.jupyter import NOTEBOOKS, copy_notebooks, open_lab

    if not _check_installation():
        raise typer.Exit(1)
    for kept in copy_notebooks(NOTEBOOKS, desk):
        print(kept)
    print(f"your notebooks are in {desk}/; begin with 00_start_here.ipynb")
    if lab and (status := open_lab(desk)):
        raise typer.Exit(status)


@app.command("app")
def page(
    notebook: Annotated[Path | None, typer.Option(help="The notebook to serve. Default: explorer and painter.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="A free port.")] = 8866,
    browser: Annotated[bool, typer.Option(help="Open it in a browser.")] = True,
) -> None:
    """Serve the explorer and the painter as a page without code, on this computer only."""
    from feelvos_lab.cli.jupyter import NOTEBOOKS, open_page

    if status := open_page(notebook or NOTEBOOKS / "app.ipynb", port=port, browser=browser):
        raise typer.Exit(status)


@app.command()
def lint(notebooks: Notebooks = None) -> None:
    """List violations of the rules for notebooks; exit code 1 if there are any."""
    from feelvos_lab.lessons.rules import lint as lint_notebook

    problems = [f"{path}: {problem}" for path in _files(notebooks, "*") for problem in lint_notebook(path)]
    print("\n".join(problems) or "no problems")
    if problems:
        raise typer.Exit(1)


@app.command()
def strip(notebooks: Notebooks = None) -> None:
    """Remove outputs and execution counts from notebooks, in place."""
    from feelvos_lab.files.notebooks import strip as strip_notebook

    for path in _files(notebooks, "*"):
        if strip_notebook(path):
            print(f"stripped {path}")


@app.command()
def cost(
    notebooks: Notebooks = None,
    stated: Annotated[bool, typer.Option("--stated", help="Only what the headers state; run nothing.")] = False,
) -> None:
    """Print the cost of lessons: minutes of study, lines of code, seconds stated and measured."""
    from feelvos_lab.lessons.cost import cost_lines

    for line in cost_lines(_files(notebooks, "[0-9]*"), only_stated=stated):
        print(line, flush=True)


def _files(given: list[Path] | None, pattern: str) -> list[Path]:
    """The files given, or the project's notebooks; `*.ipynb` too, which not every shell of Windows expands."""
    from feelvos_lab.cli.jupyter import NOTEBOOKS

    if given is None:
        return sorted(NOTEBOOKS.glob(f"{pattern}.ipynb"))
    found = [(sorted(path.parent.glob(path.name)) if "*" in path.name else []) or [path] for path in given]
    return [path for paths in found for path in paths]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; an error is one line on stderr (see `report_errors`), with `--debug` a traceback."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # Threads that wait by spinning take the cores from other processes; read when torch is loaded, and inherited.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.pop("MPLBACKEND", None)  # no figure here has a window, and matplotlib fails on a name it does not know
    signal.signal(signal.SIGTERM, _exit_on_signal)
    with report_errors(debug=DEBUG in arguments):
        try:
            status = app([a for a in arguments if a != DEBUG], prog_name="feelvos-lab", standalone_mode=False)
        except Exception as error:
            if type(error).__name__ == "Abort":
                raise KeyboardInterrupt from None
            if not hasattr(error, "format_message"):  # only a usage error has it; typer may bring its own click
                raise
            message = error.format_message().replace("Value error, ", "").rstrip(".")
            if not message:  # a group without a command has printed its help
                raise SystemExit(REFUSED) from None
            command = error.ctx.command_path if getattr(error, "ctx", None) else "feelvos-lab"
            raise LabError(f"{message}: see {command} --help") from error
        if status == INTERRUPTED:  # typer catches KeyboardInterrupt and returns this
            raise KeyboardInterrupt
        raise SystemExit(status or 0)


def _exit_on_signal(number: int, _frame: object) -> None:
    """Turn a signal into an exception, so that unfinished folders are removed."""
    raise SystemExit(128 + number)


def _check_installation() -> bool:
    from feelvos_lab.cli.doctor import examine

    findings = examine()
    print("\n".join(finding.line() for finding in findings))
    return all(finding.ok or not finding.needed for finding in findings)
