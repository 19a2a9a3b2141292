"""A folder with one good thing of each kind, for the tests that spoil one of them: see `test_bad_input.py`."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from standin_experiment import cell, notebook, write_spec

from feelvos_lab.config import configure
from feelvos_lab.data.images import write_mask
from feelvos_lab.model.checkpoint import save_checkpoint
from feelvos_lab.model.feelvos import Feelvos

HEIGHT, WIDTH = 40, 48
Change = Callable[[Path], object]
Case = tuple[str, str, Change | None, str]  # name, command, what is done before, the sentence


def build(room: Path) -> None:
    """A video with its first mask, a DAVIS root and predictions for it, an experiment and its notebook."""
    write_frames(room / "video", range(4))
    write_mask(room / "mask.png", mask({1: 8}))
    root = room / "davis"
    write_frames(root / "JPEGImages/480p/goat", range(4))
    for t in range(4):
        for folder in (root / "Annotations/480p/goat", room / "masks/goat"):
            write_mask(folder / f"{t:05d}.png", mask({1: 8, 2: 20}))
    listing = root / "ImageSets/2017/val.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("goat\n")
    write_spec(room)


def write_frames(folder: Path, numbers: range) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for t in numbers:
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(folder / f"{t:05d}.jpg")


def mask(objects: dict[int, int]) -> torch.Tensor:
    """A square of 10×10 pixels for each object: id → its left edge."""
    labels = torch.zeros(HEIGHT, WIDTH, dtype=torch.int64)
    for object_id, left in objects.items():
        labels[10:20, left : left + 10] = object_id
    return labels


def masked(name: str, objects: dict[int, int], *, width: int = WIDTH) -> Change:
    return lambda room: write_mask(room / name, mask(objects)[:, :width])


def image(name: str, pixels: np.ndarray) -> Change:
    return lambda room: Image.fromarray(pixels).save(room / name)


def text(name: str, content: str | bytes) -> Change:
    """That file with other content, in folders that are made."""

    def change(room: Path) -> None:
        (room / name).parent.mkdir(parents=True, exist_ok=True)
        (room / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def gone(*names: str) -> Change:
    return lambda room: [(room / name).unlink() for name in names]


def cut(name: str, size: int) -> Change:
    """The file's first bytes alone; a negative size leaves out the last ones."""
    return lambda room: (room / name).write_bytes((room / name).read_bytes()[:size])


def flipped(name: str, *, at: float) -> Change:
    """The file with one bit changed, at that share of its length."""

    def change(room: Path) -> None:
        content = bytearray((room / name).read_bytes())
        content[int(at * len(content))] ^= 4
        (room / name).write_bytes(content)

    return change


def replaced(name: str, old: str, new: str) -> Change:
    def change(room: Path) -> None:
        content = (room / name).read_text()
        assert old in content
        (room / name).write_text(content.replace(old, new))

    return change


def both(*changes: Change) -> Change:
    return lambda room: [change(room) for change in changes]


def huge_png(name: str, *, width: int, height: int) -> Change:
    """A PNG of some hundred bytes that claims to unpack to any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    whole = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return text(name, b"\x89PNG\r\n\x1a\n" + whole)


def film(name: str, *, frames: int = 6) -> Change:
    """An mp4 with its index in front, so that a part of it can be opened."""

    def change(room: Path) -> None:
        import av

        rng = np.random.default_rng(0)
        with av.open(str(room / name), "w", options={"movflags": "faststart"}) as container:
            stream = container.add_stream("libx264", rate=12)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for _ in range(frames):
                pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())

    return change


def model(**edits: str) -> Change:
    """model.safetensors of the preset smoke, untrained; `edits` of its notes are made without its knowing."""

    def change(room: Path) -> None:
        path, config = room / "model.safetensors", configure("smoke")
        torch.manual_seed(0)
        save_checkpoint(path, Feelvos(config.model).eval(), config)
        if edits:
            with safe_open(path, framework="pt") as file:
                notes = file.metadata()
            save_file(load_file(path), path, metadata={**notes, **edits})

    return change


def spoilt_model(name: str, value: float) -> Change:
    """A checkpoint that was written with such a number in it."""

    def change(room: Path) -> None:
        config = configure("smoke")
        torch.manual_seed(0)
        network = Feelvos(config.model).eval()
        network.state_dict()[name].view(-1)[0] = value
        save_checkpoint(room / "model.safetensors", network, config)

    return change


def worker(*cells: object) -> Change:
    """The experiment's notebook, of these cells."""
    return text("worker.ipynb", notebook(*cells))


def parameters(source: object) -> Change:
    return worker({**cell("parameters", "", "parameters"), "source": source})


def experiment(old: str, new: str) -> Change:
    return replaced("demo.yml", old, new)


def meta(content: object) -> Change:
    """A YouTube-VOS root whose list says that."""

    def change(room: Path) -> None:
        for part in ("JPEGImages", "Annotations"):
            (room / "youtube/train" / part).mkdir(parents=True)
        (room / "youtube/train/meta.json").write_text(json.dumps(content))

    return change
