"""Apple's GPU is used where it computes what the CPU does. There is none here: a fake device takes its place.

Tensors in float64 are rejected there, as Apple's GPU rejects them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_device import THERE, Elsewhere, Held, let_fused
from torch.utils._pytree import tree_flatten

from feelvos_lab.cli import doctor
from feelvos_lab.config import configure
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.evaluation.scoring import evaluate
from feelvos_lab.inference.output import write_segmentation
from feelvos_lab.inference.probe import Probe
from feelvos_lab.inference.propagation import propagate
from feelvos_lab.model import device as devices
from feelvos_lab.model.build import build_model
from feelvos_lab.model.matching import global_search
from feelvos_lab.training.loop import train

pytestmark = pytest.mark.usefixtures("one_thread")
CLIP = make_clip(3, height=48, width=64, frames=4, objects=2)


class WithoutFloat64(Elsewhere):
    """The fake device, on which no tensor may be float64; NotImplementedError for the operations in `lacking`."""

    def __init__(self, lacking: str = "") -> None:
        super().__init__()
        self.lacking = lacking

    def __torch_dispatch__(self, func: Any, types: object, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_dispatch__(func, types, args, kwargs)
        made = [x for x in tree_flatten(result)[0] if isinstance(x, Held)]
        if made and func._schema.name == self.lacking:
            raise NotImplementedError(f"The operator '{self.lacking}' is not implemented for the MPS device. If you …")
        if any(x.dtype == torch.float64 for x in made):
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
            )
        return result


@pytest.fixture(autouse=True)
def apples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch says that it has Apple's GPU and none of CUDA; the fake device takes its place."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(devices, "APPLE", THERE)
    devices._checked_apple.cache_clear()
    yield
    devices._checked_apple.cache_clear()


def test_it_is_used_where_it_computes_as_the_cpu_does_and_one_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with WithoutFloat64():
        assert devices.device() == THERE == devices.device()
        assert doctor._device().text == "Apple's GPU (mps)"
    assert capsys.readouterr().out == "device: Apple's GPU (mps)\n"


def test_a_missing_operation_leads_to_the_cpu_and_one_line_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    with WithoutFloat64(lacking="aten::tanh"):
        assert devices.device().type == "cpu"
        reason = "since on Apple's GPU an operation fails: The operator 'aten::tanh' is not implemented for the MPS"
        assert doctor._device().line().partition("CPU, ")[2].startswith(reason)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"device: the CPU, {reason}")


def test_a_map_that_differs_leads_to_the_cpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A search there that takes the first pixel of an object for the nearest."""
    found = global_search.nearest_anywhere

    def first(query: torch.Tensor, reference: torch.Tensor, labels: torch.Tensor, objects: int) -> torch.Tensor:
        index = found(query, reference, labels, objects)
        return index.clamp(max=0) if query.device == THERE else index

    monkeypatch.setattr("feelvos_lab.model.matching.maps.nearest_anywhere", first)
    with WithoutFloat64():
        assert devices.device().type == "cpu"
    assert "on Apple's GPU the global map differs from the CPU's" in capsys.readouterr().out


def test_a_gpu_of_cuda_comes_first(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices.device() == torch.device("cuda") and not capsys.readouterr().out


def test_without_either_the_cpu_is_taken_in_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.device().type == "cpu" and not capsys.readouterr().out


def test_nothing_is_computed_there_in_float64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training, segmentation with its files, scores, and what the explorer shows."""
    let_fused(monkeypatch)
    config = configure("smoke", steps=1)
    with WithoutFloat64():
        with pytest.raises(TypeError, match="float64"):
            torch.zeros(1, device=THERE).double()
        trained = train(config, seed=0, clips=[CLIP], device=THERE, folder=tmp_path / "training").model
        assert next(trained.parameters()).device == THERE
        write_segmentation(propagate(trained, CLIP), CLIP, tmp_path, movie="none", cues=True, alpha=True)
        evaluate(trained.eval(), [CLIP])
        Probe(trained, CLIP).look(2, object_id=1, cell=(4, 5))
        pml = build_model(configure("smoke", method="pml").model).eval().to(THERE)
        assert len(list(propagate(pml, CLIP))) == len(CLIP)
