"""What notebook 11 asks of the library: a training checked before it begins, compared, foretold, and drawn."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from feelvos_lab.ablation import paper
from feelvos_lab.config import configure
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.errors import LabError
from feelvos_lab.lessons import training_run
from feelvos_lab.lessons.training_run import Forecast, LiveCurve, choose, compare_with_paper, forecast, saved_step
from feelvos_lab.training import train

TINY = configure("smoke", steps=5, hard_anneal_steps=2, height=32, width=32)


@pytest.fixture
def run(tmp_path):
    clips = [make_clip(1, height=32, width=32, frames=4)]
    return partial(train, TINY, seed=0, clips=clips, folder=tmp_path)


@pytest.mark.parametrize(
    ("settings", "others", "words"),
    [
        ({"steps": 0}, {}, "steps must be greater than or equal to 1, got 0"),
        ({"steps": "100"}, {}, "steps must be a valid integer, got '100'"),
        ({"height": 4}, {}, "height must be 8 or more, got 4"),
        ({"width": -1}, {}, "width must be greater than or equal to 1, got -1"),
        ({"batch_size": 0}, {}, "batch_size must be greater"),
        ({"accumulate": 5}, {}, "accumulate must divide the batch_size of 48, got 5"),
        ({"precision": "float16"}, {}, "precision must be"),
        ({"test_height": -1}, {}, "test_height must be greater"),
        ({"data": "davis"}, {}, "data must be"),
        ({"data": "youtube-vos"}, {}, "data must be a set with a published val list, got 'youtube-vos'"),
        ({"data": "shapes"}, {}, "data 'shapes' needs one of the presets smoke, reduced, got 'full'"),
        ({"crop": 300}, {}, "unknown setting 'crop'"),
        ({}, {"start": "trunk.safetensors"}, "start must be 'scratch' or a file, got 'trunk.safetensors'"),
        ({}, {"start_part": "head"}, "start_part must be 'trunk' or 'all', got 'head'"),
        ({}, {"save_every": 0}, "save_every must be 1 or more, got 0"),
    ],
)
def test_what_is_out_of_range_is_rejected_by_its_name(settings, others, words):
    with pytest.raises(LabError) as error:
        choose("full", settings, **others)
    assert words in str(error.value)


def test_what_is_not_given_is_as_the_preset_and_the_annealing_keeps_its_share():
    assert choose("real", {"steps": None, "data": None}) == configure("real")
    assert choose("full", {}).digest() == configure("full").digest()
    assert choose("full", {"steps": 900}).train.hard_anneal_steps == 450


def test_a_training_that_cannot_be_made_here_is_replaced_and_the_sentence_says_why(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config, said = training_run.stand_in(configure("real"), cpu=False)
    assert config.data.data == "shapes" and config.preset == "smoke"
    assert said.startswith("THIS IS A DEMONSTRATION AND NOT THE TRAINING OF PRESET REAL: data_root is empty")
    _, said = training_run.stand_in(configure("full", root="DAVIS"), cpu=False)
    assert "there is no GPU" in said and "data_root" not in said
    for asked, cpu in (
        (configure("full", root="DAVIS"), True),
        (configure("real", root="DAVIS"), False),
        (configure("smoke"), False),
    ):
        assert training_run.stand_in(asked, cpu=cpu) == (asked, "")


def test_preset_full_on_both_data_sets_is_the_papers_training_and_real_is_another():
    both = compare_with_paper(configure("full", data=paper.PAPER_DATA))
    assert not both.differs.any()
    real = compare_with_paper(configure("real"))
    assert 35 <= real.differs.sum() <= 45  # "some forty", says the notebook
    assert list(real.differs) == sorted(real.differs, reverse=True)
    assert real.loc["paste"].to_dict() == {"paper": "0.0", "here": "0.5", "given by": "this project", "differs": True}


def test_each_setting_is_given_by_one_source_and_exists():
    named = [name for names in paper.GIVEN_BY.values() for name in names]
    assert len(set(named)) == len(named) and set(named) <= configure("full").flat().keys()


def test_the_measured_steps_belong_to_the_training(run, tmp_path, one_thread):
    foreseen = forecast(run, TINY, folder=tmp_path)
    assert (foreseen.first, len(foreseen.seconds), foreseen.left) == (0, 3, 2) and saved_step(tmp_path) == 3
    assert all(0 < seconds < 60 for seconds in foreseen.seconds) and foreseen.peak > 10**7
    assert foreseen.rest == pytest.approx(sum(foreseen.seconds[1:]))  # two measured later steps, two left
    resumed = forecast(run, TINY, folder=tmp_path)
    assert (resumed.first, len(resumed.seconds), resumed.left) == (3, 2, 0)
    complete = forecast(run, TINY, folder=tmp_path)
    assert complete.seconds == () and complete.rest == 0 and str(complete).startswith("all 5 steps are made")
    whole = run(folder=None).model.state_dict()
    assert all(torch.equal(tensor, whole[name]) for name, tensor in run().model.state_dict().items())


def test_the_first_step_is_shown_and_does_not_count():
    foreseen = Forecast(first=0, seconds=(9.0, 2.0, 4.0), left=1200, peak=3 * 10**9, place="GPU", history=[])
    assert str(foreseen) == (
        "steps 1 to 3 took 9.00, 2.00, 4.00 s; about 60 min for the 1,200 steps that remain, peak 3.0 GB of the GPU"
    )
    assert Forecast(0, (9.0,), 2, 1, "GPU", []).rest == 18


class _Shown:
    def __init__(self):
        self.lines = []

    def update(self, figure):
        self.lines.append(figure.axes[0].get_xlabel())


def test_an_open_notebook_gets_a_curve_that_grows_and_papermill_lines(run, monkeypatch, capsys, one_thread):
    shown = _Shown()
    monkeypatch.setattr(training_run, "display", lambda figure, display_id: shown.update(figure) or shown)
    curve = LiveCurve(every=0)
    trained = run(progress=curve, log_every=1)
    assert [row["step"] for row in curve.rows] == [1, 2, 3, 4, 5] and not shown.lines
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == [f"{n}/5" for n in range(1, 6)]
    assert [row["loss"] for row in curve.rows] == pytest.approx([row["loss"] for row in trained.history], abs=5e-4)

    monkeypatch.setattr(training_run, "is_live", lambda: True)
    run(folder=None, progress=LiveCurve(every=0), log_every=1)
    assert [line.split()[1] for line in shown.lines] == [f"{n}/5" for n in range(1, 6)]
    shown.lines.clear()
    run(folder=None, progress=LiveCurve(every=3600), log_every=1)
    assert [line.split()[1] for line in shown.lines] == ["1/5", "5/5"] and not capsys.readouterr().out
