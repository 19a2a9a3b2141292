"""Download, verify and unpack the published DAVIS archives.

An archive is not trusted: the names, kinds, number and total size of its entries are checked before any is written.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shlex
import shutil
import socket
import stat
import sys
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from torch.hub import download_url_to_file

from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import DISK, complete_folder

TOP = "DAVIS"  # the folder in which an archive holds everything; not made when it is unpacked

TIMEOUT = 60.0  # seconds without a byte from the server

MAX_UNPACKED = 8 << 30  # bytes

MAX_ENTRIES = 50_000


@dataclass(frozen=True)
class Archive:
    """Where a data set is published."""

    address: str
    year: int  # of the lists in ImageSets
    size: int | None = None  # bytes; None where it is not published
    sha256: str | None = None

    @property
    def name(self) -> str:
        return self.address.rsplit("/", 1)[-1]


_ETH = "https://data.vision.ee.ethz.ch/csergi/share/davis"

ARCHIVES = {
    # Size and checksum: TensorFlow Datasets, checksums.tsv of its `davis`.
    "davis-2017": Archive(
        f"{_ETH}/DAVIS-2017-trainval-480p.zip",
        2017,
        size=832_766_765,
        sha256="e3d0b5b77c3d031b000a19e0e25e3e2cac65d183755601bc2cf066df1a2aa492",
    ),
    "davis-2016": Archive(f"{_ETH}/DAVIS-2016-trainval-480p.zip", 2016),
}


def fetch(archive: Archive, out: Path | str, *, sha256: str | None = None, progress: Callable[[str], None]) -> str:
    """Download an archive, verify it and unpack it into `out`, which is complete afterwards or does not exist.

    A file of the archive's name next to `out` is used instead of a download, and kept. `out` also gets `source.json`:
    address, size, SHA-256, and what that was compared with.

    Args:
        out: must be new or empty.
        sha256: 64 hexadecimal digits to expect instead of the published size and checksum.

    Returns:
        The archive's SHA-256.

    Raises:
        LabError: the download failed; another size or checksum; an archive that is damaged, unsafe or no DAVIS.
    """
    out = Path(os.path.abspath(out))
    if sha256 is not None:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
            raise LabError(f"a SHA-256 has 64 hexadecimal digits, got {sha256!r}")
        archive = replace(archive, sha256=sha256.lower(), size=None)
    local = out.with_name(archive.name)
    downloaded = not local.is_file()
    # Inside the unfinished folder, so that nothing is left of a download that fails or whose process is killed.
    with complete_folder(out) as folder:
        file = _download(archive, folder / archive.name, local, progress) if downloaded else local
        try:
            record = _verified(archive, file, "the given one" if sha256 else "the published one")
            progress("{address}: {bytes:,} bytes, sha256 {sha256}, compared with {compared_with}".format(**record))
            if archive.sha256 is None:
                progress("no checksum of this archive is published: keep this one, and pass it as --sha256 next time")
            _unpack(file, folder)
            _expect_davis(archive, folder)
        except LabError as error:
            if downloaded:
                raise
            raise LabError(f"{error}; remove {local} to download it again") from error
        if downloaded:
            file.unlink()
        (folder / "source.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record["sha256"]


def _download(archive: Archive, file: Path, local: Path, progress: Callable[[str], None]) -> Path:
    progress(f"downloading {archive.address}")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)  # torch.hub sets none and would wait forever
    try:
        download_url_to_file(archive.address, str(file), progress=sys.stderr.isatty())
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()
        if getattr(error, "errno", None) in DISK:
            raise
        by_hand = shlex.join(["curl", "-C", "-", "-o", str(local), archive.address])
        raise LabError(
            f"cannot download {archive.address}: {error}; give the same command again, or "
            f"`{by_hand}` first, which resumes a broken download"
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return file


def _verified(archive: Archive, file: Path, expected: str) -> dict[str, Any]:
    """What source.json records of an archive whose size and SHA-256 are the expected ones, where any are known."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    size = file.stat().st_size
    if archive.size not in (None, size):
        raise LabError(f"{archive.name} should have {archive.size:,} bytes, it has {size:,}; nothing was unpacked")
    if archive.sha256 not in (None, digest):
        raise LabError(
            f"{archive.name} should have the SHA-256 {archive.sha256}, it has {digest}; nothing was unpacked"
        )
    compared = expected if archive.sha256 else "nothing"
    return {"address": archive.address, "bytes": size, "sha256": digest, "compared_with": compared}


def _unpack(file: Path, folder: Path) -> None:
    """Write the files that a zip archive holds into `folder`, without their permissions, times and top folder."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [info for info in archive.infolist() if not info.filename.startswith("__MACOSX/")]  # by Finder
            # ZipFile reads at most file_size bytes of an entry, so the declared sizes bound what is written.
            if (size := sum(info.file_size for info in entries)) > MAX_UNPACKED or len(entries) > MAX_ENTRIES:
                raise LabError(
                    f"{file.name} holds {len(entries):,} entries of {size:,} bytes, at most {MAX_ENTRIES:,} entries of "
                    f"{MAX_UNPACKED:,} bytes were expected"
                )
            targets: dict[Path, zipfile.ZipInfo] = {}
            spelled: dict[tuple[str, ...], tuple[str, ...]] = {}
            for info in entries:
                parts = _safe_parts(info, file.name)
                _refuse_twin(parts, spelled, file.name)
                target = folder.joinpath(*parts)
                if target in targets:
                    raise LabError(f"{file.name} holds {info.filename!r} twice")
                if not info.is_dir():
                    targets[target] = info
            for target, info in targets.items():
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, target.open("xb") as written:
                    shutil.copyfileobj(source, written)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise LabError(f"{file.name} is no whole zip archive: {error}") from error
    except OSError as error:
        if error.errno in DISK:
            raise
        raise LabError(f"cannot unpack {file.name}: {error.strerror or error}") from error


def _refuse_twin(parts: tuple[str, ...], spelled: dict[tuple[str, ...], tuple[str, ...]], archive: str) -> None:
    """Raise LabError for a path that some file systems take for another one in `spelled`; add it there.

    They do not distinguish capital letters, or a letter with an accent from the letter and the accent, and ignore
    invisible characters or dots and spaces at the end.
    """
    for length in range(1, len(parts) + 1):
        part = parts[:length]
        key = tuple(map(_folded, part))
        if (other := spelled.setdefault(key, part)) != part:
            raise LabError(f"{archive} holds {'/'.join(other)!r} and {'/'.join(part)!r}, which some disks take for one")


def _folded(name: str) -> str:
    seen = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", seen).casefold()).rstrip(". ")


def _safe_parts(info: zipfile.ZipInfo, archive: str) -> tuple[str, ...]:
    """The path of an entry below TOP, or an error where the entry is anything but a plain file or folder in it."""
    name, kind = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
    parts = tuple(name.removesuffix("/").split("/"))
    if parts[0] != TOP or re.search(r"[\\:\0]", name) or {"", ".", ".."} & set(parts):
        raise LabError(f"{archive} holds {name!r}, which does not lie in its folder {TOP}/")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise LabError(f"{archive} holds {name!r}, which is a link or a device and not a file")
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise LabError(f"{archive} holds {name!r}, which is encrypted or not packed by deflate")
    if len(parts) == 1 and not info.is_dir():
        raise LabError(f"{archive} holds a file {name!r} where its folder was expected")
    return parts[1:]


def _expect_davis(archive: Archive, folder: Path) -> None:
    """Check that `read_davis` will find what it needs; write the lists that the first DAVIS-2016 lacks."""
    listings = {split: folder / f"ImageSets/{archive.year}/{split}.txt" for split in ("train", "val")}
    for split, listing in listings.items():
        pairs = folder / f"ImageSets/480p/{split}.txt"  # a line: /JPEGImages/480p/<name>/00000.jpg <mask>
        if archive.year == 2016 and pairs.is_file() and not listing.exists():
            names = re.findall(r"^/?JPEGImages/480p/([^/\s]+)/", pairs.read_text(encoding="utf-8"), re.MULTILINE)
            listing.parent.mkdir(parents=True, exist_ok=True)
            listing.write_text("".join(f"{name}\n" for name in dict.fromkeys(names)), encoding="utf-8")
    wanted = (folder / "JPEGImages/480p", folder / "Annotations/480p", *listings.values())
    if missing := ", ".join(str(path.relative_to(folder)) for path in wanted if not path.exists()):
        raise LabError(f"{archive.name} is no DAVIS-{archive.year}: {missing} was expected below {TOP}/")
