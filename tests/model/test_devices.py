"""Models on another device than the CPU compute the same, and nothing made of their answers mixes devices.

Each law holds on a fake device (`fake_device.py`), which every machine has, and on a GPU where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fake_device import THERE, Elsewhere, let_fused, tf32_convolutions
from gpu_searches import searches_for_gpus
from lesson_runs import LESSONS, QUICK, run_here, solve
from torch import Tensor

from feelvos_lab import lab
from feelvos_lab.config import configure
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.difficulty_sweep import Difficulty
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.errors import LabError
from feelvos_lab.evaluation.scoring import evaluate
from feelvos_lab.figures import make_distance_maps
from feelvos_lab.inference.output import write_segmentation
from feelvos_lab.inference.probe import Probe
from feelvos_lab.inference.propagation import propagate
from feelvos_lab.lessons import roofline
from feelvos_lab.model.build import build_model
from feelvos_lab.model.checkpoint import load_model
from feelvos_lab.model.fold_norms import fold_batch_norms
from feelvos_lab.model.matching import global_matching, local_matching, sample_reference
from feelvos_lab.training.distributed import this_rank
from feelvos_lab.training.loop import train
from feelvos_lab.training.losses import batch_loss
from feelvos_lab.training.samples import StepSampler

pytestmark = pytest.mark.usefixtures("one_thread")
# a GPU adds in another order; on an H200 gradients differed by 4.6e-6, maps by 6e-8 (of the largest), TF32 switched off
MAPS = {"lazy": 2e-6, "cuda": 1e-5}
ANSWERS = {"lazy": 1e-5, "cuda": 1e-4}
TF32_GRADIENTS = 0.3  # of the gradients' norm; 0.12 on an H200: its convolutions have factors of 10 bits by default
Searches = Callable[[], AbstractContextManager[None]]
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.fixture(params=["pretended", *(["cuda"] if torch.cuda.is_available() else [])])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """The fake device, or a GPU with TF32 switched off."""
    if request.param == "pretended":
        with Elsewhere():
            yield THERE
    else:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield torch.device("cuda", 0)


@pytest.fixture
def clip() -> Clip:
    return make_clip(3, height=48, width=64, frames=5, objects=2, difficulty=Difficulty(speed=0.5))


def far(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a.detach().cpu().double() - b.detach().cpu().double()).abs().max())


def test_the_pretended_device_mixes_with_nothing() -> None:
    with Elsewhere():
        a, b = torch.arange(6.0).view(2, 3), torch.arange(6.0, device=THERE).view(2, 3)
        assert (b + b).device == THERE and (b * 2).cpu().tolist() == (a * 2).tolist()
        for mixed in (lambda: a + b, lambda: b[a.long() > 2] + a[a > 2], lambda: torch.cat([a, b]), lambda: a @ b.t()):
            with pytest.raises(RuntimeError, match="same device"):
                mixed()
        with pytest.raises((TypeError, RuntimeError), match="numpy"):
            b.numpy()


@pytest.mark.parametrize("searches", [nullcontext, searches_for_gpus], ids=["for CPUs", "for GPUs"])
@pytest.mark.parametrize(
    ("h", "w", "dim", "num_objects", "radius"), [(5, 7, 3, 2, 1), (17, 40, 8, 3, 4), (60, 64, 70, 4, 15)]
)
def test_maps_and_their_gradients(
    device: torch.device, h: int, w: int, dim: int, num_objects: int, radius: int, searches: Searches
) -> None:
    """On a GPU the second kind of searches is the only one; the CPU, and the fake device, have either."""
    generator = torch.Generator().manual_seed(h)
    query, reference = (torch.randn(dim, h, w, generator=generator) / dim**0.5 for _ in range(2))
    labels = torch.randint(-1, num_objects, (h, w), generator=generator)
    found = []
    for place in (torch.device("cpu"), device):
        q, r = (e.clone().to(place).requires_grad_() for e in (query, reference))
        with searches():
            near = global_matching(q, r, labels.to(place), num_objects=num_objects)
            around = local_matching(q, r, labels.to(place), num_objects=num_objects, radius=radius)
        (near.square().sum() + around.square().sum()).backward()
        assert near.device == around.device == q.grad.device == place
        found.append((near, around, q.grad, r.grad))
    for here, there in zip(*found, strict=True):
        assert far(here, there) <= MAPS[device.type]


@pytest.mark.parametrize("which", ["reference", "labels"])
def test_tensors_on_two_devices_are_refused(device: torch.device, which: str) -> None:
    given = {"query": torch.zeros(2, 3, 4), "reference": torch.zeros(2, 3, 4), "labels": torch.zeros(3, 4).long()}
    given[which] = given[which].to(device)
    for match in (global_matching, partial(local_matching, radius=1)):
        with pytest.raises(LabError, match=f"one device, got cpu, .*{device.type}") as error:
            match(*given.values(), num_objects=2)
        assert "\n" not in str(error.value)


def test_a_sample_of_the_reference(device: torch.device) -> None:
    labels = torch.randint(-1, 4, (20, 30), generator=torch.Generator().manual_seed(0))
    here, there = (
        sample_reference(labels.to(place), max_per_object=9, generator=torch.Generator().manual_seed(1))
        for place in ("cpu", device)
    )
    assert there.device == device and torch.equal(here, there.cpu())


@pytest.mark.parametrize(
    "settings",
    [
        {"feedback": "soft"},
        {"feedback": "hard"},
        {"previous_matching": "global", "previous_mask": False},
        {"method": "pml", "adapt_margin": 0.01},
    ],
    ids=str,
)
@pytest.mark.parametrize("starts", [(0, 0), (2, 1)])
def test_answers_frame_by_frame(
    device: torch.device, settings: dict[str, object], starts: tuple[int, int], clip: Clip
) -> None:
    clip = replace(clip, starts=starts)
    torch.manual_seed(0)
    model = fold_batch_norms(build_model(configure("smoke", **settings).model).eval())
    here = list(propagate(model, clip))
    for wanted, found in zip(here, propagate(model.to(device), clip), strict=True):
        assert found.labels.device.type == found.probabilities.device.type == "cpu"
        assert far(wanted.probabilities, found.probabilities) <= ANSWERS[device.type]
        assert float((wanted.labels != found.labels).float().mean()) <= 0.01
        for cue, other in zip((wanted.cues or ())[:3], (found.cues or ())[:3], strict=True):
            assert cue is other is None or far(cue, other) <= ANSWERS[device.type]


@pytest.mark.parametrize(
    "settings", [{"unroll": 2}, {"feedback": "hard", "rollout": 2, "mask_damage": 1.0}, {"method": "pml"}], ids=str
)
def test_the_loss_and_its_gradients(device: torch.device, settings: dict[str, object], clip: Clip) -> None:
    loss, gradients = loss_and_gradients("cpu", settings, clip)
    other_loss, other_gradients = loss_and_gradients(device, settings, clip)
    assert far(loss, other_loss) <= ANSWERS[device.type] * float(loss)
    assert float((gradients - other_gradients).norm()) <= ANSWERS[device.type] * float(gradients.norm())


@NEEDS_GPU
def test_tf32_changes_the_gradients_by_a_bounded_share(clip: Clip) -> None:
    _, exact = loss_and_gradients("cpu", {"unroll": 2}, clip)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=True):
        _, rounded = loss_and_gradients("cuda", {"unroll": 2}, clip)
    assert float((exact - rounded).norm()) <= TF32_GRADIENTS * float(exact.norm())


def loss_and_gradients(place: str | torch.device, settings: dict[str, object], clip: Clip) -> tuple[Tensor, Tensor]:
    """The loss of one training step and all gradients in a row, computed on a device, returned on the CPU."""
    config = configure("smoke", **settings)
    drawn = StepSampler([[clip]], config=config, seed=0, share=this_rank())[0]
    torch.manual_seed(0)
    model = build_model(config.model).to(place).train()
    rngs = [np.random.default_rng(n) for n in range(len(drawn.samples))]
    loss = batch_loss(model, drawn.samples, config=config, keep=0.5, rngs=rngs, device=place)
    loss.backward()
    assert loss.device.type == torch.device(place).type
    gradients = [p.grad.cpu().flatten() for p in model.parameters() if p.grad is not None]
    return loss.detach().cpu(), torch.cat(gradients)


def test_batch_norms_are_folded_on_a_device_whose_convolutions_round() -> None:
    """The check that features stay the same is not one of the device's rounding, which is larger than its bound."""
    model = load_model("real")
    expected = fold_batch_norms(model).state_dict()
    image = torch.rand(1, 3, 65, 65, generator=torch.Generator().manual_seed(0))
    exact = model.encode(image).features.detach()
    with Elsewhere(), tf32_convolutions():
        model = model.to(THERE)
        rounded = model.encode(image.to(THERE)).features.detach().cpu()
        folded = fold_batch_norms(model).state_dict()
    assert far(exact, rounded) > 1e-4 * exact.abs().max().item()  # so the device does round
    assert all(torch.equal(folded[name].cpu(), tensor) for name, tensor in expected.items())


def test_what_is_made_of_answers(device: torch.device, clip: Clip, tmp_path: Path) -> None:
    """Scores, files, figures, and what the explorer shows of a pixel."""
    torch.manual_seed(0)
    model = build_model(configure("smoke").model).eval()
    scores, files, shown = [], [], []
    for place in ("cpu", device):
        model, folder = model.to(place), tmp_path / str(len(files))
        folder.mkdir()
        scores.append(evaluate(model, [clip]))
        write_segmentation(propagate(model, clip), clip, folder, movie="gif", cues=True)
        files.append(sorted(path.relative_to(folder) for path in folder.rglob("*")))
        look = Probe(model, clip).look(3, object_id=1, cell=(4, 5))
        shown.append([tensor for tensor in look if isinstance(tensor, Tensor)])
        for layout in ("sheet", "strip", "arrows"):
            assert list(
                make_distance_maps.draw(
                    model, clip, make_distance_maps.Request(layout=layout, frames=[2], objects=(1,))
                )
            )
    pd.testing.assert_frame_equal(*scores, rtol=10 * ANSWERS[device.type])
    assert files[0] == files[1] and len(files[0]) > 2 * len(clip)
    for here, there in zip(*shown, strict=True):
        assert there.device.type == "cpu" and far(here, there) <= ANSWERS[device.type]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LESSONS if name[:2] in ("02", "03", "04", "06", "07")])
def test_lessons_where_there_is_a_gpu(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that compute with frames and masks, every exercise solved; their network is trained on the other device."""
    monkeypatch.setattr(lab, "device", lambda: THERE)
    monkeypatch.setattr(roofline, "fastest", lambda *_: 1e-3)  # it is not asked here
    let_fused(monkeypatch)
    with Elsewhere():
        run_here(name, tmp_path, change=solve, preset="smoke", **QUICK.get(name, {}))


def test_a_training_there(device: torch.device, clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    let_fused(monkeypatch)
    here, there = (train(configure("smoke", steps=2), seed=0, clips=[clip], device=place) for place in ("cpu", device))
    assert there.history[-1]["loss"] == pytest.approx(here.history[-1]["loss"], rel=max(ANSWERS[device.type], 1e-4))
