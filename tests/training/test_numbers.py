"""Numbers that nobody should cite: not finite, not repeatable, too coarse, or of another experiment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors import safe_open
from standin_experiment import SPEC, record_by_hand, write_spec
from torch import Tensor

from feelvos_lab import deterministic
from feelvos_lab.ablation import record as records
from feelvos_lab.ablation import report
from feelvos_lab.ablation.execute import run
from feelvos_lab.ablation.results import read_published, read_results
from feelvos_lab.ablation.runs import plan
from feelvos_lab.ablation.spec import load_spec
from feelvos_lab.cli.main import main
from feelvos_lab.config import configure
from feelvos_lab.data.synthetic import make_clips
from feelvos_lab.errors import LabError
from feelvos_lab.evaluation.scoring import evaluate
from feelvos_lab.model.build import build_model
from feelvos_lab.model.checkpoint import initialise, load_checkpoint, save_checkpoint
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.training import loop as training
from feelvos_lab.training import samples
from feelvos_lab.training.optimizer import make_optimizer
from feelvos_lab.training.state import TrainingState

CONFIG = configure("smoke")
CLIPS = make_clips("train", count=4, height=64, width=64, frames=6)
PROJECT = Path(__file__).parents[2]


@pytest.fixture(autouse=True, scope="module")
def one_thread_for_all() -> Iterator[None]:
    """Tiny models: one thread, for what the module's fixtures train too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def undisturbed(one_thread_for_all: None) -> str:
    """The weights of the whole training, as a hash."""
    return _hash(training.train(CONFIG, seed=0, clips=CLIPS).model)


def spoil_loss(monkeypatch: pytest.MonkeyPatch, how: Callable[[Tensor], Tensor], *, at: int) -> None:
    """The loss of step `at` becomes `how(loss)`."""
    whole, calls = training.batch_loss, iter(range(1000))

    def spoilt(*arguments: object, **settings: object) -> Tensor:
        loss = whole(*arguments, **settings)
        return how(loss) if next(calls) == at else loss

    monkeypatch.setattr(training, "batch_loss", spoilt)


class _NoGradient(torch.autograd.Function):
    """A finite number whose gradient is not."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient * float("nan")


@pytest.mark.parametrize(
    ("how", "what"),
    [
        (lambda loss: loss * float("nan"), "the loss must be finite, got nan"),
        (lambda loss: loss + float("inf"), "the loss must be finite, got inf"),
        (_NoGradient.apply, "the gradient's norm must be finite, got nan"),
    ],
    ids=["nan in the loss", "inf in the loss", "nan in the gradient"],
)
def test_a_number_that_is_not_finite_stops_with_step_and_clips_and_spares_the_state(
    how: Callable[[Tensor], Tensor], what: str, undisturbed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        spoil_loss(patch, how, at=6)
        with pytest.raises(LabError) as stopped:
            training.train(CONFIG, seed=0, clips=CLIPS, folder=tmp_path, save_every=4)
    drawn = samples.StepSampler([CLIPS], config=CONFIG, seed=0, share=training.distributed.this_rank())[6]
    names = ", ".join(dict.fromkeys(name for sample in drawn.samples for name in sample.clips))
    state = tmp_path / "state.safetensors"
    assert str(stopped.value) == (
        f"{what} at step 6 of seed 0, on clips {names}; {state} keeps the training as of step 4"
    )
    fresh = build_model(CONFIG.model)
    assert initialise(fresh, state, part="all") == []  # and a training with other settings can start from it
    assert all(tensor.isfinite().all() for tensor in fresh.state_dict().values())
    resumed = training.train(CONFIG, seed=0, clips=CLIPS, folder=tmp_path)
    assert _hash(resumed.model) == undisturbed


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = training.update

    def broken(module: torch.nn.Module, *arguments: object) -> None:
        real(module, *arguments)
        with torch.no_grad():
            module.model.head.logit.bias.fill_(float("inf"))

    monkeypatch.setattr(training, "update", broken)
    with pytest.raises(LabError, match=r"the weights must be finite, head\.logit\.bias is not at step 0 of seed 0"):
        training.train(CONFIG, seed=0, clips=CLIPS, folder=tmp_path, stop_after=1)
    assert not (tmp_path / "state.safetensors").exists()


def test_a_deterministic_training_gives_the_same_weights_twice(tmp_path: Path) -> None:
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    for name in ("a", "b"):
        with pytest.raises(SystemExit, match="0"):
            main(["train", "--preset", "smoke", "--deterministic", "--out", str(tmp_path / name)])
    a, b = (tmp_path / name / "model.safetensors" for name in ("a", "b"))
    assert _noted(a)["sha256"] == _noted(b)["sha256"]  # of the content: a file's notes have no order
    assert _hash(load_checkpoint(a)[0]) == _hash(load_checkpoint(b)[0])
    assert "--deterministic" in json.loads((tmp_path / "a/model.json").read_text())["command"]
    test = make_clips("test", count=2, height=64, width=64, frames=6)
    scores = [evaluate(load_checkpoint(path)[0], test) for path in (a, b)]
    pd.testing.assert_frame_equal(scores[0], scores[1], check_exact=True)
    assert (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()) == before


def test_deterministic_refuses_what_cannot_repeat_and_fixes_the_threads() -> None:
    torch.set_num_threads(2)
    with deterministic.deterministic():
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert torch.get_num_threads() == 2


def test_deterministic_runs_of_an_ablation_give_the_same_record_twice(tmp_path: Path) -> None:
    """The worker itself, in processes of its own."""
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "twice.yml"
        worker = PROJECT / "notebooks" / "run_experiment.ipynb"
        path.write_text(
            f"question: twice the same?\nnotebook: {worker}\npreset: smoke\nsplit: test\nbaseline: one\n"
            "variants: {one: {}}\n"
        )
        spec = load_spec(path)
        (done,) = run(spec, deterministic=True, root=tmp_path / name, progress=lambda line: None)
        assert done.state == "ok", done.reason
        record, model = done.record(), load_checkpoint(done.folder / "model.safetensors")[0]
        assert record["deterministic"] is True and record["threads"] == 1
        found.append((record["scores"], record["copied"], record["history"], _hash(model)))
    assert found[0] == found[1]


def test_bfloat16_changes_the_network_a_little_and_the_matching_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of one step to within 2 %, of three to within 15 %, and distances taken in float32."""
    seen: list[torch.dtype] = []
    cues = Feelvos.cues

    def watched(self: Feelvos, features: Tensor, embeddings: Tensor, *rest: object) -> object:
        seen.extend([embeddings.dtype, rest[0].embeddings.dtype])
        made = cues(self, features, embeddings, *rest)
        seen.extend([made.global_map.dtype, made.local_map.dtype])
        return made

    monkeypatch.setattr(Feelvos, "cues", watched)
    losses = {}
    for precision in ("float32", "bfloat16"):
        config = configure("smoke", precision=precision)
        trained = training.train(config, seed=0, clips=CLIPS, log_every=1, stop_after=3)
        losses[precision] = torch.tensor([row["loss"] for row in trained.history])
        assert all(p.dtype == torch.float32 for p in trained.model.parameters())
    assert set(seen) == {torch.float32}
    gap = (losses["bfloat16"] / losses["float32"] - 1).abs()
    assert 0 < gap[0] < 0.02 and gap.max() < 0.15


def test_a_checkpoint_of_which_any_bit_was_flipped_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, Feelvos(CONFIG.model), CONFIG)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    places = [*range(0, header, 97), *range(header, len(whole), len(whole) // 40), len(whole) - 1]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        with pytest.raises(LabError):
            load_checkpoint(path)


def test_a_state_of_which_a_bit_was_flipped_is_not_resumed(tmp_path: Path) -> None:
    training.train(CONFIG, seed=0, clips=CLIPS, folder=tmp_path, stop_after=1)
    path = tmp_path / "state.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    model = build_model(CONFIG.model)
    with pytest.raises(LabError, match="is damaged"):
        TrainingState(tmp_path, CONFIG, 0).resume(model, make_optimizer(model, CONFIG.train))


def reported(tmp_path: Path) -> Path:
    """A results folder as a report leaves it."""
    spec = load_spec(write_spec(tmp_path))
    record_by_hand(tmp_path, spec, seeds=(0, 1))
    return report.write_report(read_results(spec, root=tmp_path, seeds=(0, 1)))


def test_results_of_an_experiment_that_was_changed_since_are_stale(tmp_path: Path) -> None:
    folder = reported(tmp_path)
    assert len(read_published(folder).scores) == 36
    (tmp_path / "demo.yml").write_text(SPEC.replace("radius: 1", "radius: 2"))
    with pytest.raises(LabError, match=r"is stale: .*demo\.yml sets row 'narrow' to 'radius=2' now, .* 'radius=1'"):
        read_published(folder)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda r: r["scores"][0].update(J=1.2), r"scores: J of object 1 of clip-0 must lie in \[0, 1\], got 1.2"),
        (lambda r: r["scores"][0].update(JF=0.99), "scores: JF of object 1 of clip-0 must be the mean of J and F"),
        (lambda r: r["scores"].append(r["scores"][0]), "scores holds object 1 of clip-0 twice"),
        (lambda r: r.update(train_seconds=float("nan")), "train_seconds must be a finite number, got nan"),
        (lambda r: r.update(copied=[]), "copied holds no object"),
        (lambda r: r.update(schema=2), "schema must be 1, got 2"),
        (lambda r: r["config"].pop("frames"), "lacks 'config.frames'"),
        (lambda r: r.pop("versions"), "lacks 'versions'"),
        (lambda r: r.update(seed=7), "the notebook recorded seed 7, but 0 was planned"),
        (lambda r: r.update(digest="00000000"), "the notebook recorded digest '00000000'"),
    ],
)
def test_a_record_that_was_edited_is_failed_and_in_no_number(
    edit: Callable[[dict], object], words: str, tmp_path: Path
) -> None:
    spec = load_spec(write_spec(tmp_path))
    record_by_hand(tmp_path, spec)
    planned = plan(spec, root=tmp_path)[0]
    record = planned.record()
    edit(record)
    (planned.folder / records.RECORD).write_text(json.dumps(record))
    again = plan(spec, root=tmp_path)[0]
    assert again.state == "failed"
    with pytest.raises(LabError, match=words):
        raise LabError(again.reason)


def _noted(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def _hash(model: Feelvos) -> str:
    hashed = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        hashed.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return hashed.hexdigest()
