"""A zip archive from elsewhere, unpacked without trust in what it says.

The published archive of a data set: downloaded, compared with its checksum, unpacked where `davis.py` reads it.

The archive comes to `<name>.zip.part` beside the output folder. A broken download goes on from there (RFC 9110: Range,
guarded by If-Range with the validator that `<name>.zip.part.json` keeps). An archive that lies beside the output as
`<name>.zip`, brought there by other means, is used in place of a download.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from feelvos_lab.errors import LabError
from feelvos_lab.files.atomic import complete_file, complete_folder, refuse_occupied

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


CHUNK = 1 << 20

MAX_DOWNLOAD = 4 << 30


@dataclass(frozen=True)
class Archive:
    """Where a data set is published.

    Attributes:
        year: of the lists in ImageSets.
        size: bytes, None where nobody has published it; so too `sha256`.
        top: the archive's leading folder, left out when it is unpacked.
    """

    address: str
    year: int
    size: int | None = None
    sha256: str | None = None
    top: str = "DAVIS"

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
    """Download an archive, or go on with it, verify it, and unpack it into a folder that is complete or not there.

    The folder also gets `source.json`: address, size, SHA-256, and what that was compared with. What was downloaded is
    removed in the end; an archive that lay there is left.

    Args:
        out: must be new or empty.
        sha256: 64 hexadecimal digits to expect in place of the published size and checksum.
        progress: told a sentence at a time.

    Returns:
        the archive's SHA-256.

    Raises:
        LabError: `out` is occupied; no answer, a refusal or a broken connection; a size or checksum other than the
            expected one; an archive that is damaged, that reaches out of its folder, or that is no DAVIS.
    """
    out = Path(os.path.abspath(out))
    refuse_occupied(out)
    if sha256 is not None:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
            raise LabError(f"a SHA-256 has 64 hexadecimal digits, got {sha256!r}")
        archive = replace(archive, sha256=sha256.lower(), size=None)
    compared = "the given one" if sha256 else "the published one" if archive.sha256 else "nothing"
    brought = out.with_name(archive.name)
    file = brought if brought.is_file() else _download(archive, brought, progress)
    digest = _verified(archive, file)
    progress(f"{file.name}: {file.stat().st_size:,} bytes, sha256 {digest}, compared with {compared}")
    if archive.sha256 is None:
        progress("no checksum of this archive is published: keep this one, and pass it as --sha256 the next time")
    with complete_folder(out) as folder:
        unpack(file, folder, top=archive.top)
        _expect_davis(archive, file, folder)
        record = {
            "address": archive.address,
            "bytes": file.stat().st_size,
            "sha256": digest,
            "compared_with": compared,
        }
        (folder / "source.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if file != brought:
        file.unlink()
        _note(file).unlink()
    return digest


def _download(archive: Archive, brought: Path, progress: Callable[[str], None]) -> Path:
    """The file that holds the whole archive, after as much of a download as was still needed."""
    part = brought.with_name(f"{brought.name}.part")
    note = _read_note(part, archive.address)
    done = part.stat().st_size if part.is_file() and note["validator"] else 0
    if done and done == note["bytes"]:
        return part
    headers = {"Range": f"bytes={done}-", "If-Range": note["validator"]} if done else {}
    try:
        with urlopen(Request(archive.address, headers=headers), timeout=60) as answer:
            resumed = answer.status == 206
            came = _validator(answer.headers)
            total = _total(answer.headers, resumed=resumed)
            begins = (answer.headers.get("Content-Range") or "").startswith(f"bytes {done}-")
            if resumed and not (begins and came in (None, note["validator"]) and total in (None, note["bytes"])):
                part.unlink()
                raise LabError(
                    f"{archive.address} went on with another file than the one begun: give the same command again, "
                    "it starts anew"
                )
            _refuse_size(archive, total)
            if not resumed:
                _begin(part, {"address": archive.address, "validator": came, "bytes": total})
                done = 0
            progress(f"{archive.address}: {'going on from' if resumed else 'starting at'} byte {done:,}")
            with _opened(part) as file:
                done = _receive(answer, file, done=done, total=total, progress=progress)
    except HTTPError as error:
        error.close()
        if error.code == 416:
            part.unlink(missing_ok=True)
            raise LabError(
                f"{archive.address} is shorter than what was kept of it: give the same command again, it starts anew"
            ) from error
        raise LabError(f"{_elsewhere(archive, brought)}: the server answered {error.code} {error.reason}") from error
    except (URLError, http.client.HTTPException, OSError) as error:
        raise LabError(f"{_elsewhere(archive, brought)}: {getattr(error, 'reason', None) or error}") from error
    if total is not None and done != total:
        how = "it goes on from there" if note["validator"] or came else "it starts anew, since the server names no ETag"
        raise LabError(
            f"the connection to {archive.address} broke after {done:,} of {total:,} bytes: give the same command "
            f"again, {how}"
        )
    return part


def _receive(
    answer: http.client.HTTPResponse, file: IO[bytes], *, done: int, total: int | None, progress: Callable[[str], None]
) -> int:
    """Bytes in the file when the answer ends, be it whole or, where its length was told, broken off."""
    told, whole = done, False
    while not whole:
        try:
            block = answer.read(CHUNK)
            whole = not block
        except (OSError, http.client.HTTPException) as error:
            if total is None:
                raise
            block, whole = getattr(error, "partial", b""), True
        done += len(block)
        if done > MAX_DOWNLOAD:
            raise LabError(f"the server sends more than {MAX_DOWNLOAD:,} bytes")
        try:
            file.write(block)
        except OSError as error:
            raise LabError(f"cannot write {file.name}: {error.strerror or error}") from error
        if done - told >= 50 * CHUNK:
            told = done
            progress(f"{done:,}{f' of {total:,}' if total else ''} bytes")
    return done


def _opened(path: Path) -> IO[Any]:
    try:
        return path.open("ab")
    except OSError as error:
        raise LabError(f"cannot write {path}: {error.strerror or error}") from error


def _begin(part: Path, note: dict[str, Any]) -> None:
    """Forget what was kept before its new note is written, so that the two never disagree."""
    part.unlink(missing_ok=True)
    with complete_file(_note(part)) as file:
        file.write_text(json.dumps(note), encoding="utf-8")


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_note(part: Path, address: str) -> dict[str, Any]:
    """What is known of the begun download; a note that is missing, damaged or of another address begins it anew."""
    nothing = {"address": address, "validator": None, "bytes": None}
    try:
        note = json.loads(_note(part).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return nothing
    known = isinstance(note, dict) and note.keys() == nothing.keys() and note["address"] == address
    return note if known else nothing


def _validator(headers: http.client.HTTPMessage) -> str | None:
    """What If-Range may carry: a strong ETag, or else the date."""
    etag = headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")


def _total(headers: http.client.HTTPMessage, *, resumed: bool) -> int | None:
    text = (headers.get("Content-Range") or "").rpartition("/")[2] if resumed else headers.get("Content-Length") or ""
    return int(text) if text.isdecimal() else None


def _refuse_size(archive: Archive, size: int | None) -> None:
    if size is not None and archive.size is not None and size != archive.size:
        raise LabError(f"{archive.name} should have {archive.size:,} bytes, it has {size:,}")
    if size is not None and size > MAX_DOWNLOAD:
        raise LabError(f"{archive.address} has {size:,} bytes, at most {MAX_DOWNLOAD:,} were expected")


def _verified(archive: Archive, file: Path) -> str:
    """The SHA-256 of the file, which is the expected one where one is known."""
    hashed = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(CHUNK):
            hashed.update(block)
    digest = hashed.hexdigest()
    try:
        _refuse_size(archive, file.stat().st_size)
        if archive.sha256 not in (None, digest):
            raise LabError(f"{archive.name} should have the SHA-256 {archive.sha256}, it has {digest}")
    except LabError as error:
        raise LabError(f"{error}; nothing was unpacked, remove {file} to download it again") from None
    return digest


def _expect_davis(archive: Archive, file: Path, folder: Path) -> None:
    """Refuse what `read_davis` could not find its way in."""
    lists = folder / f"ImageSets/{archive.year}"
    for split in ("train", "val"):
        paired = folder / f"ImageSets/480p/{split}.txt"
        if archive.year == 2016 and paired.is_file() and not (lists / f"{split}.txt").exists():
            _list_sequences(paired, lists / f"{split}.txt")
    parts = ("JPEGImages/480p", "Annotations/480p", *(f"ImageSets/{archive.year}/{s}.txt" for s in ("train", "val")))
    if missing := [part for part in parts if not (folder / part).exists()]:
        raise LabError(f"{file} is no DAVIS-{archive.year}: {', '.join(missing)} was expected below {archive.top}/")


def _list_sequences(paired: Path, listing: Path) -> None:
    """Write the names from a list of DAVIS-2016's first release: /JPEGImages/480p/<name>/00000.jpg <mask> a line."""
    lines = paired.read_text(encoding="utf-8").splitlines()
    names = [words[0].strip("/").split("/")[-2] for line in lines if (words := line.split()) and "/" in words[0][1:]]
    listing.parent.mkdir(parents=True, exist_ok=True)
    listing.write_text("".join(f"{name}\n" for name in dict.fromkeys(names)), encoding="utf-8")


def _elsewhere(archive: Archive, brought: Path) -> str:
    return (
        f"cannot download {archive.address} (fetch it by other means, put it at {brought} and give the same command "
        "again)"
    )
