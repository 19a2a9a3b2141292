"""Draw the README's pictures again, from the first notebook.

python tests/support/readme_pictures.py FOLDER
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from few_colours import few_colours
from PIL import Image

from feelvos_lab.files.notebooks import papermill_path
from feelvos_lab.files.project import project_folder


def draw(folder: Path) -> list[Path]:
    """Run the notebook and write its two pictures to `folder/start_here/`."""
    notebook = project_folder() / "notebooks" / "00_start_here.ipynb"
    with tempfile.TemporaryDirectory() as place:
        names = [papermill_path(path) for path in (notebook, Path(place) / "00.ipynb")]
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--cwd", place, *names]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        figures, out = Path(place) / "figures", folder / "start_here"
        out.mkdir(parents=True, exist_ok=True)
        shutil.copy(figures / "00-cue-sheet.png", out)
        smaller = few_colours(Image.open(figures / "00-real-video.png").convert("RGB"))
        smaller.save(out / "00-real-video.png", optimize=True)
    return [out / "00-cue-sheet.png", out / "00-real-video.png"]


if __name__ == "__main__":
    print(*draw(Path(sys.argv[1])), sep="\n")
