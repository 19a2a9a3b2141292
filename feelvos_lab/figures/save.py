"""Save a figure as PNG and PDF, with a JSON file that records how it was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import complete_file, is_device
from feelvos_lab.files.provenance import environment

_made_with: dict[str, Any] = {}  # preset, seed and checkpoint of this process's figures: set by `lab`


def save_figure(fig: Figure, name: str, *, folder: Path | str = "figures", **parameters: Any) -> Figure:
    """Write `<folder>/<name>.png` (150 dpi), `.pdf` (vector text and lines, pictures at 300 dpi) and `.json`.

    The JSON holds `parameters`, the preset and seed of `lab.begin`, the SHA-256 of the loaded checkpoint (null without
    one), versions, the project's commit and whether its files were changed since (null outside a repository). All
    three files are written before the first is moved into place, the JSON last: without one, saving was interrupted.

    Args:
        name: such as "03-global-map"; letters, digits, dots, hyphens and underscores.
        parameters: what is needed to make the figure again, as JSON; other values are written as text.

    Returns the figure, so that a cell which ends with this call shows it. LabError: a folder that cannot be written.

    Example:
        >>> from pathlib import Path
        >>> from matplotlib.figure import Figure
        >>> from feelvos_lab.figures.save import save_figure
        >>> figure = save_figure(Figure(figsize=(3.35, 2.2)), "06-loss", learning_rate=0.1)
        >>> sorted(path.name for path in Path("figures").iterdir())
        ['06-loss.json', '06-loss.pdf', '06-loss.png']
    """
    if not name or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
        raise LabError(f"a figure's name must be such as '03-global-map', got {name!r}")
    if is_device(name):
        raise LabError(f"a figure's name must not be a device's on Windows, got {name!r}")
    made_with = {"preset": None, "seed": None, "checkpoint_sha256": None, **_made_with}
    found = environment()
    code = {key: found[key] for key in ("commit", "dirty", "versions")}
    notes = {"name": name, "parameters": parameters, **made_with, **code}
    png, pdf, described = (Path(folder) / f"{name}.{ending}" for ending in ("png", "pdf", "json"))
    with complete_file(described) as last, complete_file(pdf) as drawn, complete_file(png) as picture:
        fig.savefig(picture, dpi=150)
        fig.savefig(drawn, dpi=300, metadata={"CreationDate": None})
        last.write_text(json.dumps(notes, indent=1, default=str) + "\n", encoding="utf-8")
        described.unlink(missing_ok=True)  # an older figure's: it must not stand next to the new pictures
    return fig
