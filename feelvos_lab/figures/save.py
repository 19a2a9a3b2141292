from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import complete_file
from feelvos_lab.files.provenance import environment

if TYPE_CHECKING:
    pass

_made_with: dict[str, Any] = {}  # what the figures of this notebook were made with: filled in by begin, train_or_load


def save_figure(fig: Figure, name: str, *, folder: Path | str = "figures", **parameters: Any) -> Figure:
    """Keep a figure as `figures/<name>.png` (150 dpi), `.pdf` and `.json` in the current folder, a notebook's own.

    In the PDF letters and lines are drawn, and pictures have 300 dpi. All three are written before one takes its place,
    the JSON last: a figure beside which there is none was interrupted.

    The JSON holds the parameters, the preset and seed of `begin`, the sha256 of the model that `train_or_load` gave
    (null without one), the project's commit, and whether its files differ from that (null outside a repository).

    Args:
        name: such as "03-global-map"; letters, digits, dots, hyphens and underscores.
        folder: another place for the three files.
        parameters: whatever one needs to make the figure again.

    Returns:
        The figure itself, so that a cell which ends with this call shows it.

    Raises:
        LabError: a name that is no file name, or a folder that cannot be written.
    """
    if not name or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
        raise LabError(f"a figure's name must be such as '03-global-map', got {name!r}")
    made_with = {"preset": None, "seed": None, "checkpoint_sha256": None, **_made_with}
    found = environment()
    code = {key: found[key] for key in ("commit", "dirty", "versions")}
    notes = {"name": name, "parameters": parameters, **made_with, **code}
    png, pdf, described = (Path(folder) / f"{name}.{ending}" for ending in ("png", "pdf", "json"))
    with complete_file(described) as last, complete_file(pdf) as drawn, complete_file(png) as picture:
        fig.savefig(picture, dpi=150)
        fig.savefig(drawn, dpi=300, metadata={"CreationDate": None})
        last.write_text(json.dumps(notes, indent=1, default=str) + "\n", encoding="utf-8")
        described.unlink(missing_ok=True)  # of the figure before
    return fig
