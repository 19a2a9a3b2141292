"""Where bfloat16 is computed in and where it is not, on another device than the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from fake_device import THERE, Elsewhere
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from feelvos_lab.config import configure
from feelvos_lab.data.synthetic import make_clips
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.training import losses
from feelvos_lab.training.loop import train

pytestmark = pytest.mark.usefixtures("one_thread")

CLIPS = make_clips("train", count=1, height=48, width=64, frames=5)


@pytest.fixture(params=["pretended", *(["cuda"] if torch.cuda.is_available() else [])])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """The fake device, or a GPU."""
    with Elsewhere() if request.param == "pretended" else nullcontext():
        yield THERE if request.param == "pretended" else torch.device("cuda", 0)


class Bfloat16Convolutions(TorchFunctionMode):
    """What `torch.autocast` does to convolutions; the pretended device has no autocast."""

    def __torch_function__(self, func: Any, _: object, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        if func is torch.conv2d:
            args, kwargs = tree_map(rounded, (args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def rounded(x: Any) -> Any:
    return x.bfloat16() if isinstance(x, Tensor) else x


def test_a_step_of_preset_full_in_bfloat16(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """The convolutions compute in bfloat16; embeddings that are matched, the loss and the weights are float32."""
    seen: dict[str, set[torch.dtype]] = {"convolution": set(), "matching": set(), "loss": set()}
    if device == THERE:
        monkeypatch.setattr(
            losses, "_precision", lambda name, **_: Bfloat16Convolutions() if name == "bfloat16" else nullcontext()
        )
    cues, loss = Feelvos.cues, losses.hard_pixel_loss

    def watched_cues(self: Feelvos, features: Tensor, embeddings: Tensor, *rest: Any) -> Any:
        found = cues(self, features, embeddings, *rest)
        seen["matching"] |= {embeddings.dtype, rest[0].embeddings.dtype, found.global_map.dtype, found.local_map.dtype}
        return found

    def watched_loss(logits: Tensor, *rest: Any, **named: Any) -> Tensor:
        found = loss(logits, *rest, **named)
        seen["loss"] |= {logits.dtype, found.dtype}
        return found

    monkeypatch.setattr(Feelvos, "cues", watched_cues)
    monkeypatch.setattr(losses, "hard_pixel_loss", watched_loss)
    config = configure("full", data="shapes", height=48, width=64, batch_size=1, steps=1, precision="bfloat16")
    convolution = nn.Conv2d.forward

    def watched_convolution(self: nn.Conv2d, x: Tensor) -> Tensor:
        found = convolution(self, x)
        seen["convolution"].add(found.dtype)
        return found

    monkeypatch.setattr(nn.Conv2d, "forward", watched_convolution)
    trained = train(config, seed=0, clips=CLIPS, device=device, log_every=1)
    assert seen == {"convolution": {torch.bfloat16}, "matching": {torch.float32}, "loss": {torch.float32}}
    assert np.isfinite(trained.history[0]["loss"])
    assert all(p.dtype == torch.float32 and bool(p.isfinite().all()) for p in trained.model.parameters())
