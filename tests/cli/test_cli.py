"""The command line does what it says, in the files that it says."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from feelvos_lab.cli import doctor, jupyter
from feelvos_lab.cli import main as cli
from feelvos_lab.cli import train as cli_train
from feelvos_lab.config import configure
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.images import read_distance, read_mask, write_distance, write_mask
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.data.video import open_movie
from feelvos_lab.errors import LabError
from feelvos_lab.evaluation.scoring import benchmark_caveat
from feelvos_lab.inference.propagation import propagate
from feelvos_lab.model.checkpoint import load_checkpoint, read_card, save_checkpoint
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


def test_help_does_not_wait_for_torch() -> None:
    script = "import sys, feelvos_lab.cli.main; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_train_writes_a_model_with_its_card_and_history(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert _run("train", "--preset", "smoke", "--seed", 3, "--set", "steps=2", "--set", "radius=3", "--out", out) == 0
    assert sorted(p.name for p in out.iterdir()) == ["history.csv", "model.json", "model.safetensors"]
    _, config = load_checkpoint(out / "model.safetensors")
    assert (config.train.steps, config.model.radius) == (2, 3)
    card = read_card(out / "model.safetensors")
    assert card["command"] == "feelvos-lab train --preset smoke --seed 3 --set steps=2 --set radius=3 --out DIR"
    assert (card["seed"], card["digest"]) == (3, config.digest())
    rows = list(csv.DictReader((out / "history.csv").read_text().splitlines()))
    assert list(rows[0]) == ["step", "loss", "learning_rate", "seconds"] and rows[-1]["step"] == "2"


def test_a_training_can_start_from_a_whole_checkpoint_or_from_its_backbone_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still = ("--preset", "smoke", "--set", "steps=1", "--set", "learning_rate=0.0")
    assert _run("train", *still, "--seed", 1, "--out", tmp_path / "first") == 0
    start = tmp_path / "first" / "model.safetensors"
    first = dict(load_checkpoint(start)[0].named_parameters())
    for name, options, told in (("all", (), "nothing"), ("trunk", ("--trunk-only",), "decoder.context")):
        out = tmp_path / name
        assert _run("train", *still, "--seed", 2, "--initialise-from", start, *options, "--out", out) == 0
        assert told in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("starts from"))
        command = read_card(out / "model.safetensors")["command"]
        assert "--initialise-from model.safetensors" in command and ("--trunk-only" in command) == bool(options)
        trained = load_checkpoint(out / "model.safetensors")[0].named_parameters()
        same = {n: torch.equal(p, first[n]) for n, p in trained}
        assert all(equal for n, equal in same.items() if name == "all" or n.startswith("backbone."))
        assert same["embedding.pointwise.weight"] == (name == "all")


def test_trunk_only_needs_something_to_start_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("train", "--preset", "smoke", "--trunk-only", "--out", tmp_path / "out") == 2
    assert "--initialise-from, which is not given" in capsys.readouterr().err


def test_doctor_prints_the_parameters_of_a_preset_by_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("doctor", "--model", "full") == 0
    table = {line[:34].strip(): line[34:].split() for line in capsys.readouterr().out.splitlines()}
    assert table["backbone"] == ["37,867,312"] * 2 and table["in all"] == ["41,393,819"] * 2  # the official counts
    assert _run("doctor", "--model", "real") == 0
    frozen = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("backbone"))
    assert frozen.split()[-1] == "0"
    assert _run("doctor", "--model", "large") == 2
    assert "unknown preset 'large'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("learning_rate=1e-4", 1e-4),
        ("previous_mask=false", False),
        ("context_rates=1,2", (1, 2)),
        ("first_matching=none", "none"),
        ("backbone=resnet18", "resnet18"),
    ],
)
def test_settings_on_the_command_line_have_their_types(pair: str, value: object) -> None:
    settings = cli_train.settings_of([pair])
    assert configure("reduced", **settings).flat()[pair.split("=")[0]] == value


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


def test_evaluate_prints_the_baseline_and_that_synthetic_clips_are_no_benchmark(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("evaluate", "--data", "shapes", "--checkpoint", checkpoint, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "copy J&F" in printed and "no DAVIS benchmark" in printed and "n=" in printed
    files = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.csv"))
    both = ["global.csv", "per_object.csv"]
    assert files == [*(f"copy_first_mask/{name}" for name in both), *both]


def davis_of_one(folder: Path) -> tuple[Path, Clip]:
    """A DAVIS-2017 with one sequence in its val list, of five frames 40 rows high."""
    clip = make_clip(3, height=40, width=48, frames=5, objects=2)
    root = folder / "davis"
    (root / "JPEGImages/480p/toys").mkdir(parents=True)
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/val.txt").write_text("toys\n")
    for t in range(5):
        Image.fromarray(clip.frames[t].permute(1, 2, 0).numpy()).save(root / f"JPEGImages/480p/toys/{t:05d}.jpg")
        write_mask(root / f"Annotations/480p/toys/{t:05d}.png", clip.masks[t])
    return root, clip


def test_masks_made_elsewhere_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, clip = davis_of_one(tmp_path)
    for t in range(1, 4):  # nothing is scored in the first and the last frame, so their masks may be missing
        write_mask(tmp_path / f"masks/toys/{t:05d}.png", clip.masks[t])
    arguments = ("evaluate", "--data", "davis-2017", "--data-root", root, "--predictions", tmp_path / "masks")
    assert _run(*arguments, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "100.0" in printed and "the published val list has 30 sequences, here are 1" in printed
    assert (tmp_path / "out" / "global.csv").read_text().splitlines()[1].startswith("1.000000,1.000000")


@pytest.mark.parametrize(
    ("height", "seen"), [(20, "downscaled to 20 rows"), (40, "as they are, 40 rows"), (60, "as they are, 40")]
)
def test_evaluate_says_how_high_a_frame_the_network_sees(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str], height: int, seen: str
) -> None:
    root, _ = davis_of_one(tmp_path)
    arguments = ("evaluate", "--data", "davis-2017", "--data-root", root, "--checkpoint", checkpoint)
    assert _run(*arguments, "--height", height, "--out", tmp_path / "out") == 0
    assert f"the network sees frames {seen}" in capsys.readouterr().out


def test_only_the_whole_val_list_at_its_own_size_is_called_a_benchmark() -> None:
    clips = [Clip("a", torch.zeros(2, 3, 480, 4, dtype=torch.uint8), torch.zeros(2, 480, 4), (1,))] * 20
    small = [Clip("b", torch.zeros(2, 3, 240, 4, dtype=torch.uint8), torch.zeros(2, 240, 4), (1,))] * 20
    assert benchmark_caveat("davis-2016", split="test", clips=clips, scored_height=0) == ""
    assert "scaled" in benchmark_caveat("davis-2016", split="test", clips=clips, scored_height=240)
    assert "480 rows, those of b fewer" in benchmark_caveat("davis-2016", split="test", clips=small, scored_height=0)
    assert "20 sequences" in benchmark_caveat("davis-2016", split="test", clips=clips[:3], scored_height=0)
    assert "train split" in benchmark_caveat("davis-2016", split="train", clips=clips, scored_height=0)
    assert "no DAVIS benchmark" in benchmark_caveat("shapes", split="test", clips=clips, scored_height=0)


def test_doctor_says_one_line_a_part_and_finds_this_installation_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("doctor") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(doctor.CHECKS)
    assert any(line.startswith("ok      torch") for line in lines)


def test_doctor_reports_a_broken_package_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def _torch() -> doctor.Finding:
        raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.setattr(doctor, "CHECKS", (_torch,))
    assert _run("doctor") == 1
    assert capsys.readouterr().out.startswith("missing torch         operator torchvision::nms does not exist: run")


def test_ablate_plan_shows_every_run_and_starts_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = jupyter.NOTEBOOKS.parent / "experiments" / "smoke.yml"
    assert _run("ablate", "plan", spec, "--seeds", "0,4", "--root", tmp_path / "experiments") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12 and all(line.startswith("missing ") for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_start_copies_new_notebooks_and_keeps_a_students_work(tmp_path: Path) -> None:
    source, desk = tmp_path / "notebooks", tmp_path / "work"
    source.mkdir()
    for name in ("a", "b"):
        (source / f"{name}.ipynb").write_text("1")
    (source / "symbols.md").write_text("linked by the lessons")
    assert jupyter.copy_notebooks(source, desk) == [] and (desk / "symbols.md").exists()
    (desk / "a.ipynb").write_text("mine")
    for name in ("a", "b"):
        (source / f"{name}.ipynb").write_text("2")
    kept = jupyter.copy_notebooks(source, desk)
    assert [(desk / f"{name}.ipynb").read_text() for name in ("a", "b")] == ["mine", "2"]
    assert len(kept) == 1 and "a.ipynb: yours is kept" in kept[0]


def test_strip_and_lint_work_on_notebooks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = json.loads((jupyter.NOTEBOOKS / "00_start_here.ipynb").read_text())
    next(c for c in book["cells"] if c["cell_type"] == "code")["execution_count"] = 4
    (tmp_path / "book.ipynb").write_text(json.dumps(book))
    assert _run("lint", tmp_path / "book.ipynb") == 1
    assert "has outputs" in capsys.readouterr().out
    assert _run("strip", tmp_path / "book.ipynb") == 0
    assert _run("lint", tmp_path / "book.ipynb") == 0


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


def test_memory_that_caches_hold_counts_as_available(monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(total=4 * 2**30, free=2**20, available=3 * 2**30)
    monkeypatch.setattr("psutil.virtual_memory", lambda: found)
    assert doctor._memory().line().endswith("4.0 GiB, 3.0 GiB available")
    found.total = 2**30
    assert not doctor._memory().ok
