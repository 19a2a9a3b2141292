"""Where the notebooks, the experiments and their published results are: in a clone, or in the installed package.

A wheel holds `notebooks/` and `experiments/` inside the package (`pyproject.toml` says what of them), so that commands
work in any folder.
"""

from __future__ import annotations

import os
from pathlib import Path

import feelvos_lab

PACKAGE = Path(feelvos_lab.__file__).parent


def is_installed() -> bool:
    """Whether the package was installed from a wheel; False: it is used from a clone."""
    return (PACKAGE / "notebooks").is_dir()


def project_folder() -> Path:
    """The folder that holds `notebooks/` and `experiments/`.

    Example:
        >>> from feelvos_lab.files.project import project_folder
        >>> (project_folder() / "experiments" / "smoke.yml").is_file()
        True
    """
    return PACKAGE if is_installed() else PACKAGE.parent


def find_experiment(path: Path, *, root: Path = Path("experiments")) -> Path:
    """The experiment file at `path`; if there is none, the one of that name in `root`, or the project's own.

    `smoke`, `smoke.yml` and `experiments/smoke.yml` all name the project's. Any other path is returned as it is.
    """
    if path.is_file() or path.suffix not in ("", ".yml") or path.parent not in (Path(), Path("experiments")):
        return path
    name = f"{path.stem}.yml"
    places = [root / name, project_folder() / "experiments" / name]
    return next((place for place in places if place.is_file()), path)


def find_results(folder: Path) -> Path:
    """The folder of results at this path; if there is none, the project's own of that name.

    `components` and `experiments/results/components` both name the project's. Any other path is returned as it is.
    """
    if folder.is_dir() or folder.parent not in (Path(), Path("experiments", "results")):
        return folder
    published = project_folder() / "experiments" / "results" / folder.name
    return published if published.is_dir() else folder


def relative_path(path: Path | str, start: Path | str = ".") -> str:
    """The way to `path` from the folder `start`, with slashes; the whole path if they are on two drives of Windows."""
    try:
        return Path(os.path.relpath(path, start)).as_posix()
    except ValueError:
        return Path(path).absolute().as_posix()
