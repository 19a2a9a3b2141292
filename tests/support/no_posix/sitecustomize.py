"""On a path that Python searches at its start: shows `feelvos_lab`, and it alone, a system like Windows.

Its modules, and the code cells of notebooks, import stand-ins: `os`, `signal`, `socket`, `subprocess` and `sys` without
what POSIX has and Windows lacks, `msvcrt` with Windows' locks, `psutil` with Windows' peak of memory. `fcntl`,
`resource` and the like are missing. Other packages see the system as it is, since it is.
"""

import builtins
import errno
import os
import struct
import sys
import types

if sys.platform == "linux":  # elsewhere nothing is hidden
    import fcntl

POSIX_ONLY = frozenset(("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"))

LACKING = {
    "os": (
        *("O_CLOEXEC", "O_DIRECTORY", "O_DSYNC", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "WEXITSTATUS", "WNOHANG"),
        *("chown", "fchmod", "fork", "forkpty", "getegid", "geteuid", "getgid", "getgroups", "getloadavg", "getpgid"),
        *("getpriority", "getsid", "getuid", "initgroups", "killpg", "mkfifo", "mknod", "nice", "openpty"),
        *("pidfd_open", "posix_fallocate", "posix_spawn", "pread", "preadv", "pwrite", "register_at_fork"),
        *("sched_getaffinity", "sched_setaffinity", "sched_yield", "sendfile", "setpgid", "setsid", "setuid"),
        *("statvfs", "sysconf", "tcgetpgrp", "uname", "wait", "wait3", "wait4", "waitid"),
    ),
    "signal": (
        *("ITIMER_REAL", "SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP"),
        *("SIGTSTP", "SIGUSR1", "SIGUSR2", "SIG_BLOCK", "SIG_SETMASK", "SIG_UNBLOCK", "alarm", "pause"),
        *("pthread_kill", "pthread_sigmask", "setitimer", "siginterrupt", "sigpending", "sigwait"),
    ),
    "socket": ("AF_UNIX", "CMSG_LEN", "SCM_RIGHTS", "recv_fds", "send_fds"),
}


class StandIn(types.ModuleType):
    """A module with some other attributes, and without some of its own."""

    def __init__(self, real: types.ModuleType, lacking: tuple[str, ...] = (), **others: object) -> None:
        vars(self).update(_real=real, _lacking=frozenset(lacking), _others=others)

    def __getattribute__(self, name: str) -> object:
        if name in ("__class__", "__dict__"):
            return object.__getattribute__(self, name)
        held = object.__getattribute__(self, "__dict__")
        if name in held["_lacking"]:
            raise AttributeError(f"module {held['_real'].__name__!r} has no attribute {name!r} on this system")
        return held["_others"][name] if name in held["_others"] else getattr(held["_real"], name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self.__dict__["_real"], name, value)


def _replace(old: object, new: object) -> None:
    """Windows renames nothing over a folder."""
    if os.path.isdir(new):
        raise PermissionError(errno.EACCES, "Access is denied", str(new))
    os.replace(old, new)


def _locking(file: int, how: int, count: int) -> None:
    """Lock or unlock `count` bytes from the file's position on, for this open file alone."""
    begin = os.lseek(file, 0, os.SEEK_CUR)
    readable_only = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY  # POSIX: no write lock for it
    lock = fcntl.F_RDLCK if readable_only else fcntl.F_WRLCK
    kind = lock if how == MSVCRT.LK_NBLCK else fcntl.F_UNLCK
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, begin, count, 0))
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        raise PermissionError(errno.EACCES, "Permission denied") from None


MSVCRT = types.ModuleType("msvcrt")
MSVCRT.LK_NBLCK, MSVCRT.LK_UNLCK, MSVCRT.locking = 2, 0, _locking


def _stand_in(name: str) -> types.ModuleType | None:
    if name == "msvcrt":
        return MSVCRT
    real = sys.modules.get(name)
    if name == "sys":
        return StandIn(real, platform="win32")
    if name == "os":
        return StandIn(real, LACKING["os"], name="nt", replace=_replace)
    if name in LACKING:
        return StandIn(real, LACKING[name])
    if name == "subprocess":
        return StandIn(real, Popen=_popen(real))
    if name == "psutil":
        return StandIn(real, Process=_process(real))
    return None


def _popen(subprocess: types.ModuleType) -> type:
    class Popen(subprocess.Popen):
        def __init__(self, *arguments: object, pass_fds: tuple[int, ...] = (), **settings: object) -> None:
            if pass_fds or settings.get("preexec_fn"):
                raise ValueError("neither pass_fds nor preexec_fn is supported on Windows")
            super().__init__(*arguments, **settings)

    return Popen


def _process(psutil: types.ModuleType) -> type:
    class Process(psutil.Process):
        def memory_info(self) -> types.SimpleNamespace:
            return types.SimpleNamespace(peak_wset=super().memory_info().rss)

    return Process


def _import(name: str, globals: dict | None = None, locals: dict | None = None, fromlist: tuple = (), level: int = 0):
    importer = (globals or {}).get("__name__") or ""
    if importer.partition(".")[0] not in ("feelvos_lab", "__main__") or level:
        return REAL_IMPORT(name, globals, locals, fromlist, level)
    if name in POSIX_ONLY:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    if name == "msvcrt":
        return MSVCRT
    found = REAL_IMPORT(name, globals, locals, fromlist, level)
    if name not in STAND_INS:
        STAND_INS[name] = _stand_in(name)
    return STAND_INS[name] or found


REAL_IMPORT, STAND_INS = builtins.__import__, {}
if __name__ == "sitecustomize":  # not where a test imports it to read LACKING
    builtins.__import__ = _import
