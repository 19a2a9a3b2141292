"""Laws of the folded network: fewer layers, the same answers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from feelvos_lab.config import configure
from feelvos_lab.data.synthetic import make_clip, make_clips
from feelvos_lab.errors import LabError
from feelvos_lab.inference.propagation import propagate
from feelvos_lab.model.build import build_model
from feelvos_lab.model.checkpoint import load_checkpoint, shipped_path
from feelvos_lab.model.feelvos import Feelvos, label_frame
from feelvos_lab.model.fold_norms import fold_batch_norms
from feelvos_lab.model.head import winners

CLIP = make_clip(11, height=65, width=97, frames=3, objects=2)


def _eventful(preset: str, **changes: object) -> Feelvos:
    """A network whose norms do something: statistics, scales and shifts at random."""
    torch.manual_seed(0)
    model = build_model(configure(preset, **changes).model).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.1)
    return model


def _logits(model: Feelvos) -> Tensor:
    images = CLIP.frames[:].float() / 255
    encoded = model.encode(images)
    first, previous = (label_frame(encoded.embeddings[t], CLIP.masks[t], num_objects=3) for t in (0, 1))
    return model.segment([model.cues(encoded.features[2], encoded.embeddings[2], first, previous)])[0]


NETWORKS = {
    "reduced": lambda: load_checkpoint(shipped_path("reduced"))[0],
    "real": lambda: load_checkpoint(shipped_path("real"))[0],
    "full": lambda: _eventful("full"),
    "another backbone": lambda: _eventful("reduced", backbone="resnet18"),
    "one with norms before its convolutions": lambda: _eventful("reduced", backbone="densenet121"),
}


@torch.inference_mode()
@pytest.mark.parametrize("network", NETWORKS)
def test_a_folded_network_gives_the_logits_it_gave(network: str) -> None:
    model = NETWORKS[network]()
    wanted = _logits(model)
    torch.testing.assert_close(
        _logits(fold_batch_norms(model)), wanted, rtol=1e-4, atol=3e-6 * float(wanted.abs().max())
    )
    # in double precision only rounding is left: it is the same function
    model, images = model.double(), CLIP.frames[:].double() / 255
    wanted = model.encode(images).features
    torch.testing.assert_close(fold_batch_norms(model).encode(images).features, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("preset", ["reduced", "real", "full"])
def test_no_batch_norm_is_left_of_a_preset_and_the_model_itself_keeps_its_own(preset: str) -> None:
    model = _eventful(preset)
    before = copy.deepcopy(model.state_dict())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fold_batch_norms(model).modules())
    after = model.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)
    assert any(p.requires_grad for p in model.parameters())


def test_a_network_in_training_is_not_folded() -> None:
    with pytest.raises(LabError, match=r"call model\.eval\(\) first"):
        fold_batch_norms(_eventful("smoke").train())


def test_a_network_that_folding_would_change_is_refused() -> None:
    class Shortcut(nn.Module):
        """What the norm does is not all that becomes of the convolution."""

        def __init__(self, convolution: nn.Module, norm: nn.Module) -> None:
            super().__init__()
            self.convolution, self.norm = convolution, norm

        def forward(self, x: Tensor) -> Tensor:
            y = self.convolution(x)
            return self.norm(y) + y

    model = _eventful("smoke")
    model.decoder.low = Shortcut(model.decoder.low[0], model.decoder.low[1])
    with pytest.raises(LabError, match="must not change the features, they differ by"):
        fold_batch_norms(model)


def test_folding_moves_no_more_than_a_handful_of_labels() -> None:
    model = load_checkpoint(shipped_path("reduced"))[0]
    clips = make_clips("test", count=2, height=96, width=128, frames=16)
    pairs = [
        (a, b) for c in clips for a, b in zip(propagate(model, c), propagate(fold_batch_norms(model), c), strict=True)
    ]
    assert sum(int((a.labels != b.labels).sum()) for a, b in pairs) <= 5  # of 393,216


def test_the_winner_is_the_first_of_the_largest() -> None:
    values = torch.randint(4, (5, 40, 50), generator=torch.Generator().manual_seed(0)).float()  # ties everywhere
    assert torch.equal(winners(values), values.argmax(0))
