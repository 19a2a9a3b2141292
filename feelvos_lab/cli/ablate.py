"""`feelvos-lab ablate …`: an ablation from its YAML file to its table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from feelvos_lab.cli.options import DataRoot

if TYPE_CHECKING:
    from feelvos_lab.ablation.spec import Spec as LoadedSpec

ablate_app = typer.Typer(help="Plan, run and report an ablation from its YAML file.", no_args_is_help=True)

ROOT = Path("experiments")


def _experiment(path: Path) -> Path:
    """The file that an argument names; a line says which, where it is not at that very path."""
    from feelvos_lab.files.project import find_experiment

    if (found := find_experiment(path, root=ROOT)) != path:
        print(f"experiment: {found}")
    return found


Spec = Annotated[
    Path,
    typer.Argument(help="The ablation's YAML file, or the name of a published one.", callback=_experiment),
]


def _results(path: Path) -> Path:
    from feelvos_lab.files.project import find_results

    if (found := find_results(path)) != path:
        print(f"results: {found}")
    return found


Results = Annotated[
    Path,
    typer.Argument(
        help="A results folder, such as experiments/runs/components/report, or the name of published results.",
        callback=_results,
    ),
]

Seeds = Annotated[str | None, typer.Option(help="3 for 0, 1, 2, or a list such as 0,4. Default: the file's.")]

Networks = Annotated[
    Path | None,
    typer.Option(help="Folder of checkpoints <row>-s<seed>.safetensors: score them instead of training."),
]

Root = Annotated[Path, typer.Option(help="Folder of runs and results.")]

# Without the address a worker's web server, which --no-dashboard leaves on, would listen on all addresses.
PRIVATE = "--no-dashboard --dashboard-address 127.0.0.1:0"


@ablate_app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Name of the experiment and its file, such as my-idea.")],
    root: Annotated[Path, typer.Option(help="Folder for the file.")] = ROOT,
) -> None:
    """Write a commented template of an experiment file; an existing file is not overwritten."""
    from feelvos_lab.ablation.spec import write_template

    path = write_template(name, root=root)
    print(f"{path}: edit it, then feelvos-lab ablate plan {path}")


@ablate_app.command("plan")
def plan(
    spec: Spec, seeds: Seeds = None, data_root: DataRoot = None, networks: Networks = None, root: Root = ROOT
) -> None:
    """Check the file, and the data set if its folder is given, and list the runs with their states; nothing starts."""
    from feelvos_lab.ablation import runs as planning
    from feelvos_lab.ablation.execute import check_data, check_networks
    from feelvos_lab.ablation.spec import load_spec

    loaded = load_spec(spec)
    check_networks(loaded)
    if data_root is not None:
        check_data(loaded, data_root)
    for planned in planning.plan(loaded, seeds=_seeds(seeds), root=root, networks=networks):
        print(f"{planned.state:8}{planned.name:40}{planned.folder}")


@ablate_app.command("run")
def run_(
    spec: Spec,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Runs in parallel. They divide the cores, and the GPUs of CUDA_VISIBLE_DEVICES; one GPU is shared. "
            "Default: 2 on two cores.",
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Address of a dask scheduler, such as tcp://127.0.0.1:8786, whose workers execute the runs."),
    ] = None,
    deterministic: Annotated[
        bool,
        typer.Option("--deterministic", help="Bitwise reproducible runs, one thread each; not with --scheduler."),
    ] = False,
    seeds: Seeds = None,
    only: Annotated[list[str] | None, typer.Option(help="Make the runs of this row alone; may be repeated.")] = None,
    retries: Annotated[int, typer.Option(min=0, max=100, help="Make failed runs so many times again.")] = 0,
    timeout: Annotated[float | None, typer.Option(min=1, help="End a run after so many seconds.")] = None,
    data_root: DataRoot = None,
    networks: Networks = None,
    root: Root = ROOT,
) -> None:
    """Execute the missing runs, then write the report and print its table."""
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
        data_root=data_root,
        networks=networks,
        only=only or (),
        retries=retries,
        timeout=timeout,
        progress=print,
    )
    _print_report(
        loaded, root, chosen, networks
    )  # plans again: by default the report has the seeds of earlier sweeps too
    if any(planned.state != "ok" for planned in runs if not only or planned.variant.name in only):
        raise typer.Exit(1)


@ablate_app.command("scheduler")
def scheduler(
    host: Annotated[
        str, typer.Option(help="Address to listen on. One that other computers reach lets them run code here.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free port.")] = 8786,
    dashboard: Annotated[int, typer.Option(min=0, max=65535, help="Port of the dashboard; 0: a free port.")] = 8787,
) -> None:
    """Run a dask scheduler for `ablate run --scheduler`, by default reachable from this computer only.

    Start a worker for each run at a time: on a computer with several GPUs one for each, with its number in
    CUDA_VISIBLE_DEVICES.
    """
    from feelvos_lab.ablation.dask_cluster import is_this_computer, open_scheduler

    if not is_this_computer(host):
        print(f"anyone who reaches {host}:{port} can run code as you: dask has no password")
    print(f"workers: dask worker tcp://{host}:{port} --host ADDRESS --nthreads 1 {PRIVATE}")
    print("with several GPUs, one worker for each: put CUDA_VISIBLE_DEVICES=0, 1, … before the command")
    if status := open_scheduler(host=host, port=port, dashboard=dashboard):
        raise typer.Exit(status)


@ablate_app.command("status")
def status(spec: Spec, seeds: Seeds = None, networks: Networks = None, root: Root = ROOT) -> None:
    """Print the state of each run and the estimated time left, also while an ablation runs."""
    from feelvos_lab.ablation.execute import status_text
    from feelvos_lab.ablation.spec import load_spec

    print(status_text(load_spec(spec), root=root, seeds=_seeds(seeds), networks=networks))


@ablate_app.command("report")
def report(spec: Spec, seeds: Seeds = None, networks: Networks = None, root: Root = ROOT) -> None:
    """Write the report from the existing records, and print its table."""
    from feelvos_lab.ablation.spec import load_spec

    _print_report(load_spec(spec), root, _seeds(seeds), networks)


@ablate_app.command("publish")
def publish(spec: Spec, seeds: Seeds = None, networks: Networks = None, root: Root = ROOT) -> None:
    """Write the report to results/<name>/, which git tracks; every run must be ok.

    It replaces the report published before. No other command writes there.
    """
    from feelvos_lab.ablation.report import publish
    from feelvos_lab.ablation.results import read_results
    from feelvos_lab.ablation.spec import load_spec

    _print_paths(publish(read_results(load_spec(spec), root=root, seeds=_seeds(seeds), networks=networks), root=root))


@ablate_app.command("draw")
def draw(results: Results) -> None:
    """Write table.tex and the figures by clip from records.csv and table.csv in a results folder.

    `report` writes them too; this command needs no runs, only the committed results.
    """
    from feelvos_lab.ablation.report import write_drawings
    from feelvos_lab.ablation.results import read_published

    for path in write_drawings(read_published(results)):
        print(path)


@ablate_app.command("export")
def export(
    out: Annotated[Path, typer.Option(help="The CSV file to write; replaced if it is there.")],
    specs: Annotated[list[Path] | None, typer.Argument(help="Experiment files. Default: all of ROOT.")] = None,
    root: Root = ROOT,
) -> None:
    """Write one flat CSV of all runs of several experiments: a line each, with state, scores and settings."""
    from feelvos_lab.ablation.export import write_runs

    named = [_experiment(path) for path in specs or sorted(root.glob("*.yml"))]
    print(f"{out}: {write_runs(named, out, root=root)} runs")


@ablate_app.command("compare")
def compare(
    a: Results,
    b: Results,
    metric: Annotated[Literal["JF", "J", "F"], typer.Option(help="The measure to compare.")] = "JF",
) -> None:
    """Print two results on the same clips row by row, with the paired differences B − A and their intervals."""
    from feelvos_lab.ablation.compare import compared_text
    from feelvos_lab.ablation.runs import METRIC_NAMES

    print(compared_text(a, b, column=metric, metric=METRIC_NAMES[metric]))


def _seeds(text: str | None) -> tuple[int, ...] | None:
    from feelvos_lab.ablation.spec import parse_seeds

    return None if text is None else parse_seeds(text)


def _print_report(loaded: LoadedSpec, root: Path, seeds: tuple[int, ...] | None, networks: Path | None = None) -> None:
    from feelvos_lab.ablation.report import write_report
    from feelvos_lab.ablation.results import read_results
    from feelvos_lab.ablation.tables import table_text

    results = read_results(loaded, root=root, seeds=seeds, networks=networks)
    if results.records:  # before anything is drawn, which may fail
        print(table_text(results), flush=True)
    _print_paths(write_report(results))


def _print_paths(folder: Path) -> None:
    from feelvos_lab.ablation.report import FIGURE, PAGE

    print(f"report: {folder / PAGE}\nfigure: {folder / FIGURE}")
