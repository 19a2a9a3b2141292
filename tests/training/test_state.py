"""Laws of a training's state: what no training has written is rejected in one sentence, before anything is changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from feelvos_lab.cli import main as cli
from feelvos_lab.config import configure
from feelvos_lab.data.synthetic import make_clips
from feelvos_lab.errors import LabError
from feelvos_lab.model.build import build_model
from feelvos_lab.model.checkpoint import STATE, read_tensors, write_tensors
from feelvos_lab.training.loop import train
from feelvos_lab.training.optimizer import make_optimizer
from feelvos_lab.training.state import TrainingState

STEPS = 4
CONFIG = configure("smoke", steps=STEPS, hard_anneal_steps=2)
CLIPS = make_clips("train", count=2, height=64, width=64, frames=6)

Tensors, Notes = dict[str, Tensor], dict[str, str]
Forgery = Callable[[Tensors, Notes], object]

WEIGHT, MOMENT, STEP = "model/head.logit.bias", "optimizer/3/exp_avg", "optimizer/3/step"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tensors, Notes]:
    """The state of a training after two of four steps."""
    folder = tmp_path_factory.mktemp("begun")
    train(CONFIG, seed=0, clips=CLIPS, folder=folder, stop_after=2, log_every=1)
    return read_tensors(folder / "state.safetensors", expected=(STATE,))


def note(**values: str) -> Forgery:
    return lambda tensors, notes: notes.update(values)


def without(name: str) -> Forgery:
    return lambda tensors, notes: tensors.pop(name, None) is None and notes.pop(name)


def tensor(name: str, value: Tensor) -> Forgery:
    return lambda tensors, notes: tensors.__setitem__(name, value)


def changed(name: str, change: Callable[[Tensor], Tensor]) -> Forgery:
    return lambda tensors, notes: tensors.__setitem__(name, change(tensors[name].clone()))


def whole_slots_gone(tensors: Tensors, notes: Notes) -> None:
    """All of one parameter, as if it had never had a gradient."""
    for slot in ("exp_avg", "exp_avg_sq", "step"):
        del tensors[f"optimizer/3/{slot}"]


def no_slots(tensors: Tensors, notes: Notes) -> None:
    for name in [name for name in tensors if name.startswith("optimizer/")]:
        del tensors[name]
    notes.pop("tensors")


def row(**values: object) -> str:
    return json.dumps([{"step": 1, "loss": 0.5, "learning_rate": 0.1, "seconds": 1.0, **values}])


FORGERIES: dict[str, tuple[Forgery, str]] = {
    "no step": (without("step"), "it lacks the note 'step'"),
    "no history": (without("history"), "it lacks the note 'history'"),
    "no seed": (without("seed"), "it lacks the note 'seed'"),
    "no digest": (without("digest"), "it lacks the note 'digest'"),
    "a seed that is no number": (note(seed="x"), "seed x, expected"),
    "a seed of 5,000 digits": (note(seed="9" * 5000), "expected"),
    "a step that is no number": (note(step="two"), "step must be 0 to 4, is 'two'"),
    "a step that is NaN": (note(step="nan"), "is 'nan'"),
    "a negative step": (note(step="-1"), "is '-1'"),
    "a fraction of a step": (note(step="1.5"), "is '1.5'"),
    "a step after the last": (note(step="5"), "is '5'"),
    "a step of 5,000 digits": (note(step="9" * 5000), "step must be 0 to 4"),
    "a step in superscript": (note(step="²"), "is '²'"),
    "a history that is no JSON": (note(history="["), "history: Invalid JSON"),
    "a history that is no list": (note(history="{}"), "history: Input should be a valid"),
    "a history of numbers": (note(history="[1]"), r"history\[0\]"),
    "a history nested without end": (note(history="[" * 100_000), "history"),
    "a row without a loss": (note(history='[{"step": 1}]'), r"history\[0\]\['loss'\]"),
    "a loss that is NaN": (note(history=row(loss=float("nan"))), r"history\[0\]\['loss'\]"),
    "a loss that is text": (note(history=row(loss="0.5")), r"history\[0\]\['loss'\]"),
    "seconds of 400 digits": (note(history=row(seconds=10**400)), r"history\[0\]\['seconds'\]"),
    "one value more": (note(history=row(accuracy=1.0)), r"history\[0\]\['accuracy'\]"),
    "a row after the step": (note(history=row(step=3)), "ascending steps up to 2"),
    "a row twice": (note(history=row()[:-1] + ", " + row()[1:]), "ascending steps up to 2"),
    "a weight that is missing": (without(WEIGHT), "must hold [0-9]+ tensors, holds"),
    "another weight in its place": (
        lambda t, n: t.__setitem__("model/x", t.pop(WEIGHT)),
        "tensor model/.* is missing or unknown",
    ),
    "a weight of another shape": (
        tensor(WEIGHT, torch.zeros(7)),
        r"head.logit.bias must have shape \(1,\), has \(7,\)",
    ),
    "a weight of another type": (changed(WEIGHT, Tensor.double), "must be torch.float32, is torch.float64"),
    "a weight of eight bits": (changed(WEIGHT, lambda t: t.to(torch.float8_e4m3fn)), "must be torch.float32"),
    "a weight that is not finite": (changed(WEIGHT, lambda t: t / 0), "must be finite"),
    "a claim of 10⁹ numbers, of which none is there": (tensor(WEIGHT, torch.zeros(10**9, 0)), "must have shape"),
    "a parameter out of range": (
        lambda t, n: t.__setitem__("optimizer/9999/exp_avg", t.pop(MOMENT)),
        "tensor optimizer/9999/exp_avg is unknown to the optimizer",
    ),
    "a negative parameter": (lambda t, n: t.__setitem__("optimizer/-1/exp_avg", t.pop(MOMENT)), "is unknown to"),
    "a parameter with a zero before it": (
        lambda t, n: t.__setitem__("optimizer/03/exp_avg", t.pop(MOMENT)),
        "is unknown",
    ),
    "a parameter that is no number": (lambda t, n: t.__setitem__("optimizer/x/exp_avg", t.pop(MOMENT)), "is unknown"),
    "a slot without a parameter": (lambda t, n: t.__setitem__("optimizer/", t.pop(MOMENT)), "is unknown"),
    "a slot with a third name": (lambda t, n: t.__setitem__(f"{MOMENT}/x", t.pop(MOMENT)), "is unknown"),
    "a slot of another optimizer": (
        lambda t, n: t.__setitem__("optimizer/3/momentum_buffer", t.pop(MOMENT)),
        "momentum_buffer is unknown to the optimizer",
    ),
    "a tensor of nothing": (lambda t, n: t.__setitem__("x", t.pop(MOMENT)), "tensor x is unknown"),
    "a slot that is missing": (without(MOMENT), "must hold [0-9]+ tensors"),
    "a slot that is missing, and not counted": (
        lambda t, n: (t.pop(MOMENT), n.pop("tensors")),
        "parameter 3 must have exp_avg, exp_avg_sq, step, has",
    ),
    "the slots of a parameter that are missing": (whole_slots_gone, "must hold [0-9]+ tensors"),
    "no slots at all": (no_slots, "it lacks the optimizer's tensors of step 2"),
    "a slot of another shape": (tensor(MOMENT, torch.zeros(3)), "tensor optimizer/3/exp_avg must be"),
    "a slot of another type": (changed(MOMENT, Tensor.half), "is .* torch.float16"),
    "a slot that is not finite": (changed(MOMENT, lambda t: t * torch.nan), "exp_avg must be finite"),
    "a square that is negative": (
        changed("optimizer/3/exp_avg_sq", lambda t: t - 1),
        "exp_avg_sq must be finite, a sq",
    ),
    "an optimizer's step that is NaN": (tensor(STEP, torch.tensor(torch.nan)), "step must be finite"),
    "an optimizer's step after the state's": (tensor(STEP, torch.tensor(1e9)), r"must be a step up to 2, is 1e\+09"),
    "half an optimizer's step": (tensor(STEP, torch.tensor(0.5)), "must be a step up to 2, is 0.5"),
    "an optimizer's step that is negative": (tensor(STEP, torch.tensor(-1.0)), "must be a step up to 2, is -1"),
    "an optimizer's step for each number": (tensor(STEP, torch.ones(2)), "must be a single number"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_state_that_no_training_has_written_is_rejected(
    begun: tuple[Tensors, Notes], tmp_path: Path, forgery: str
) -> None:
    forge, reason = FORGERIES[forgery]
    tensors, notes = dict(begun[0]), dict(begun[1])
    forge(tensors, notes)
    write_tensors(tmp_path / "state.safetensors", tensors, notes)
    torch.manual_seed(0)
    model = build_model(CONFIG.model)
    optimizer = make_optimizer(model, CONFIG.train)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with pytest.raises(LabError, match=reason) as raised:
        TrainingState(tmp_path, CONFIG, 0).resume(model, optimizer)
    assert str(tmp_path / "state.safetensors") in str(raised.value) and len(str(raised.value)) < 500
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert not optimizer.state_dict()["state"]


def test_a_state_of_before_its_tensors_were_counted_is_resumed(begun: tuple[Tensors, Notes], tmp_path: Path) -> None:
    tensors, notes = begun
    write_tensors(tmp_path / "state.safetensors", tensors, {n: v for n, v in notes.items() if n != "tensors"})
    assert [r["step"] for r in train(CONFIG, seed=0, clips=CLIPS, folder=tmp_path, log_every=1).history] == [1, 2, 3, 4]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_state_is_resumed_whatever_its_optimizer_keeps(tmp_path: Path, optimizer: str, momentum: float) -> None:
    cues = {"first_matching": "none", "previous_matching": "none"}  # then some parameters never have a gradient
    config = configure("smoke", steps=2, hard_anneal_steps=1, optimizer=optimizer, momentum=momentum, **cues)
    whole = train(config, seed=0, clips=CLIPS).model.state_dict()
    train(config, seed=0, clips=CLIPS, folder=tmp_path, stop_after=1)
    resumed = train(config, seed=0, clips=CLIPS, folder=tmp_path).model.state_dict()
    assert all(torch.equal(weight, whole[name]) for name, weight in resumed.items())


def test_the_command_says_so_in_one_sentence(
    begun: tuple[Tensors, Notes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors, notes = begun
    state = tmp_path / "out" / "state.safetensors"
    write_tensors(state, tensors, {**notes, "step": "-7"})
    command = f"train --preset smoke --set steps={STEPS} --set hard_anneal_steps=2 --out {state.parent}"
    with pytest.raises(SystemExit) as left:
        cli.main(command.split())
    assert left.value.code == 2
    assert capsys.readouterr().err == (
        f"feelvos-lab: {state} is no state that this training has written: its step must be 0 to 4, is '-7'; "
        "use another folder or delete it\n"
    )
    assert state.exists()
