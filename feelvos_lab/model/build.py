"""Build the network that a configuration names."""

from __future__ import annotations

from feelvos_lab.config import ModelConfig
from feelvos_lab.errors import LabError
from feelvos_lab.model.feelvos import Feelvos
from feelvos_lab.model.pml import Pml


def build_model(config: ModelConfig) -> Feelvos:
    """The network of `method`, with random weights from torch's global generator."""
    if config.method == "pml":
        return Pml(config)
    if config.adapt_margin > 0:
        raise LabError(f"adapt_margin is for method 'pml', got {config.adapt_margin} with method {config.method!r}")
    return Feelvos(config)
