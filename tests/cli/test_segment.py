"""What `feelvos-lab segment` and `evaluate` do with masks given again, damaged frames, closed streams and bad sizes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image

from feelvos_lab.cli import main as cli
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.images import read_mask, write_mask
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.data.video import open_movie
from feelvos_lab.inference.propagation import propagate
from feelvos_lab.inference.rle import decode_rle
from feelvos_lab.model.checkpoint import load_checkpoint


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clip:
    """Four synthetic frames, as 00000.png … in the folder video, with their masks in the folder masks."""
    monkeypatch.chdir(tmp_path)
    clip = make_clip(3, height=40, width=48, frames=4, objects=2)
    Path("video").mkdir()
    for t in range(4):
        Image.fromarray(clip.frames[t].permute(1, 2, 0).numpy()).save(f"video/{t:05d}.png")
        write_mask(f"masks/{t:05d}.png", clip.masks[t])
    return clip


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main([str(a) for a in arguments])
    return left.value.code


def _segment(checkpoint: Path, *arguments: str, out: str = "out") -> int:
    return _run("segment", "video", "--checkpoint", checkpoint, "--overlay", "none", "--out", out, *arguments)


def test_a_later_mask_corrects_an_object_and_the_command_says_so(
    clip: Clip, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--mask", "masks/00000.png", "--mask", "2=masks/00002.png")
    assert _segment(checkpoint, *given) == 0
    assert "corrected in frame 00002: 1, 2" in capsys.readouterr().out
    assert torch.equal(read_mask("out/00002.png"), clip.masks[2])
    assert _segment(checkpoint, *given, "--no-corrections", out="plain") == 0
    assert "corrected" not in capsys.readouterr().out
    assert not torch.equal(read_mask("plain/00002.png"), clip.masks[2])


def test_masks_of_all_frames_correct_nothing(clip: Clip, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _segment(checkpoint, "--mask", "masks") == 0
    assert "every frame has a mask" in capsys.readouterr().out
    assert _segment(checkpoint, "--mask", "masks/00000.png", out="first") == 0
    for t in range(4):
        assert torch.equal(read_mask(f"out/{t:05d}.png"), read_mask(f"first/{t:05d}.png"))


def test_what_was_written_before_a_damaged_frame_is_kept_if_asked(
    clip: Clip, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("video/00002.png")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255  # whole, so that only reading it finds the damage
    path.write_bytes(data)
    assert _segment(checkpoint, "--mask", "masks/00000.png") == 2 and not Path("out").exists()
    capsys.readouterr()
    assert _segment(checkpoint, "--mask", "masks/00000.png", "--keep") == 2
    assert "the masks of the 2 frames before it are in out" in capsys.readouterr().err
    assert sorted(path.name for path in Path("out").iterdir()) == ["00000.png", "00001.png"]


def test_a_closed_stderr_stops_nothing(clip: Clip, checkpoint: Path) -> None:
    command = f"{sys.executable} -m feelvos_lab segment video --mask masks/00000.png --checkpoint {checkpoint}"
    done = subprocess.run(f"{command} --overlay none --out out 2>&-", shell=True, capture_output=True)
    assert done.returncode == 0
    assert len(list(Path("out").glob("*.png"))) == 4


def test_a_height_of_one_is_refused_in_one_sentence(
    clip: Clip, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _segment(checkpoint, "--mask", "masks/00000.png", "--height", "1") == 2
    assert capsys.readouterr().err == "feelvos-lab: height must be 0 (frames as they are) or at least 4, got 1\n"


@pytest.mark.parametrize("size", [(1, 2000), (2000, 1)])
def test_frames_one_pixel_wide_are_segmented(
    size: tuple[int, int], checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("video").mkdir()
    for t in range(2):
        Image.new("RGB", size, (t, 9, 90)).save(f"video/{t}.png")
    labels = torch.zeros(size[::-1], dtype=torch.int64)
    labels.flatten()[500:900] = 1
    write_mask("mask.png", labels)
    assert _segment(checkpoint, "--mask", "mask.png", "--height", "100") == 0


def test_a_name_that_is_too_long_is_refused_in_one_sentence(
    clip: Clip, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "x" * 300
    assert _segment(checkpoint, "--mask", "masks", out=long) == 2
    assert _segment(checkpoint, "--mask", f"{long}.png") == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "name too long" in first and "name too long" in second and "unexpected" not in first + second


def test_a_mask_of_a_later_frame_is_carried_both_ways_if_asked(clip: Clip, checkpoint: Path) -> None:
    given = ("--mask", "2=masks/00002.png")
    assert _segment(checkpoint, *given) == 0
    assert _segment(checkpoint, *given, "--both-ways", out="both") == 0
    assert not read_mask("out/00001.png").any() and read_mask("both/00001.png").any()
    for t in (2, 3):
        assert torch.equal(read_mask(f"out/{t:05d}.png"), read_mask(f"both/{t:05d}.png"))


def test_probabilities_and_cutouts_are_saved_if_asked(clip: Clip, checkpoint: Path) -> None:
    assert _segment(checkpoint, "--mask", "masks/00000.png", "--alpha", "--cutouts") == 0
    model = load_checkpoint(checkpoint)[0]
    for t, prediction in enumerate(propagate(model, clip)):
        for channel, object_id in enumerate(clip.object_ids, start=1):
            alpha = np.asarray(Image.open(f"out/alpha/{object_id}/{t:05d}.png"))
            cutout = np.asarray(Image.open(f"out/cutouts/{object_id}/{t:05d}.png"))
            assert np.abs(alpha / 255 - prediction.probabilities[channel].numpy()).max() < 0.003
            assert np.array_equal(cutout[..., 3], alpha)
            assert np.array_equal(cutout[..., :3], clip.frames[t].permute(1, 2, 0).numpy())


def _clips(names: str) -> None:
    for name in names:
        shutil.copytree("video", f"clips/{name}")
        shutil.copytree("masks", f"given/{name}", ignore=lambda *_: ["00001.png", "00002.png", "00003.png"])
    shutil.rmtree("given/b")
    shutil.copy("masks/00000.png", "given/b.png")


def test_masks_are_saved_in_coco_s_form_if_asked(clip: Clip, checkpoint: Path) -> None:
    assert _segment(checkpoint, "--mask", "masks/00000.png", "--coco") == 0
    found = json.loads(Path("out/coco.json").read_text())
    assert [(i["file_name"], i["frame_id"], i["width"]) for i in found["images"]] == [
        (f"{t:05d}.png", t, 48) for t in range(4)
    ]
    assert found["categories"] == [{"id": 1, "name": "object 1"}, {"id": 2, "name": "object 2"}]
    masks = torch.stack([read_mask(f"out/{t:05d}.png") for t in range(4)])
    again = torch.zeros_like(masks)
    for one in found["annotations"]:
        mask, (left, top, width, height) = decode_rle(one["segmentation"]), one["bbox"]
        again[one["image_id"] - 1][mask] = one["track_id"]
        assert one["area"] == mask.sum() == mask[top : top + height, left : left + width].sum() > 0
        assert (
            mask[top].any() and mask[top + height - 1].any() and mask[:, left].any() and mask[:, left + width - 1].any()
        )
    assert torch.equal(again, masks)
    assert len({one["id"] for one in found["annotations"]}) == len(found["annotations"])


def test_a_folder_of_clips_is_segmented_with_one_model_and_resumed(
    clip: Clip, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _clips("abc")
    Path("list.txt").write_text("\ufeffc\nb\n", encoding="utf-8")  # as Windows' editor begins a file
    command = ("segment", "clips", "--mask", "given", "--checkpoint", checkpoint, "--overlay", "none", "--out", "out")
    assert _run(*command, "--list", "list.txt") == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["b", "c"]
    assert _run(*command) == 2  # occupied
    before = Path("out/b/00003.png").stat().st_mtime_ns
    assert _run(*command, "--resume") == 0
    assert "out/b is there already" in capsys.readouterr().out and Path("out/b/00003.png").stat().st_mtime_ns == before
    assert _segment(checkpoint, "--mask", "masks/00000.png", out="one") == 0
    for name in "abc":
        assert torch.equal(read_mask(f"out/{name}/00003.png"), read_mask("one/00003.png"))
    shutil.rmtree("out/b")
    Path("out/b").mkdir()
    Path("out/b/notes.txt").touch()  # no masks are there
    assert _run(*command, "--resume") == 2
    assert "out/b holds files already" in capsys.readouterr().err


def test_the_masks_of_clips_are_written_to_one_archive_for_a_server(
    clip: Clip, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _clips("abc")
    Path("test-dev.txt").write_text("c\na\n")
    command = ("segment", "clips", "--mask", "given", "--checkpoint", checkpoint, "--list", "test-dev.txt", "--alpha")
    assert _run(*command, "--overlay", "gif", "--out", "out", "--zip", "out.zip") == 0
    assert "8 masks of 2 clips are in out.zip" in capsys.readouterr().out
    with ZipFile("out.zip") as archive:  # neither the overlay nor the probabilities
        assert archive.namelist() == [f"{name}/{t:05d}.png" for name in "ca" for t in range(4)]
        assert archive.read("a/00003.png") == Path("out/a/00003.png").read_bytes()
    assert _run(*command, "--out", "out", "--resume", "--zip", "again.zip") == 0
    assert Path("again.zip").read_bytes() == Path("out.zip").read_bytes()
    assert _run(*command, "--out", "new", "--zip", "out.zip") == 2 and not Path("new").exists()
    assert _segment(checkpoint, "--mask", "masks/00000.png", "--zip", "one.zip", out="new") == 2
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "feelvos-lab: --zip out.zip is there already: choose another name",
        "feelvos-lab: --zip one.zip is for a folder of clips, one video was given",
    ]


def test_a_list_of_frames_and_masks_names_their_folders(clip: Clip, checkpoint: Path) -> None:
    _clips("ab")
    lines = [
        f"/JPEGImages/480p/{name}/{t:05d}.jpg /Annotations/480p/{name}/{t:05d}.png" for name in "ba" for t in (0, 1)
    ]
    Path("val.txt").write_text("\n".join(lines))
    command = ("segment", "clips", "--mask", "given", "--checkpoint", checkpoint, "--list", "val.txt")
    assert _run(*command, "--overlay", "none", "--out", "out") == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("clips --mask given/b.png", "the clips in clips need --mask DIR, a folder with NAME.png or a folder NAME for"),
        ("clips --mask masks", "clip a has no mask: expected masks/a.png or a folder masks/a"),
        ("clips --mask given --list none.txt", "--list none.txt cannot be read: No such file or directory, one name"),
        ("clips --mask given --list bad.txt", "--list bad.txt holds '../video', the name of a folder was expected"),
        ("video --mask given/b.png --resume", "--resume is for a folder of clips: the masks of one video are written"),
    ],
)
def test_clips_that_do_not_fit_are_refused_in_one_sentence(
    arguments: str, sentence: str, clip: Clip, capsys: pytest.CaptureFixture[str]
) -> None:
    _clips("abc")
    Path("bad.txt").write_text("../video\n")
    assert _run("segment", *arguments.split(), "--overlay", "none", "--out", "out") == 2
    assert capsys.readouterr().err.startswith(f"feelvos-lab: {sentence}")
    assert not Path("out").exists()


def test_a_part_of_a_video_keeps_the_names_of_its_frames(clip: Clip, checkpoint: Path) -> None:
    assert _segment(checkpoint, "--mask", "masks/00001.png", "--from", "1", "--every", "2") == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["00001.png", "00003.png"]
    part = Clip("part", clip.frames[[1, 3]], clip.masks[[1, 3]], clip.object_ids)
    for t, prediction in zip((1, 3), propagate(load_checkpoint(checkpoint)[0], part), strict=True):
        assert torch.equal(read_mask(f"out/{t:05d}.png"), prediction.labels)


def test_a_part_of_a_video_file_is_numbered_as_the_file(clip: Clip, checkpoint: Path) -> None:
    pytest.importorskip("av")
    with open_movie(Path("film.mp4"), kind="mp4") as append:
        for frame in clip.frames:
            append(frame.permute(1, 2, 0).numpy())
    command = ("segment", "film.mp4", "--mask", "masks/00001.png", "--from", "1", "--to", "2", "--out", "out")
    assert _run(*command, "--checkpoint", checkpoint, "--overlay", "none") == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["00001.png", "00002.png"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--mask masks/00000.png --from 9", "mask masks/00000.png is for frame '9', expected one of 00000 to 00003"),
        ("--mask masks/00000.png --to 9", "there is no frame '9': expected one of 00000 to 00003"),
        ("--mask masks/00000.png --every 4", "1 frames of video are chosen by first None, last None and every 4, at"),
        ("--mask 0=masks/00000.png --from 2", "none of the frames 00002 to 00003 that are chosen has a mask"),
    ],
)
def test_a_part_that_does_not_fit_is_refused_in_one_sentence(
    arguments: str, sentence: str, clip: Clip, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("segment", "video", *arguments.split(), "--overlay", "none", "--out", "out") == 2
    assert capsys.readouterr().err.startswith(f"feelvos-lab: {sentence}")


def test_what_became_of_each_colour_is_said(clip: Clip, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    colours = np.zeros((40, 48, 3), np.uint8)
    colours[4:14, 4:14], colours[20:34, 20:40] = (255, 0, 0), (0, 0, 255)
    Image.fromarray(colours).save("colours.png")
    assert _segment(checkpoint, "--mask", "colours.png") == 0
    assert "colour (255, 0, 0): object 1\ncolour (0, 0, 255): object 2\n" in capsys.readouterr().out
    assert read_mask("out/00000.png").unique().tolist() == [0, 1, 2]
