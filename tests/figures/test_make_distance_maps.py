"""Figures of any clip: matches are the nearest, every figure says how it was made, a refusal is one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from feelvos_lab.cli import main as cli
from feelvos_lab.config import configure
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.images import write_mask
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.errors import LabError
from feelvos_lab.figures import make_distance_maps
from feelvos_lab.inference import matches
from feelvos_lab.inference.propagation import Prediction
from feelvos_lab.model.checkpoint import load_checkpoint, sha256
from feelvos_lab.model.feelvos import Cues, Labelled
from feelvos_lab.model.grid import resize_labels
from feelvos_lab.model.matching import global_matching, local_matching, naive

CLIP = make_clip(3, height=40, width=48, frames=5, objects=2)


def seen_by_chance(*, rows: int = 5, columns: int = 6) -> tuple[Prediction, Clip]:
    """A frame of random embeddings, matched with two others; object 3 is missing in the second one's left half."""
    torch.manual_seed(0)
    now, first, previous = torch.rand(3, 3, rows, columns)
    labels = torch.randint(0, 3, (2, rows, columns))
    labels[1][:, : columns // 2][labels[1][:, : columns // 2] == 2] = 0
    maps = torch.rand(2, 3, rows, columns)
    references = Labelled(first, labels[0], maps[0]), Labelled(previous, labels[1], maps[0])
    prediction = Prediction(2, torch.zeros(20, 24, dtype=torch.int64), None, Cues(*maps, None, None, now), references)
    clip = Clip(
        "chance", torch.zeros(3, 3, 20, 24, dtype=torch.uint8), torch.zeros(3, 20, 24, dtype=torch.int64), (1, 3)
    )
    return prediction, clip


@pytest.mark.parametrize("previous_matching", ["local", "global"])
def test_a_match_lies_where_the_loops_find_the_smallest_distance(previous_matching):
    seen, clip = seen_by_chance()
    model = SimpleNamespace(config=configure("smoke", radius=1, previous_matching=previous_matching).model)
    now, ((first, first_labels, _), (before, labels, _)) = seen.cues.embeddings, seen.references
    near = naive.global_matching(now, first, first_labels, num_objects=3)
    back = naive.global_matching(now, before, labels, num_objects=3)
    if previous_matching == "local":
        back = naive.local_matching(now, before, labels, num_objects=3, radius=1)
    cells = [(y, x) for y in range(5) for x in range(6)]
    lost = 0
    for k, o in enumerate((0, 1, 3)):
        for link in matches.find_links(seen, o, clip, cells, model=model):
            y, x = link.query
            for target, distance, least, frame, marks in (
                (link.first, link.first_distance, near, first, first_labels),
                (link.previous, link.previous_distance, back, before, labels),
            ):
                assert distance == pytest.approx(float(least[k, y, x]), abs=1e-5)
                if target is None:
                    assert distance == 1
                    lost += 1
                    continue
                assert marks[target] == k
                alone = naive.global_matching(
                    now[:, y : y + 1, x : x + 1], frame[:, target[0], target[1], None], torch.tensor([0]), num_objects=1
                )
                assert float(alone) == pytest.approx(float(least[k, y, x]), abs=1e-5)
                if frame is before and previous_matching == "local":
                    assert max(abs(target[0] - y), abs(target[1] - x)) <= 1
    assert (lost > 0) == (previous_matching == "local")


def test_references_are_what_the_network_was_given(checkpoint):
    model, _ = load_checkpoint(checkpoint)
    seen = matches.run_to_frames(model, CLIP, [1, 4])
    assert sorted(seen) == [0, 1, 3, 4] and seen[0].references is None
    (_, after_first), (first, after_last) = seen[1].references, seen[4].references
    assert torch.equal(after_last.embeddings, seen[3].cues.embeddings)  # an untrained one's maps
    assert torch.equal(first.embeddings, after_first.embeddings)  # are alike whatever they are made of
    for t in (1, 3, 4):
        cues, (first, previous) = seen[t].cues, seen[t].references
        e = cues.embeddings
        again = global_matching(e, first.embeddings, first.labels, num_objects=3)
        torch.testing.assert_close(again, cues.global_map)
        radius = model.config.radius
        again = local_matching(e, previous.embeddings, previous.labels, num_objects=3, radius=radius)
        torch.testing.assert_close(again, cues.local_map)


def test_the_cells_that_ask_lie_inside_the_object_and_the_last_is_its_best_look_alike():
    labels = torch.zeros(37, 45, dtype=torch.int64)
    labels[4:29, 4:25] = 3
    near = torch.full((3, 10, 12), 0.9)
    near[2, 8, 10], near[2, 7, 8], near[2, 2, 7] = 0.1, 0.2, 0.0  # the last one touches the object
    cues = Cues(near, None, None, None, torch.zeros(2, 10, 12))
    cells = matches.choose_cells(Prediction(1, labels, None, cues), 3, Clip("x", labels[None], labels[None], (1, 3)))
    inside = resize_labels(labels, (10, 12)) == 3
    assert 2 <= len(cells[:-1]) <= 3 and all(inside[cell] for cell in cells[:-1])
    assert cells[-1] == (8, 10)
    apart = [max(abs(a[0] - b[0]), abs(a[1] - b[1])) for i, a in enumerate(cells) for b in cells[:i]]
    assert min(apart) >= 2
    gone = matches.choose_cells(Prediction(1, labels * 0, None, cues), 3, Clip("x", labels[None], labels[None], (1, 3)))
    assert gone == [(2, 7)]


def test_a_strip_of_one_frame_leads_up_to_it_and_of_several_shows_these():
    assert make_distance_maps.Request(layout="strip", frames=[12]).columns() == [1, 3, 5, 8, 10, 12]
    assert make_distance_maps.Request(layout="strip", frames=[12], width="column").columns() == [1, 5, 8, 12]
    assert make_distance_maps.Request(layout="strip", frames=[2]).columns() == [1, 2]
    assert make_distance_maps.Request(layout="strip", frames=[9, 3]).columns() == [3, 9]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            {"layout": "sheat"},
            "there is no layout 'sheat' (did you mean 'sheet'?): it must be one of sheet, strip, arrows",
        ),
        ({"width": "colum"}, "there is no width 'colum' (did you mean 'column'?)"),
        ({"frames": []}, "a figure needs a frame, got none"),
        ({"frames": [0]}, "frame 0 of clip 'shapes-3' has no distance maps"),
        ({"frames": [3, 5]}, "there is no frame 5 in clip 'shapes-3': it has frames 0 to 4"),
        ({"frames": [-1]}, "there is no frame -1"),
        ({"objects": [1, 7]}, "object_id must be one of 0, 1, 2 in clip 'shapes-3', got 7"),
        ({"points": [[39, 48]]}, "a row and a column of a frame of 40×48 pixels, got (39, 48)"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_the_network_runs(asked, words):
    with pytest.raises(LabError) as refusal:
        make_distance_maps.Request(**{"frames": [2], **asked}).check(CLIP)
    assert words in str(refusal.value)


def test_objects_that_enter_later_are_drawn_from_then_on(checkpoint):
    late = Clip("late", CLIP.frames, CLIP.masks, CLIP.object_ids, starts=(0, 2))
    for request, words in (
        (make_distance_maps.Request(frames=[2, 4], objects=[2]), "object 2 of clip 'late' is given in frame 2 only"),
        (make_distance_maps.Request(layout="arrows", frames=[4]), "arrows lead to one first frame"),
    ):
        with pytest.raises(LabError, match=words):
            request.check(late)
    model, _ = load_checkpoint(checkpoint)
    drawn = [
        shown["objects"]
        for _, _, shown in make_distance_maps.draw(model, late, make_distance_maps.Request(frames=[1, 4]))
    ]
    assert drawn == [[1], [1, 2]]


def test_the_sample_video_is_found_by_its_name_and_needs_no_mask() -> None:
    (bunny,) = make_distance_maps.find_clips(["bunny"])
    assert (bunny.clip.name, len(bunny.clip), bunny.mask) == ("bunny", 41, "")
    with pytest.raises(LabError, match="got 0 videos and 1 masks"):
        make_distance_maps.find_clips(["bunny"], ["mask.png"])


def test_synthetic_clips_have_names_and_need_no_mask(tmp_path):
    shapes, doubles = make_distance_maps.find_clips(["shapes-7", "doubles-1000000500"])
    assert torch.equal(shapes.clip.frames, make_clip(7).frames) and shapes.clip.name == "shapes-7"
    lesson = make_clip(1_000_000_500, height=96, width=128, frames=16, difficulty=make_distance_maps.DOUBLES, objects=2)
    assert torch.equal(doubles.clip.frames, lesson.frames) and doubles.clip.name == "doubles-1000000500"
    for videos, masks, words in (
        ([], [], "a figure needs a clip, got none"),
        (["shapes-7"], ["m.png"], "got 0 videos and 1 masks"),
        (["film.mp4"], [], "got 1 videos and 0 masks"),
        (["film.mp4"], ["m.png"], "there is no film.mp4"),
        (["film.mp4"], [""], "there is no film.mp4"),
        (["shapes-7", "shapes-7"], [], "two clips are called 'shapes-7'"),
    ):
        with pytest.raises(LabError, match=words):
            make_distance_maps.find_clips(videos, masks)


def test_no_clip_is_begun_where_a_later_one_would_be_refused(checkpoint, tmp_path):
    model, _ = load_checkpoint(checkpoint)
    sources = [
        make_distance_maps.Source(CLIP, "long", ""),
        make_distance_maps.Source(make_clip(4, height=40, width=48, frames=3), "short", ""),
    ]
    with pytest.raises(LabError, match="there is no frame 4 in clip 'shapes-4'"):
        list(
            make_distance_maps.make_figures(
                model, sources, make_distance_maps.Request(frames=[4]), folder=tmp_path / "figures"
            )
        )
    assert not (tmp_path / "figures").exists()


# the command line


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A folder of frames with a name that is no file's, and its first mask beside it."""
    folder = tmp_path / "my film"
    folder.mkdir()
    for t, frame in enumerate(CLIP.frames):
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(folder / f"{t:05d}.png")
    write_mask(tmp_path / "first.png", CLIP.masks[0])
    return folder


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main(["figure", *(str(a) for a in arguments)])
    return left.value.code


def test_the_command_draws_each_clip_and_says_how(video, checkpoint, tmp_path):
    mask, out = tmp_path / "first.png", tmp_path / "out"
    options = ("--frame", 3, "--layout", "arrows", "--object", 2, "--point", "8,20", "--width", "column")
    assert run(video, "shapes-7", "--mask", mask, "--checkpoint", checkpoint, *options, "--out", out) == 0
    names = ["my_film-arrows-3-object-2-column", "shapes-7-arrows-3-object-2-column"]
    assert sorted(p.name for p in out.iterdir()) == sorted(f"{n}.{e}" for n in names for e in ("png", "pdf", "json"))
    notes = json.loads((out / f"{names[0]}.json").read_text())
    assert notes["checkpoint_sha256"] == sha256(checkpoint) and notes["preset"] == "smoke"
    assert "commit" in notes and "torch" in notes["versions"]
    (match,) = notes["parameters"].pop("matches")
    assert match["query"] == [2, 5] and match.keys() == set(matches.PixelMatches._fields)
    assert notes["parameters"] == {
        "video": str(video), "mask": str(mask), "layout": "arrows", "width": "column", "height": 0,
        "points": [[8, 20]], "frames": [3], "objects": [2],
    }  # fmt: skip
    with Image.open(out / f"{names[0]}.png") as image:
        assert image.width == 502  # 3.35 inches of 150 dots


def test_notes_are_enough_to_make_the_figure_again(checkpoint, tmp_path):
    assert run("shapes-7", "--frame", 2, "--layout", "strip", "--checkpoint", checkpoint, "--out", tmp_path / "a") == 0
    (notes,) = (tmp_path / "a").glob("*.json")
    made = json.loads(notes.read_text())["parameters"]
    frames = [word for t in made["frames"] for word in ("--frame", t)]
    again = (made["video"], *frames, "--layout", made["layout"], "--width", made["width"], "--height", made["height"])
    assert run(*again, "--checkpoint", checkpoint, "--out", tmp_path / "b") == 0
    for kind in ("png", "pdf"):
        assert len({p.read_bytes() for p in tmp_path.glob(f"?/*.{kind}")}) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--layout", "srtip"), "(did you mean 'strip'?)"),
        (("--frame", 0), "frame 0 of clip 'doubles-1000000500' has no distance maps"),
        (("--frame", 16), "there is no frame 16"),
        (("--object", 3), "object_id must be one of 0, 1, 2 in clip"),
        (("--point", "5;6"), "--point must be ROW,COLUMN in pixels, got '5;6'"),
        (("--checkpoint", "none.safetensors"), "no checkpoint at none.safetensors"),
        (("shapes-1", "--mask", "m.png"), "got 0 videos and 1 masks"),
    ],
)
def test_a_refusal_of_the_command_is_one_sentence_and_leaves_nothing(options, words, tmp_path, capsys):
    assert run("--frame", 2, *options, "--out", tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("feelvos-lab: ") and words in line
    assert list(tmp_path.iterdir()) == []
