"""The command line: `feelvos-lab COMMAND --help`. Wrong input ends in one sentence and exit code 2.

torch is imported inside the commands alone, so that `--help` answers at once.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from feelvos_lab.cli.ablate import ablate_app
from feelvos_lab.cli.errors import DEBUG, INTERRUPTED, REFUSED, report_errors
from feelvos_lab.cli.evaluate import evaluate
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

for command in (figure, train, segment, evaluate):
    app.command()(command)


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of whatever stops the command.")] = False,
) -> None:
    """`--debug` is read by `main`, wherever it stands; here it is only explained."""


@app.command("fetch-data")
def fetch_data(
    data: Annotated[Literal["davis-2016", "davis-2017", "youtube-vos"], typer.Argument(help="The data set.")],
    out: Annotated[Path, typer.Option(help="Folder for it, the later --data-root; must be new or empty.")],
    sha256: Annotated[
        str | None, typer.Option(help="What the archive must have. Default: the published one, if there is one.")
    ] = None,
) -> None:
    """Download a data set, verify and unpack it."""
    from feelvos_lab.data.download import ARCHIVES, fetch

    if data == "youtube-vos":
        raise LabError(
            "YouTube-VOS is given to registered people alone: register at https://youtube-vos.org, download its train "
            f"and valid archives there, and unpack them so that {out / 'train/meta.json'} and "
            f"{out / 'valid/meta.json'} lie beside JPEGImages and Annotations; then pass --data-root {out}"
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
        typer.Option(help="auto: all where the file is FEELVOS's, else DeepLab's layers or the backbone."),
    ] = "auto",
    output_stride: Annotated[int, typer.Option(help="8, as the authors test, or 16, as they train.")] = 8,
) -> None:
    """Turn an official TensorFlow checkpoint into a model of preset full; TensorFlow itself is not needed."""
    from feelvos_lab.tf_import.convert import import_checkpoint

    if out.exists():
        raise LabError(f"{out} exists already: choose another name for --out")
    imported = import_checkpoint(checkpoint, out, part=part, output_stride=output_stride)
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
        from feelvos_lab.model.summary import parameter_table

        print(parameter_table(model))
    elif not _examined():
        raise typer.Exit(1)


@app.command()
def start(
    desk: Annotated[Path, typer.Option(help="Where your copies live.")] = Path("work"),
    lab: Annotated[bool, typer.Option(help="Open JupyterLab.")] = True,
) -> None:
    """Check the installation, copy the notebooks to work/ without overwriting yours, and open JupyterLab there."""
    from feelvos_lab.cli.jupyter import NOTEBOOKS, copy_notebooks, open_lab

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
    from feelvos_lab.cli.jupyter import NOTEBOOKS, open_page

    if status := open_page(notebook or NOTEBOOKS / "app.ipynb", port=port, browser=browser):
        raise typer.Exit(status)


@app.command()
def lint(notebooks: Annotated[list[Path], typer.Argument(help="Notebook files.")]) -> None:
    """Say where notebooks break the rules of the house; exit code 1 if they do."""
    from feelvos_lab.lessons.rules import lint as lint_notebook

    problems = [f"{path}: {problem}" for path in notebooks for problem in lint_notebook(path)]
    print("\n".join(problems) or "nothing to mend")
    if problems:
        raise typer.Exit(1)


@app.command()
def strip(notebooks: Annotated[list[Path], typer.Argument(help="Notebook files.")]) -> None:
    """Remove outputs and execution counts from notebooks, in place."""
    from feelvos_lab.files.notebooks import strip as strip_notebook

    for path in notebooks:
        if strip_notebook(path):
            print(f"stripped {path}")


@app.command()
def cost(
    notebooks: Annotated[list[Path], typer.Argument(help="Lesson notebooks.")],
    stated: Annotated[bool, typer.Option("--stated", help="What the headers say; nothing is run.")] = False,
) -> None:
    """Print what lessons cost: minutes to study, code lines, seconds as stated and as measured."""
    from feelvos_lab.lessons.cost import cost_lines

    for line in cost_lines(notebooks, only_stated=stated):
        print(line, flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; what stops it is one line on stderr (see `one_sentence`), with `--debug` a traceback."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, _leave)
    with report_errors("feelvos-lab", debug=DEBUG in arguments):
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


def _examined() -> bool:
    from feelvos_lab.cli.doctor import examine

    findings = examine()
    print("\n".join(finding.line() for finding in findings))
    return all(finding.ok or not finding.needed for finding in findings)
