"""`feelvos-lab ablate …`: an experiment from its YAML file to its table.

pandas is imported inside the commands alone, so that `--help` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from feelvos_lab.ablation.spec import Spec as LoadedSpec

ablate_app = typer.Typer(help="Plan, run and report an ablation from its YAML file.", no_args_is_help=True)

Spec = Annotated[Path, typer.Argument(help="The ablation's YAML file.")]

Seeds = Annotated[str | None, typer.Option(help="3 for 0, 1, 2, or a list such as 0,4; without it, the file's.")]

Root = Annotated[Path, typer.Option(help="Folder of runs and results.")]

ROOT = Path("experiments")


@ablate_app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Of the experiment and its file, such as my-idea.")],
    root: Annotated[Path, typer.Option(help="Folder for the file.")] = ROOT,
) -> None:
    """Write an experiment file to fill in, with a comment beside each key; none is overwritten."""
    from feelvos_lab.ablation.spec import write_template
    from feelvos_lab.cli.jupyter import NOTEBOOKS

    path = write_template(name, root=root, notebook=NOTEBOOKS / "run_experiment.ipynb")
    print(f"{path}: edit it, then feelvos-lab ablate plan {path}")


@ablate_app.command("plan")
def plan(spec: Spec, seeds: Seeds = None, root: Root = ROOT) -> None:
    """Check the file, and show the runs that it asks for with their present states; nothing is started."""
    from feelvos_lab.ablation import runs as planning
    from feelvos_lab.ablation.spec import load_spec

    for planned in planning.plan(load_spec(spec), seeds=_seeds(seeds), root=root):
        print(f"{planned.state:8}{planned.name:40}{planned.folder}")


@ablate_app.command("run")
def run_(
    spec: Spec,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Runs at the same time; without it, 2 on two cores.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="A dask scheduler, such as tcp://127.0.0.1:8786: its workers make the runs, not this machine."
        ),
    ] = None,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic", help="Runs that give the same bits each time, on one thread each; not on a cluster."
        ),
    ] = False,
    seeds: Seeds = None,
    root: Root = ROOT,
) -> None:
    """Make the runs that are missing, then write the report and print its table."""
    from feelvos_lab.ablation import execute
    from feelvos_lab.ablation.spec import load_spec

    loaded, chosen = load_spec(spec), _seeds(seeds)
    runs = execute.run(
        loaded,
        workers=workers,
        scheduler=scheduler,
        deterministic=deterministic,
        seeds=chosen,
        root=root,
        progress=print,
    )
    _print_report(loaded, root, chosen)
    if any(planned.state != "ok" for planned in runs):
        raise typer.Exit(1)


@ablate_app.command("scheduler")
def scheduler(
    host: Annotated[
        str, typer.Option(help="The address to listen at. Another than this computer's own lets others run code here.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8786,
    dashboard: Annotated[int, typer.Option(min=0, max=65535, help="Its port; 0: a free one.")] = 8787,
) -> None:
    """Run a dask scheduler for `ablate run --scheduler`. This computer alone reaches it, unless --host says more."""
    from feelvos_lab.ablation.dask_cluster import is_this_computer, open_scheduler

    if not is_this_computer(host):
        print(f"whoever reaches {host}:{port} can run code as you: dask asks for no password")
    print(f"workers: dask worker tcp://{host}:{port} --host ADDRESS --nthreads 1 --no-dashboard")
    if status := open_scheduler(host=host, port=port, dashboard=dashboard):
        raise typer.Exit(status)


@ablate_app.command("status")
def status(spec: Spec, seeds: Seeds = None, root: Root = ROOT) -> None:
    """Say how far an ablation is, also while it runs: the state of each run, and about how long the rest will take."""
    from feelvos_lab.ablation.execute import status_text
    from feelvos_lab.ablation.spec import load_spec

    print(status_text(load_spec(spec), root=root, seeds=_seeds(seeds)))


@ablate_app.command("report")
def report(spec: Spec, seeds: Seeds = None, root: Root = ROOT) -> None:
    """Write the report from the records that are there, and print its table."""
    from feelvos_lab.ablation.spec import load_spec

    _print_report(load_spec(spec), root, _seeds(seeds))


@ablate_app.command("publish")
def publish(spec: Spec, seeds: Seeds = None, root: Root = ROOT) -> None:
    """Write the report to results/<name>/, which git tracks, in the place of the one published before.

    Every run must be ok. No other command writes there.
    """
    from feelvos_lab.ablation.report import publish
    from feelvos_lab.ablation.results import read_results
    from feelvos_lab.ablation.spec import load_spec

    _print_paths(publish(read_results(load_spec(spec), root=root, seeds=_seeds(seeds)), root=root))


@ablate_app.command("draw")
def draw(results: Annotated[Path, typer.Argument(help="Such as experiments/runs/components/report.")]) -> None:
    """Write table.tex and the pictures by clip again, from records.csv and table.csv in a results folder alone.

    `report` writes them too; this needs no runs, so it works on results that somebody else has committed.
    """
    from feelvos_lab.ablation.report import write_drawings
    from feelvos_lab.ablation.results import read_published

    for path in write_drawings(read_published(results)):
        print(path)


@ablate_app.command("compare")
def compare(
    a: Annotated[Path, typer.Argument(help="A results folder, such as experiments/results/components.")],
    b: Annotated[Path, typer.Argument(help="Another, scored on the same clips.")],
    metric: Annotated[Literal["JF", "J", "F"], typer.Option(help="What to compare.")] = "JF",
) -> None:
    """Show two results row beside row, with the paired differences B − A and their intervals."""
    from feelvos_lab.ablation.compare import compared_text
    from feelvos_lab.ablation.runs import METRIC_NAMES

    print(compared_text(a, b, column=metric, metric=METRIC_NAMES[metric]))


def _seeds(text: str | None) -> tuple[int, ...] | None:
    from feelvos_lab.ablation.spec import parse_seeds

    return None if text is None else parse_seeds(text)


def _print_report(loaded: LoadedSpec, root: Path, seeds: tuple[int, ...] | None) -> None:
    from feelvos_lab.ablation.report import write_report
    from feelvos_lab.ablation.results import read_results
    from feelvos_lab.ablation.tables import table_text

    results = read_results(loaded, root=root, seeds=seeds)
    folder = write_report(results)
    print(table_text(results))
    _print_paths(folder)


def _print_paths(folder: Path) -> None:
    from feelvos_lab.ablation.report import FIGURE, PAGE

    print(f"report: {folder / PAGE}\nfigure: {folder / FIGURE}")
