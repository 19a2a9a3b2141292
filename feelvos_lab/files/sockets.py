"""Where a socket's path is short enough."""

from __future__ import annotations

import os
import tempfile

from feelvos_lab.errors import LabError

LONGEST = 103  # bytes of a socket's path on macOS; 107 on Linux


def socket_folder(name: str) -> str:
    """A folder in which a socket of this name can be opened: that for temporary files, or /tmp if its path is too long.

    Args:
        name: the longest path below the folder.

    Raises:
        LabError: neither will do.

    Example:
        >>> from feelvos_lab.files.sockets import socket_folder
        >>> len(socket_folder("feelvos-12345678/kernel-1")) < 103
        True
    """
    first, most = tempfile.gettempdir(), LONGEST - 1 - len(os.fsencode(name))
    for folder in (first, "/tmp"):
        if len(os.fsencode(folder)) <= most and os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise LabError(
        f"the folder for temporary files must have a path of at most {most} bytes, so that sockets fit into it, "
        f"{first[:40]}… has {len(os.fsencode(first))}: set TMPDIR to another one"
    )
