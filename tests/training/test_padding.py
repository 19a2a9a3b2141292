"""Empty objects that fill up the head's input in training change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from feelvos_lab.config import configure
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.model import feelvos
from feelvos_lab.model.feelvos import Feelvos, padding
from feelvos_lab.training.losses import batch_loss
from feelvos_lab.training.samples import Rank, StepSampler

pytestmark = pytest.mark.usefixtures("one_thread")

CLIPS = [make_clip(n, height=48, width=64, frames=5, objects=n + 1) for n in range(3)]


def loss_and_gradients(settings: dict[str, object], *, training: bool) -> tuple[float, dict[str, torch.Tensor]]:
    config = configure("smoke", unroll=2, batch_size=3, cutout=0.5, **settings)
    batch = StepSampler([CLIPS], config=config, seed=0, share=Rank())[1]
    torch.manual_seed(0)
    model = Feelvos(config.model).train(training)
    rngs = [np.random.default_rng(n) for n in range(3)]
    loss = batch_loss(model, batch.samples, config=config, keep=0.5, rngs=rngs)
    loss.backward()
    return loss.item(), {n: p.grad for n, p in model.named_parameters()}


@pytest.mark.parametrize("extra", [1, 5])
@pytest.mark.parametrize("settings", [{}, {"feedback": "hard", "cue_skip": False}], ids=str)
def test_loss_and_gradients_stay_the_same(
    extra: int, settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, gradients = loss_and_gradients(settings, training=True)
    seen: list[int] = []
    monkeypatch.setattr(feelvos, "padding", lambda objects, device: seen.append(objects) or extra)
    with_padding, padded_gradients = loss_and_gradients(settings, training=True)
    assert len(seen) == 2 and len(set(seen)) == 1 and seen[0] > 3  # two query frames
    assert with_padding == pytest.approx(plain, rel=1e-6)
    for name, gradient in gradients.items():
        largest = gradient.abs().max()  # of the last bias 0, but for rounding
        assert (padded_gradients[name] - gradient).abs().max() <= 1e-4 * largest + 1e-6, name
    assert max(g.abs().max() for n, g in gradients.items() if n.startswith("head")) > 1e-3


def test_nothing_is_padded_outside_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feelvos, "padding", lambda objects, device: 1 / 0)
    loss_and_gradients({}, training=False)


def test_a_gpu_computes_few_numbers_of_objects_and_a_cpu_those_there_are() -> None:
    gpu = torch.device("cuda")
    assert {n + padding(n, gpu) for n in range(1, 13)} == {4, 8, 12}
    assert all(0 <= padding(n, gpu) < 4 for n in range(1, 30))
    assert all(padding(n, torch.device("cpu")) == 0 for n in range(1, 30))
