"""One run in a process of its own: execute the worker notebook with papermill, then end with its kernel.

    python -m feelvos_lab.ablation.worker RUN_FOLDER PARENT [HELD]

The folder holds plan.json. PARENT is the process that waits for the run, without which it stops. HELD is the open lock
file of the folder; kernel and process hold it until both are gone, and it is removed where the run has ended, well or
not: by nothing else can a run whose processes were killed be told from one that came to its end.

A process a run, because papermill changes process-wide state and a kernel that dies should take nothing along. The
kernel is reached through files in a folder of its own, not through TCP ports: parallel kernels that pick ports at the
same moment collide ("Address already in use").
"""

from __future__ import annotations

import ast
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import read_json, write_json
from feelvos_lab.files.notebooks import papermill_path

PLAN, NOTEBOOK, FAILURE = "plan.json", "notebook.ipynb", "failed.json"

UNFINISHED = ".run.lock"  # held while the run is made; where it is left behind, the run did not end


def check_injection(parameters: dict[str, Any]) -> None:
    """Hold papermill to its word: the cell it will inject must mean these very values and types.

    Raises:
        LabError: a value that changes on its way, such as a tuple, which would arrive as text.
    """
    translate = _papermill().translators.PythonTranslator.codify
    injected = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(translate(parameters)).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for name, value in parameters.items():
        if name not in injected or repr(injected[name]) != repr(value):
            raise LabError(f"{name} = {value!r} would reach the notebook as {injected.get(name)!r}")


def execute(folder: Path, *, held: int | None = None) -> None:
    """Run the planned notebook; its executed copy is `folder/notebook.ipynb`. The kernel holds the open file `held`.

    Raises:
        LabError: a parameter that papermill would change.
        papermill.PapermillExecutionError: a cell raised.
    """
    papermill = _papermill()
    from jupyter_client.manager import AsyncKernelManager

    planned = read_json(folder / PLAN)
    check_injection(planned["parameters"])
    with tempfile.TemporaryDirectory(prefix="feelvos-") as sockets:  # a short path: sockets allow 107 characters

        class SocketKernelManager(AsyncKernelManager):
            def __init__(self, **settings: Any) -> None:
                super().__init__(**settings)
                self.transport, self.ip = "ipc", f"{sockets}/kernel"
                self.connection_file = f"{sockets}/kernel.json"

            async def start_kernel(self, **settings: Any) -> None:
                await super().start_kernel(**settings | ({} if held is None else {"pass_fds": (held,)}))

        papermill.execute_notebook(
            papermill_path(planned["notebook"]),
            papermill_path(folder / "notebook.ipynb"),
            parameters=planned["parameters"],
            kernel_name="python3",
            kernel_manager_class=SocketKernelManager,
            progress_bar=False,
            start_timeout=120,
        )


def _papermill() -> Any:
    """The package, imported without what makes its import slow.

    jsonschema, below it, compiles a grammar of web addresses when imported: two seconds that no notebook needs. Where
    that package is not to be had it does without.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    import papermill
    import papermill.translators

    return papermill


def _end_with_parent(parent: int) -> None:
    """Stop this process when the one that started it is gone, so that no run goes on unseen."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def main(folder: Path, parent: int, held: int | None = None) -> int:
    """Execute the run in `folder`; 1 and a `failed.json` when a cell raised or the disk is full."""
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    papermill = _papermill()
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel, not one in the user's home
    failure = None
    try:
        execute(folder, held=held)
    except papermill.PapermillExecutionError as error:
        message = next((line for line in str(error.evalue).splitlines() if line.strip()), "")
        failure = f"{error.ename}: {message}".removeprefix("LabError: ")
    except LabError as error:
        failure = str(error)
    except OSError as error:  # papermill's, of the page
        failure = f"the page {folder / 'notebook.ipynb'} cannot be written: {error.strerror or error}"
    if failure is not None:
        write_json(folder / FAILURE, {"error": failure})
    if held is not None:
        (folder / UNFINISHED).unlink(missing_ok=True)
    return 0 if failure is None else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
