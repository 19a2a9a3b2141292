"""A data set is fetched whole, and refused when it is not what was published."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import stat
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from PIL import Image

from feelvos_lab.cli import main as cli
from feelvos_lab.data import download
from feelvos_lab.data.davis import read_davis
from feelvos_lab.data.download import Archive, fetch
from feelvos_lab.data.images import write_mask
from feelvos_lab.errors import LabError

NAME = "DAVIS-2017-trainval-480p.zip"


class Server(ThreadingHTTPServer):
    """Serves `content` at any address; `asked` counts the requests."""

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.breaks_after: int | None = None
        self.stalls = threading.Event()
        self.stalls.set()
        self.status = 200
        self.asked = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{NAME}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.asked += 1
        if server.status != 200:
            self.send_error(server.status)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(server.content)))
        self.end_headers()
        self.wfile.write(server.content[: server.breaks_after])
        server.stalls.wait(10)

    def log_message(self, *_: object) -> None:
        """The test's output is no log."""


def _packed(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("made")
    labels = torch.zeros(16, 24, dtype=torch.int64)
    labels[4:9, 5:15] = 1
    for name in ("bear", "boat"):
        (root / "JPEGImages/480p" / name).mkdir(parents=True)
        for t in range(2):
            Image.effect_noise((24, 16), 90).convert("RGB").save(root / f"JPEGImages/480p/{name}/{t:05d}.jpg")
            write_mask(root / f"Annotations/480p/{name}/{t:05d}.png", labels)
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/train.txt").write_text("bear\n")
    (root / "ImageSets/2017/val.txt").write_text("boat\n")
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    return {f"DAVIS/{path.relative_to(root).as_posix()}": path.read_bytes() for path in paths}


@pytest.fixture
def server(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with Server(_packed(files)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _archive(server: Server) -> Archive:
    content = server.content
    return Archive(server.address, 2017, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def _refused(archive: Archive, out: Path, **settings: str) -> str:
    with pytest.raises(LabError) as error:
        fetch(archive, out, progress=lambda _: None, **settings)
    assert "\n" not in str(error.value)
    assert not out.exists()
    return str(error.value)


def _beside(out: Path) -> list[str]:
    return sorted(path.name for path in out.parent.iterdir())


def test_a_data_set_is_downloaded_verified_and_unpacked_where_it_is_read(server: Server, tmp_path: Path) -> None:
    out, told = tmp_path / "new/davis", []
    digest = fetch(_archive(server), out, progress=told.append)
    assert [clip.name for clip in read_davis(out, year=2017, split="train")] == ["bear"]
    assert sorted(path.name for path in out.iterdir()) == ["Annotations", "ImageSets", "JPEGImages", "source.json"]
    record = json.loads((out / "source.json").read_text())
    assert record == {
        "address": server.address,
        "bytes": len(server.content),
        "sha256": digest,
        "compared_with": "the published one",
    }
    assert _beside(out) == ["davis"], "the archive stays after it was unpacked"
    assert server.asked == 1
    assert any(digest in sentence for sentence in told)


def test_another_checksum_is_refused_and_nothing_is_unpacked(server: Server, tmp_path: Path) -> None:
    out, wrong = tmp_path / "davis", "ab" * 32
    archive = Archive(server.address, 2017, size=len(server.content), sha256=wrong)
    sentence = _refused(archive, out)
    assert wrong in sentence and hashlib.sha256(server.content).hexdigest() in sentence
    assert _beside(out) == []


def test_another_size_is_refused(server: Server, tmp_path: Path) -> None:
    sentence = _refused(Archive(server.address, 2017, size=5), tmp_path / "davis")
    assert f"should have 5 bytes, it has {len(server.content):,}; nothing was unpacked" in sentence
    assert _beside(tmp_path / "davis") == []


def test_a_download_that_breaks_off_leaves_nothing(server: Server, tmp_path: Path) -> None:
    archive, server.breaks_after = _archive(server), 700
    assert "it has 700; nothing was unpacked" in _refused(archive, tmp_path / "davis")
    assert "is no whole zip archive" in _refused(Archive(server.address, 2017), tmp_path / "davis")
    assert _beside(tmp_path / "davis") == []


def test_a_server_that_falls_silent_is_not_waited_for(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    archive, server.breaks_after = _archive(server), 700
    server.stalls.clear()
    assert "timed out" in _refused(archive, tmp_path / "davis")
    server.stalls.set()
    assert socket.getdefaulttimeout() is None


def test_a_checksum_that_is_none_is_told(tmp_path: Path) -> None:
    assert "64 hexadecimal digits, got 'abc'" in _refused(download.ARCHIVES["davis-2017"], tmp_path / "d", sha256="abc")


def test_without_a_published_checksum_the_one_that_came_is_printed_and_kept(server: Server, tmp_path: Path) -> None:
    told: list[str] = []
    digest = fetch(Archive(server.address, 2017), tmp_path / "davis", progress=told.append)
    assert digest == hashlib.sha256(server.content).hexdigest()
    assert any("no checksum of this archive is published" in sentence for sentence in told)
    record = json.loads((tmp_path / "davis/source.json").read_text())
    assert (record["sha256"], record["compared_with"]) == (digest, "nothing")


def test_an_archive_brought_by_other_means_is_verified_used_and_left(server: Server, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(server.content)
    fetch(_archive(server), tmp_path / "davis", progress=lambda _: None)
    assert server.asked == 0 and _beside(tmp_path / "davis") == [NAME, "davis"]
    (tmp_path / NAME).write_bytes(server.content[:-1] + b"x")
    sentence = _refused(_archive(server), tmp_path / "other")
    assert f"nothing was unpacked; remove {tmp_path / NAME} to download it again" in sentence


def test_an_occupied_folder_is_refused_before_the_download(server: Server, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(LabError, match="holds files already"):
        fetch(_archive(server), tmp_path, progress=print)
    assert server.asked == 0


def test_the_list_of_pairs_of_the_first_davis_2016_becomes_a_list_of_sequences(
    server: Server, files: dict[str, bytes], tmp_path: Path
) -> None:
    kept = {name: content for name, content in files.items() if "ImageSets" not in name}
    for split, name in (("train", "bear"), ("val", "boat")):
        lines = [f"/JPEGImages/480p/{name}/{t:05d}.jpg /Annotations/480p/{name}/{t:05d}.png \n" for t in range(2)]
        kept[f"DAVIS/ImageSets/480p/{split}.txt"] = "".join(lines).encode()
    server.content = _packed(kept)
    fetch(Archive(server.address, 2016), tmp_path / "davis", progress=lambda _: None)
    assert [clip.name for clip in read_davis(tmp_path / "davis", year=2016, split="val")] == ["boat"]


def _entry(name: str, *, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (_entry("DAVIS/../../escaped"), "does not lie in its folder"),
        (_entry("../escaped"), "does not lie in its folder"),
        (_entry("/escaped"), "does not lie in its folder"),
        (_entry("C:\\escaped"), "does not lie in its folder"),
        (_entry("DAVIS/..\\escaped"), "does not lie in its folder"),
        (_entry("DAVIS/a//b"), "does not lie in its folder"),
        (_entry("elsewhere/escaped"), "does not lie in its folder"),
        (_entry("DAVIS"), "where its folder was expected"),
        (_entry("DAVIS/link", mode=stat.S_IFLNK | 0o777), "is a link or a device"),
        (_entry("DAVIS/pipe", mode=stat.S_IFIFO | 0o644), "is a link or a device"),
        (_entry("DAVIS/ImageSets/2017/val.txt/below"), "cannot unpack"),
    ],
    ids=lambda value: value.filename if isinstance(value, zipfile.ZipInfo) else "",
)
def test_an_archive_that_reaches_out_of_its_folder_is_refused(
    server: Server, files: dict[str, bytes], tmp_path: Path, entry: zipfile.ZipInfo, told: str
) -> None:
    packed = io.BytesIO(_packed(files))
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(entry, b"../../escaped")
    server.content = packed.getvalue()
    inner = tmp_path / "inner"
    inner.mkdir()
    assert told in _refused(_archive(server), inner / "davis")
    assert _beside(inner / "davis") == []
    assert os.listdir(tmp_path) == ["inner"] and not Path("/escaped").exists()


def test_a_bomb_is_refused_by_its_size_and_by_its_number_of_files(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = _packed({"DAVIS/zeros": bytes(3_000_000)})
    assert len(server.content) < 10_000
    monkeypatch.setattr(download, "MAX_UNPACKED", 2_999_999)
    assert "1 entries of 3,000,000 bytes, at most" in _refused(_archive(server), tmp_path / "davis")
    monkeypatch.setattr(download, "MAX_UNPACKED", 3_000_000)
    assert "is no DAVIS-2017" in _refused(_archive(server), tmp_path / "davis")
    monkeypatch.setattr(download, "MAX_ENTRIES", 0)
    assert "at most 0 entries" in _refused(_archive(server), tmp_path / "davis")


def test_an_entry_that_is_longer_than_it_says_is_refused(
    server: Server, files: dict[str, bytes], tmp_path: Path
) -> None:
    content = bytearray(_packed({**files, "DAVIS/zeros": bytes(50_000)}))
    assert content.count((50_000).to_bytes(4, "little")) == 2
    server.content = bytes(content.replace((50_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    assert "is no whole zip archive" in _refused(_archive(server), tmp_path / "davis")


def test_a_name_twice_is_refused(server: Server, files: dict[str, bytes], tmp_path: Path) -> None:
    server.content = _packed({**files, "DAVIS/one": b"1", "DAVIS/two": b"2"}).replace(b"DAVIS/two", b"DAVIS/one")
    assert "holds 'DAVIS/one' twice" in _refused(_archive(server), tmp_path / "davis")


@pytest.mark.parametrize(
    "twins",
    [
        ("One", "one"),
        ("A/x", "a/y"),
        ("caf\u00e9", "cafe\u0301"),
        ("stra\u00dfe", "strasse"),
        ("one", "one."),
        ("one ", "one"),
        ("o\u200dne", "one"),
    ],
)
def test_names_that_some_disks_take_for_one_are_refused(
    twins: tuple[str, str], server: Server, files: dict[str, bytes], tmp_path: Path
) -> None:
    server.content = _packed({**files, **{f"DAVIS/{name}": name.encode() for name in twins}})
    assert "which some disks take for one" in _refused(_archive(server), tmp_path / "davis")


def test_an_encrypted_or_oddly_packed_entry_is_refused(server: Server, files: dict[str, bytes], tmp_path: Path) -> None:
    packed = io.BytesIO(_packed(files))
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("DAVIS/odd", b"odd")
    server.content = packed.getvalue()
    assert "'DAVIS/odd', which is encrypted or not packed by deflate" in _refused(_archive(server), tmp_path / "davis")


def test_what_finder_adds_is_left_out(server: Server, files: dict[str, bytes], tmp_path: Path) -> None:
    server.content = _packed({**files, "__MACOSX/DAVIS/._x": b"x", "DAVIS/empty/": b""})
    fetch(_archive(server), tmp_path / "davis", progress=lambda _: None)
    assert sorted(os.listdir(tmp_path / "davis")) == ["Annotations", "ImageSets", "JPEGImages", "source.json"]


def test_a_page_in_place_of_an_archive_is_refused(server: Server, tmp_path: Path) -> None:
    server.content = b"<html>log in first</html>"
    assert "is no whole zip archive" in _refused(Archive(server.address, 2017), tmp_path / "davis")


def test_an_archive_of_something_else_is_refused(server: Server, tmp_path: Path) -> None:
    server.content = _packed({"DAVIS/JPEGImages/480p/bear/00000.jpg": b""})
    sentence = _refused(_archive(server), tmp_path / "davis")
    assert "Annotations/480p, ImageSets/2017/train.txt, ImageSets/2017/val.txt was expected" in sentence


@pytest.mark.parametrize("status", [404, 503])
def test_a_server_that_refuses_is_told_with_where_to_put_the_archive(
    server: Server, tmp_path: Path, status: int
) -> None:
    server.status = status
    sentence = _refused(_archive(server), tmp_path / "davis")
    assert f"curl -C - -o {tmp_path / NAME} {server.address}" in sentence and f"Error {status}" in sentence


def test_without_a_network_one_sentence_says_where_to_put_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/{NAME}"
        monkeypatch.setitem(download.ARCHIVES, "davis-2017", Archive(address, 2017))
        with pytest.raises(SystemExit) as left:
            cli.main(["fetch-data", "davis-2017", "--out", str(tmp_path / "davis")])
    told = capsys.readouterr().err
    assert left.value.code == 2 and told.count("\n") == 1
    assert address in told and str(tmp_path / NAME) in told and "refused" in told
    assert list(tmp_path.iterdir()) == []


def test_the_command_fetches_and_names_the_data_root(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(download.ARCHIVES, "davis-2017", _archive(server))
    with pytest.raises(SystemExit) as left:
        cli.main(["fetch-data", "davis-2017", "--out", str(tmp_path / "davis")])
    assert left.value.code == 0
    assert f"--data-root {tmp_path / 'davis'}" in capsys.readouterr().out


def test_youtube_vos_is_told_where_to_register_and_where_to_put_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["fetch-data", "youtube-vos", "--out", str(tmp_path / "yt")])
    told = capsys.readouterr().err
    assert left.value.code == 2
    assert "https://youtube-vos.org" in told and str(tmp_path / "yt/train/meta.json") in told
