"""Wrong input on the command line: one sentence, exit code 2, and every file as it was."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from feelvos_lab.cli import main
from feelvos_lab.config import configure
from feelvos_lab.data.images import write_mask
from feelvos_lab.train import train

HEIGHT, WIDTH = 40, 48
EXPERIMENTS = Path(__file__).parent.parent / "experiments"


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must be refused; its sentence, with the test's folder written as TMP."""

    def run(*arguments: object) -> str:
        before = _snapshot(tmp_path)
        with pytest.raises(SystemExit) as left:
            main([str(a) for a in arguments])
        printed = capsys.readouterr().err
        assert left.value.code == 2
        assert printed.startswith("feelvos-lab: ") and printed.count("\n") == 1, printed
        assert _snapshot(tmp_path) == before, "the refused command left something behind"
        return printed.removeprefix("feelvos-lab: ").strip().replace(str(tmp_path), "TMP")

    return run


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Four frames of noise in TMP/video, their first mask in TMP/mask.png."""
    _write_frames(tmp_path / "video", range(4))
    write_mask(tmp_path / "mask.png", _mask({1: 8}))
    return tmp_path / "video"


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """A DAVIS-2017 root with one sequence, and its own annotations as predictions in TMP/masks."""
    root = tmp_path / "davis"
    _write_frames(root / "JPEGImages/480p/goat", range(4))
    for t in range(4):
        for folder in (root / "Annotations/480p/goat", tmp_path / "masks/goat"):
            write_mask(folder / f"{t:05d}.png", _mask({1: 8, 2: 20}))
    listing = root / "ImageSets/2017/val.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("goat\n")
    return root


def test_a_mask_of_another_size_than_its_frame(video: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    write_mask(tmp_path / "mask.png", _mask({1: 8})[:, :-1])
    assert refused("segment", video, "--mask", tmp_path / "mask.png", "--out", tmp_path / "out") == (
        "mask TMP/mask.png is 47×40, its frame TMP/video/00000.jpg is 48×40"
    )


def test_a_mask_with_ids_that_the_first_frame_lacks(davis: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    write_mask(davis / "Annotations/480p/goat/00002.png", _mask({1: 8, 3: 20}))
    assert refused(*_score(davis, tmp_path)) == (
        "mask TMP/davis/Annotations/480p/goat/00002.png holds ids [3] that the first mask lacks: expected [1, 2]"
    )


def test_a_prediction_with_ids_that_the_clip_lacks(davis: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    write_mask(tmp_path / "masks/goat/00001.png", _mask({1: 8, 7: 20}))
    assert refused(*_score(davis, tmp_path)) == (
        "the predicted mask of frame 1 of clip 'goat' holds ids [7], expected 0 and [1, 2]"
    )


def test_predictions_without_a_frame(davis: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "masks/goat/00003.png").unlink()
    assert refused(*_score(davis, tmp_path)) == "TMP/masks/goat/00003.png is missing: an image was expected"


def test_an_rgb_mask(video: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "mask.png")
    assert refused("segment", video, "--mask", tmp_path / "mask.png", "--out", tmp_path / "out") == (
        "mask TMP/mask.png must be an indexed or an 8-bit grey image whose pixels are object ids, got one of mode RGB"
    )


def test_an_interpolated_mask(video: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    ramp = np.linspace(0, 255, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / "mask.png")
    sentence = refused("segment", video, "--mask", tmp_path / "mask.png", "--out", tmp_path / "out")
    assert sentence.startswith("mask TMP/mask.png holds 25") and "an interpolated mask" in sentence


def test_an_empty_first_mask(video: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    write_mask(tmp_path / "mask.png", _mask({}))
    assert refused("segment", video, "--mask", tmp_path / "mask.png", "--out", tmp_path / "out") == (
        "the first mask TMP/mask.png is empty: at least one object was expected"
    )


def test_one_frame_only(video: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    for t in (1, 2, 3):
        (video / f"{t:05d}.jpg").unlink()
    assert refused("segment", video, "--mask", tmp_path / "mask.png", "--out", tmp_path / "out") == (
        "clip 'video' has 1 frame, at least two are expected: the first carries the given mask"
    )


def test_missing_frame_numbers(video: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    (video / "00002.jpg").unlink()
    sentence = refused("segment", video, "--mask", tmp_path / "mask.png", "--out", tmp_path / "out")
    assert sentence.startswith("TMP/video lacks number 2: 00001.jpg is followed by 00003.jpg")


def test_a_jpeg_that_cannot_be_read_in_the_middle_of_a_video(
    video: Path, tmp_path: Path, checkpoint: Path, refused: Callable[..., str]
) -> None:
    damaged = video / "00002.jpg"
    damaged.write_bytes(damaged.read_bytes()[:700])
    sentence = refused(
        "segment", video, "--mask", tmp_path / "mask.png", "--out", tmp_path / "out", "--checkpoint", checkpoint
    )
    assert sentence.startswith("TMP/video/00002.jpg cannot be read as an image: ")


def test_a_wrong_davis_root(davis: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    sentence = refused(*_score(davis / "JPEGImages", tmp_path))
    assert sentence.startswith("TMP/davis/JPEGImages is no DAVIS-2017 root: JPEGImages/480p ")
    assert sentence.endswith("there is 480p")


def test_no_davis_root(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert refused(
        "evaluate", "--data", "davis-2017", "--predictions", tmp_path / "masks", "--out", tmp_path / "out"
    ) == ("data 'davis-2017' needs its folder, got none: pass --data-root or set `root`")


def test_a_video_that_is_not_there(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert refused("segment", tmp_path / "film.mp4", "--mask", tmp_path / "mask.png", "--out", tmp_path / "out") == (
        "there is no TMP/film.mp4: a video or a folder of frames was expected"
    )


@pytest.mark.parametrize(
    ("wrong", "parts"),
    [
        ("variants: {all: {radiuss: 3}}", ("'radiuss'", "did you mean 'radius'")),
        ("variants: {all: {}}\nvarients: {}", ("'varients'", "did you mean 'variants'")),
        ("variants: {all: {learning_rate: 1e-4}}", ("learning_rate", "'1e-4'", "write 1.0e-4")),
        ("variants: {all: {}, twin: {radius: 4}}", ("'all'", "'twin'", "same")),
        ("variants: {all: {}}\npreset: reducd", ("'reducd'", "did you mean 'reduced'")),
    ],
    ids=["unknown setting", "unknown key", "number as text", "equal variants", "unknown preset"],
)
def test_a_wrong_experiment_file(
    wrong: str, parts: tuple[str, ...], tmp_path: Path, refused: Callable[..., str]
) -> None:
    preset = "" if "preset:" in wrong else "preset: reduced\n"
    notebook = EXPERIMENTS.parent / "notebooks" / "run_experiment.ipynb"
    (tmp_path / "mine.yml").write_text(
        f"question: which?\nbaseline: all\nnotebook: {notebook}\nsplit: validation\nseeds: [0]\n{preset}{wrong}\n"
    )
    sentence = refused("ablate", "run", tmp_path / "mine.yml", "--root", tmp_path / "runs")
    assert all(part in sentence for part in parts), sentence


def test_an_unknown_preset(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert refused("train", "--preset", "reducde", "--out", tmp_path / "out") == (
        "unknown preset 'reducde' (did you mean 'reduced'?); there are: smoke, reduced, real, full"
    )


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("radius=near", "radius must be int, got str 'near'"),
        ("radios=3", "unknown setting 'radios' (did you mean 'radius'?)"),
        ("radius", "--set must be name=value, got 'radius'"),
    ],
)
def test_a_wrong_setting(setting: str, sentence: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    assert refused("train", "--preset", "smoke", "--set", setting, "--out", tmp_path / "out") == sentence


def test_a_truncated_checkpoint(video: Path, tmp_path: Path, checkpoint: Path, refused: Callable[..., str]) -> None:
    short = tmp_path / "short.safetensors"
    short.write_bytes(checkpoint.read_bytes()[:-100])
    sentence = refused(
        "segment", video, "--mask", tmp_path / "mask.png", "--out", tmp_path / "out", "--checkpoint", short
    )
    assert sentence.startswith("TMP/short.safetensors is truncated or no safetensors file: ")


def test_a_checkpoint_of_another_configuration(
    video: Path, tmp_path: Path, checkpoint: Path, refused: Callable[..., str]
) -> None:
    with safe_open(checkpoint, framework="pt") as file:
        notes = file.metadata()
    other = configure("smoke", embedding_dim=25)
    notes["config"] = notes["config"].replace('"embedding_dim": 24', '"embedding_dim": 25')
    save_file(load_file(checkpoint), tmp_path / "other.safetensors", metadata={**notes, "digest": other.digest()})
    sentence = refused(
        "segment",
        *(video, "--mask", tmp_path / "mask.png", "--out", tmp_path / "out"),
        *("--checkpoint", tmp_path / "other.safetensors"),
    )
    assert sentence.startswith("checkpoint TMP/other.safetensors: tensor ") and "25" in sentence and "24" in sentence


def test_an_interrupted_training_of_another_configuration(tmp_path: Path, refused: Callable[..., str]) -> None:
    train(configure("smoke"), seed=0, folder=tmp_path / "out", stop_after=1)
    sentence = refused("train", "--preset", "smoke", "--set", "steps=13", "--out", tmp_path / "out")
    assert sentence.startswith("TMP/out/state.safetensors belongs to configuration ")
    assert sentence.endswith("; use another folder or delete it")


@pytest.mark.parametrize("command", ["segment", "train", "evaluate"])
def test_an_output_folder_inside_a_file(command: str, video: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    assert refused(command, *_arguments(command, video), "--out", tmp_path / "mask.png" / "deep" / "out") == (
        "the output folder TMP/mask.png/deep/out cannot be made, since TMP/mask.png is a file"
    )


@pytest.mark.parametrize("command", ["segment", "train", "evaluate"])
def test_an_output_folder_that_is_occupied(
    command: str, video: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    assert refused(command, *_arguments(command, video), "--out", video) == (
        "the output folder TMP/video holds files already, expected a new or an empty one"
    )
    assert refused(command, *_arguments(command, video), "--out", tmp_path / "mask.png") == (
        "the output TMP/mask.png must be a folder, but there is a file of that name"
    )


def test_no_write_permission(
    video: Path, tmp_path: Path, checkpoint: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(path: object, *_: object) -> None:  # permission bits do not bind root, who may run the tests
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "mkdir", forbid)
    sentence = "cannot write to the output folder TMP/out: Permission denied"
    segment = ("segment", video, "--mask", tmp_path / "mask.png", "--checkpoint", checkpoint)
    assert refused(*segment, "--out", tmp_path / "out") == sentence
    assert refused("train", "--preset", "smoke", "--out", tmp_path / "out") == sentence


def test_debug_shows_where_a_refusal_comes_from(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown preset"):
        main(["train", "--preset", "nope", "--out", str(tmp_path / "out"), "--debug"])


def _arguments(command: str, video: Path) -> tuple[object, ...]:
    return {
        "segment": (video, "--mask", video.parent / "mask.png"),
        "train": ("--preset", "smoke"),
        "evaluate": ("--data", "shapes"),
    }[command]


def _score(root: Path, tmp_path: Path) -> tuple[object, ...]:
    return (
        *("evaluate", "--data", "davis-2017", "--data-root", root),
        *("--predictions", tmp_path / "masks", "--out", tmp_path / "out"),
    )


def _write_frames(folder: Path, numbers: range) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for t in numbers:
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(folder / f"{t:05d}.jpg")


def _mask(objects: dict[int, int]) -> torch.Tensor:
    """A square of 10×10 pixels for each object: id → its left edge."""
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.int64)
    for object_id, left in objects.items():
        mask[10:20, left : left + 10] = object_id
    return mask


def _snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in sorted(folder.rglob("*"))}


def test_masks_that_do_not_fit_their_frames(video: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    mask, empty = tmp_path / "mask.png", tmp_path / "masks"
    write_mask(tmp_path / "none.png", _mask({}))
    write_mask(tmp_path / "narrow.png", _mask({2: 8})[:, 1:])
    empty.mkdir()

    def told(*masks: object) -> str:
        return refused("segment", video, *(w for m in masks for w in ("--mask", m)), "--out", tmp_path / "out")

    assert told(f"9={mask}") == "mask TMP/mask.png is for frame '9', expected one of 00000 to 00003"
    assert told(mask, f"0={mask}") == "frame 00000 has two masks, TMP/mask.png and TMP/mask.png: one was expected"
    assert told(mask, mask).startswith("frame 00000 has two masks")
    assert told(empty) == "TMP/masks holds no mask: png files named like the frames were expected"
    assert told(mask, f"2={tmp_path / 'narrow.png'}") == "mask TMP/narrow.png is 47×40, its frame is 48×40"
    assert told(f"1={tmp_path / 'none.png'}") == (
        "at least one mask with an object was expected, got TMP/none.png: no object in it"
    )
    assert told(mask, f"2={tmp_path / 'nowhere.png'}") == "TMP/nowhere.png is missing: an image was expected"
