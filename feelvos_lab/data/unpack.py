"""A zip archive from elsewhere, unpacked without trust in what it says."""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from pathlib import Path

from feelvos_lab.errors import LabError

CHUNK = 1 << 20
MAX_UNPACKED = 8 << 30
MAX_ENTRIES = 50_000


def unpack(file: Path, folder: Path, *, top: str) -> None:
    """Write the files that an archive holds below its folder `top` into `folder`.

    All names are looked at before the first file is written. Rights and times are those of new files; __MACOSX, which
    Finder adds, is left out.

    Args:
        folder: must exist, and be removed by the caller where this fails.

    Raises:
        LabError: an archive that is damaged or encrypted; a name twice or outside `top`; a link or a device; more than
            MAX_ENTRIES entries or MAX_UNPACKED bytes; a file that cannot be written.
    """
    try:
        with zipfile.ZipFile(file) as opened:
            _unpack(opened, file, folder, top)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise LabError(f"{file} is no whole zip archive: {error}; remove it to download it again") from error
    except OSError as error:
        raise LabError(f"cannot unpack {file}: {error.strerror or error}") from error


def _unpack(opened: zipfile.ZipFile, file: Path, folder: Path, top: str) -> None:
    entries = [(info, _below(top, info, file)) for info in opened.infolist() if not _finder(info)]
    files = [(info, parts) for info, parts in entries if not info.is_dir()]
    # ZipFile gives at most file_size bytes of an entry, so that the declared sizes bound what is written.
    if (size := sum(info.file_size for info, _ in files)) > MAX_UNPACKED or len(entries) > MAX_ENTRIES:
        raise LabError(
            f"{file} holds {len(entries):,} entries of {size:,} bytes, at most {MAX_ENTRIES:,} entries of "
            f"{MAX_UNPACKED:,} bytes were expected"
        )
    seen: set[tuple[str, ...]] = set()
    for info, parts in files:
        if parts in seen:
            raise LabError(f"{file} holds {info.filename!r} twice")
        seen.add(parts)
    for info, parts in files:
        target = folder.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(info) as source, target.open("xb") as written:
            while block := source.read(CHUNK):
                written.write(block)


def _finder(info: zipfile.ZipInfo) -> bool:
    return info.filename.startswith("__MACOSX/")


def _below(top: str, info: zipfile.ZipInfo, file: Path) -> tuple[str, ...]:
    """The path of an entry below the leading folder."""
    name, kind = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
    parts = tuple(name.removesuffix("/").split("/"))
    if parts[0] != top or re.search(r"[\\:\0]", name) or {"", ".", ".."} & set(parts):
        raise LabError(f"{file} holds {name!r}, which does not lie in its folder {top}/")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise LabError(f"{file} holds {name!r}, which is a link or a device and not a file")
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise LabError(f"{file} holds {name!r}, which is encrypted or not packed by deflate")
    if len(parts) == 1 and not info.is_dir():
        raise LabError(f"{file} holds a file {name!r} where its folder was expected")
    return parts[1:]
