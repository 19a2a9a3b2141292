"""Worker process: make one run, by executing its notebook with papermill.

    python -m feelvos_lab.ablation.worker RUN_FOLDER PARENT [HELD]

RUN_FOLDER holds plan.json. PARENT is the process that waits for the run; the worker ends when it is gone. HELD is the
descriptor of the folder's lock file, which worker and kernel both lock, or -1 where a process cannot inherit a lock
(Windows): then the worker locks the file itself. The file is removed when the run has ended, successfully or not, so
one that is left shows that the run's processes were killed. Each run has a process of its own, since papermill changes
process-wide state and a kernel that dies must not affect other runs.
"""

from __future__ import annotations

import ast
import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from feelvos_lab.errors import LabError, reporting
from feelvos_lab.files.atomic import read_json, write_json
from feelvos_lab.files.lock import INHERITED, acquire, release
from feelvos_lab.files.memory import available_memory, peak_memory_of_ended
from feelvos_lab.files.notebooks import papermill_path
from feelvos_lab.files.sockets import socket_folder

PLAN, NOTEBOOK, FAILURE, LOG = "plan.json", "notebook.ipynb", "failed.json", "log.txt"

UNFINISHED = ".run.lock"  # locked while the run is made; left behind where its processes were killed

HANDED_OVER = 30.0  # seconds that the parent may take to give up the lock that the worker cannot inherit

_LESS_MEMORY = (
    "fewer runs at a time (--workers) share it, and a smaller batch_size or height in the experiment's file takes less"
)


def check_injection(parameters: dict[str, Any]) -> None:
    """Raise LabError where papermill would inject another value, such as text for a tuple."""
    injected = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(_papermill().translators.PythonTranslator.codify(parameters)).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for name, value in parameters.items():
        if name not in injected or repr(injected[name]) != repr(value):
            raise LabError(f"{name} = {value!r} would reach the notebook as {injected.get(name)!r}")


def execute(folder: Path, *, held: int | None = None) -> None:
    """Execute the planned notebook into `folder/notebook.ipynb`. The kernel inherits the descriptor `held`."""
    papermill = _papermill()
    from jupyter_client.manager import AsyncKernelManager

    planned = read_json(folder / PLAN)
    check_injection(planned["parameters"])
    # Sockets in a folder, since parallel kernels that pick TCP ports at the same moment collide ("Address already in
    # use"). Windows has TCP ports alone.
    place = None if sys.platform == "win32" else socket_folder("feelvos-12345678/kernel-1")
    with tempfile.TemporaryDirectory(prefix="feelvos-", dir=place, ignore_cleanup_errors=True) as sockets:
        # Start-up files of the user would run in the kernel, and could change what is measured.
        os.environ["IPYTHONDIR"] = f"{sockets}/ipython"
        os.environ.pop("PYTHONSTARTUP", None)
        if folders := planned.get("imports"):  # so that the modules that count are found, wherever this was started
            others = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
            os.environ["PYTHONPATH"] = os.pathsep.join([*folders, *others])

        class SocketKernelManager(AsyncKernelManager):
            def __init__(self, **settings: Any) -> None:
                super().__init__(**settings)
                if sys.platform != "win32":
                    self.transport, self.ip = "ipc", f"{sockets}/kernel"
                self.connection_file = f"{sockets}/kernel.json"

            async def start_kernel(self, **settings: Any) -> None:
                await super().start_kernel(**settings | ({"pass_fds": (held,)} if held and INHERITED else {}))

        papermill.execute_notebook(
            papermill_path(planned["notebook"]),
            papermill_path(folder / NOTEBOOK),
            parameters=planned["parameters"],
            kernel_name="python3",
            language="python",  # some editors write notebooks that name none
            kernel_manager_class=SocketKernelManager,
            progress_bar=False,
            start_timeout=120,
        )


def _papermill() -> Any:
    """The package papermill, imported without an optional dependency of jsonschema that takes two seconds to import."""
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    import papermill
    import papermill.translators

    return papermill


def _memory_text() -> str:
    """What the kernel, which has ended, took at most, and what the machine has now."""
    peak = peak_memory_of_ended()
    taken = "" if peak is None else f"it had taken {peak / 2**20:.0f} MB at most, and "
    return f"out of memory? {taken}{available_memory() / 2**20:.0f} MB are available now that it has ended"


def _end_with_parent(parent: int) -> None:
    """End this process when the one that started it is gone, so that no run continues unnoticed."""
    with contextlib.suppress(psutil.NoSuchProcess):  # it is gone already
        process = psutil.Process(parent)  # knows when it began: its number may be given to another one
        # On Windows the parent of a Python in a virtual environment is that environment's launcher.
        while process.is_running() and (sys.platform == "win32" or os.getppid() == parent):
            time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def main(folder: Path, parent: int, held: int | None = None) -> int:
    """Make the run in `folder`; returns 1 and writes `failed.json` if a cell raised or the disk is full."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # so that the sockets are removed
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    if held is not None and not INHERITED:
        held = acquire(folder / UNFINISHED, f"making the run {folder}", patience=HANDED_OVER)
    papermill = _papermill()
    from nbclient.exceptions import DeadKernelError

    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel, not one in the user's home
    failure = None
    try:
        with reporting(f"the page {folder / NOTEBOOK} cannot be written"):
            execute(folder, held=held)
    except papermill.PapermillExecutionError as error:
        message = next((line for line in str(error.evalue).splitlines() if line.strip()), "")
        if error.ename == "OutOfMemoryError" or "CUDA error: out of memory" in message:
            failure = f"the GPU is out of memory: {_LESS_MEMORY}"
        elif error.ename in ("MemoryError", "_ArrayMemoryError") or "DefaultCPUAllocator" in message:
            failure = f"out of memory ({message}); {_LESS_MEMORY}"
        else:
            failure = f"{error.ename}: {message}".removeprefix("LabError: ")
    except DeadKernelError:
        failure = f"the kernel died ({_memory_text()}); {_LESS_MEMORY}"
    except LabError as error:
        failure = str(error)
    if failure is not None:
        write_json(folder / FAILURE, {"error": failure})
    if held is not None:
        release(folder / UNFINISHED, held)
    return 0 if failure is None else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
