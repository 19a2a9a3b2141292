"""A small network and a small clip for the widgets."""

from __future__ import annotations

import pytest
import torch

from feelvos_lab.config import configure
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.synthetic import make_clip
from feelvos_lab.model.build import build_model
from feelvos_lab.model.feelvos import Feelvos


@pytest.fixture(scope="package")
def model() -> Feelvos:
    torch.manual_seed(0)
    return build_model(configure("smoke").model).eval()


@pytest.fixture(scope="package")
def clip() -> Clip:
    return make_clip(7, height=64, width=80, frames=12, objects=2)
