"""What `feelvos-lab segment` writes: masks, distance maps, films."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from feelvos_lab.cli import main as cli
from feelvos_lab.config import configure
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.images import read_distance, read_mask, write_distance, write_mask
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.data.video import open_movie
from feelvos_lab.errors import LabError
from feelvos_lab.inference.propagation import propagate
from feelvos_lab.model.checkpoint import load_checkpoint, save_checkpoint
from feelvos_lab.model.feelvos import Feelvos


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    """Four synthetic frames, as 00005.png … 00008.png in TMP/video, with their first mask in TMP/mask.png."""
    clip = make_clip(3, height=40, width=48, frames=4, objects=2)
    (tmp_path / "video").mkdir()
    for t in range(4):
        Image.fromarray(clip.frames[t].permute(1, 2, 0).numpy()).save(tmp_path / "video" / f"{t + 5:05d}.png")
    write_mask(tmp_path / "mask.png", clip.masks[0])
    return clip


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main([str(a) for a in arguments])
    return left.value.code


@pytest.mark.parametrize("feedback", ["soft", "hard"])
def test_segment_writes_what_propagate_says_under_the_names_of_the_frames(
    feedback: str, clip: Clip, tmp_path: Path, checkpoint: Path
) -> None:
    out = tmp_path / "deep" / "out"
    arguments = ("segment", tmp_path / "video", "--mask", tmp_path / "mask.png", "--checkpoint", checkpoint)
    assert _run(*arguments, "--feedback", feedback, "--overlay", "none", "--out", out) == 0
    names = [f"{t:05d}.png" for t in range(5, 9)]
    assert sorted(p.name for p in out.iterdir()) == names
    expected = propagate(load_checkpoint(checkpoint)[0], clip, feedback=feedback)
    for name, prediction in zip(names, expected, strict=True):
        assert torch.equal(read_mask(out / name), prediction.labels)
        with Image.open(out / name) as image:
            assert image.mode == "P"


def test_segment_without_arguments_tries_the_sample_video_and_says_so(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ("--checkpoint", checkpoint, "--height", 60, "--overlay", "none")
    assert _run("segment", *small) == 0
    said, clip_line, written, scores = capsys.readouterr().out.splitlines()
    assert "no video given" in said and "Big Buck Bunny" in said
    assert clip_line.startswith("bunny: 41 frames, objects 1, 2, 3") and written == "41 masks are in bunny-masks"
    assert all(f"in frame {t}" in scores for t in (8, 16, 24, 32, 40))
    assert len(list((tmp_path / "bunny-masks").glob("*.png"))) == 41
    assert _run("segment", *small) == 2  # the folder is not empty now
    assert "bunny-masks" in capsys.readouterr().err


@pytest.mark.parametrize("terminal", [True, False])
def test_segment_shows_its_progress_on_a_terminal_alone(
    terminal: bool, clip: Clip, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = io.StringIO()
    stderr.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", stderr)
    arguments = ("segment", tmp_path / "video", "--mask", tmp_path / "mask.png", "--checkpoint", checkpoint)
    assert _run(*arguments, "--overlay", "none", "--out", tmp_path / "out") == 0
    assert ("4/4" in stderr.getvalue()) is terminal


def test_segment_saves_the_distance_maps_of_every_object(clip: Clip, tmp_path: Path, checkpoint: Path) -> None:
    arguments = ("segment", tmp_path / "video", "--mask", tmp_path / "mask.png", "--checkpoint", checkpoint)
    assert _run(*arguments, "--overlay", "none", "--cues", "--out", tmp_path / "out") == 0
    expected = [p for p in propagate(load_checkpoint(checkpoint)[0], clip) if p.cues]
    ids = (0, *clip.object_ids)
    written = sorted((tmp_path / "out" / "cues").rglob("*.png"))
    assert len(written) == 2 * len(ids) * len(expected)
    for prediction in expected:
        for kind, maps in (("global", prediction.cues.global_map), ("local", prediction.cues.local_map)):
            for object_id, distance in zip(ids, maps, strict=True):
                path = tmp_path / "out" / "cues" / kind / str(object_id) / f"{5 + prediction.frame:05d}.png"
                assert torch.allclose(read_distance(path), distance, atol=1 / 131070 + 1e-7)


def test_a_model_without_a_matching_has_no_maps_of_it_to_save(clip: Clip, tmp_path: Path) -> None:
    config = configure("smoke", first_matching="none")
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "m.safetensors", Feelvos(config.model), config)
    arguments = ("segment", tmp_path / "video", "--mask", tmp_path / "mask.png")
    arguments += ("--checkpoint", tmp_path / "m.safetensors", "--overlay", "none", "--cues")
    assert _run(*arguments, "--out", tmp_path / "out") == 0
    assert [p.name for p in (tmp_path / "out" / "cues").iterdir()] == ["local"]


@pytest.mark.parametrize("bad", [torch.full((2, 2), 1.5), torch.full((2, 2), torch.nan), torch.zeros(1, 2, 2)])
def test_a_distance_map_outside_its_range_is_not_written(bad: torch.Tensor, tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"must be \(h, w\) in \[0, 1\]"):
        write_distance(tmp_path / "map.png", bad)
    assert not (tmp_path / "map.png").exists()


def test_a_mask_is_no_distance_map(tmp_path: Path) -> None:
    write_mask(tmp_path / "mask.png", torch.zeros(4, 4, dtype=torch.int64))
    with pytest.raises(LabError, match="must be a 16-bit grey image"):
        read_distance(tmp_path / "mask.png")


def test_segment_reads_a_video_file_and_films_the_masks(clip: Clip, tmp_path: Path, checkpoint: Path) -> None:
    av = pytest.importorskip("av")
    with open_movie(tmp_path / "film.mp4", kind="mp4") as append:
        for t in range(4):
            append(clip.frames[t].permute(1, 2, 0).numpy())
    arguments = ("segment", tmp_path / "film.mp4", "--mask", tmp_path / "mask.png", "--checkpoint", checkpoint)
    assert _run(*arguments, "--out", tmp_path / "out") == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [*(f"{t:05d}.png" for t in range(4)), "overlay.mp4"]
    with av.open(str(tmp_path / "out" / "overlay.mp4")) as film:
        assert [(f.height, f.width) for f in film.decode(video=0)] == [(40, 48)] * 4


def test_a_gif_shows_the_pictures_that_it_was_given(tmp_path: Path) -> None:
    pictures = [np.full((20, 30, 3), (40 * t, 255 - 40 * t, 9), np.uint8) for t in range(5)]
    for t, picture in enumerate(pictures):
        picture[t : t + 3, 4:9] = (250, 0, 0)
    with open_movie(tmp_path / "film.gif", kind="gif") as append:
        for picture in pictures:
            append(picture)
    with Image.open(tmp_path / "film.gif") as film:
        shown = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(film)]
        assert film.info["loop"] == 0
    assert len(shown) == 5
    for given, got in zip(pictures, shown, strict=True):
        assert np.abs(given.astype(int) - got).max() <= 2


def test_an_odd_sized_film_is_padded_by_its_edge(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with open_movie(tmp_path / "film.mp4", kind="mp4") as append:
        append(np.full((21, 31, 3), 99, np.uint8))
    with av.open(str(tmp_path / "film.mp4")) as film:
        (frame,) = list(film.decode(video=0))
    assert (frame.height, frame.width) == (22, 32)
    assert np.abs(frame.to_ndarray(format="rgb24").astype(int) - 99).max() <= 3


def _later(clip: Clip, folder: Path) -> list[torch.Tensor]:
    """Masks in which object 2 is given in the third frame, 00007; written to a folder under the frames' names."""
    first, third = clip.masks[0] * (clip.masks[0] == 1), clip.masks[2]
    assert (third == 2).any() and (first == 1).any()
    write_mask(folder / "00005.png", first)
    write_mask(folder / "00007.png", third)
    return [first, third]


@pytest.mark.parametrize(
    "given",
    [("masks",), ("masks/00005.png", "00007=masks/00007.png"), ("5=masks/00005.png", "7=masks/00007.png")],
    ids=["a folder", "the first and a named frame", "numbers"],
)
def test_segment_lets_an_object_enter_with_a_later_mask(
    given: tuple[str, ...],
    clip: Clip,
    tmp_path: Path,
    checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    first, third = _later(clip, tmp_path / "masks")
    arguments = [word for mask in given for word in ("--mask", mask)]
    arguments += ["--no-corrections", "--checkpoint", checkpoint, "--overlay", "none", "--out", "out"]
    assert _run("segment", "video", *arguments) == 0
    assert "given in frame 00007: 2" in capsys.readouterr().out
    masks = torch.stack([first, first, third, third])
    late = Clip("late", clip.frames, masks, (1, 2), (0, 2))
    for t, prediction in enumerate(propagate(load_checkpoint(checkpoint)[0], late)):
        assert torch.equal(read_mask(tmp_path / f"out/{t + 5:05d}.png"), prediction.labels)


def test_segment_lets_an_object_enter_a_video_file(clip: Clip, tmp_path: Path, checkpoint: Path) -> None:
    pytest.importorskip("av")
    with open_movie(tmp_path / "film.mp4", kind="mp4") as append:
        for t in range(4):
            append(clip.frames[t].permute(1, 2, 0).numpy())
    first, third = _later(clip, tmp_path / "masks")
    given = ("--mask", tmp_path / "masks/00005.png", "--mask", f"2={tmp_path / 'masks/00007.png'}")
    out = tmp_path / "out"
    arguments = ("segment", tmp_path / "film.mp4", *given, "--checkpoint", checkpoint, "--overlay", "gif", "--out", out)
    assert _run(*arguments) == 0
    assert torch.equal(read_mask(out / "00000.png"), first)
    assert not (read_mask(out / "00001.png") == 2).any()
    assert torch.equal(read_mask(out / "00002.png") == 2, third == 2)


def test_frames_numbered_in_even_steps_are_segmented(clip: Clip, tmp_path: Path, checkpoint: Path) -> None:
    for t in reversed(range(4)):
        (tmp_path / f"video/{t + 5:05d}.png").rename(tmp_path / f"video/{5 * t + 20:05d}.png")
    arguments = ("segment", tmp_path / "video", "--mask", tmp_path / "mask.png", "--checkpoint", checkpoint)
    assert _run(*arguments, "--overlay", "none", "--out", tmp_path / "out") == 0
    assert sorted(p.stem for p in (tmp_path / "out").iterdir()) == ["00020", "00025", "00030", "00035"]
