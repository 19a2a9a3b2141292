"""The rule by which the variables of the reference network were filled: a value depends on name and shape alone.

The official code's outputs in `shared/golden/network` were computed with these values, and
`variables_check.json` beside them holds sums of some variables, which `test_golden_network.py` compares.
"""

from __future__ import annotations

import zlib

import numpy as np

GAINS = {"aspp0": 2.0, "embedding": 6.0, "embedding_seg": 2.0, "logits": 200.0}


def official_value(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The float32 variable `name` of TensorFlow's `shape`."""
    normal = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    scope, leaf = name.split("/")[0], name.split("/")[-1]
    if leaf == "weights":
        normal *= np.sqrt(GAINS.get(scope, 1.0) / np.prod(shape[:-1]))
    elif leaf == "depthwise_weights":
        normal *= np.sqrt(2.0 / (shape[0] * shape[1]))
        if scope == "embedding_seg" and shape[2] == 259:
            normal[:, :, -3:] *= 4.0  # the three cues count
    elif leaf == "moving_variance":
        normal = np.exp(0.1 * normal)
    else:
        assert leaf in ("biases", "beta", "moving_mean", "gamma"), name
        normal *= 0.1
        if leaf == "gamma":
            normal = (1.0 + normal) * (0.3 if name.endswith("separable_conv3_pointwise/BatchNorm/gamma") else 1.0)
    return normal.astype(np.float32)
