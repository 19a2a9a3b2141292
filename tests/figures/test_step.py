"""One step of a propagation, drawn: what is right, wrong and missed, and the curve up to its frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from feelvos_lab.data.clip import Clip
from feelvos_lab.errors import LabError
from feelvos_lab.figures.step import propagation_step


def test_a_confused_pixel_is_wrong_and_a_lost_one_missed_and_the_curve_ends_at_the_frame() -> None:
    masks = torch.tensor([[1, 1, 2, 0]]).repeat(4, 1, 1)  # (T, 1, 4)
    clip = Clip("row", torch.full((4, 3, 1, 4), 100, dtype=torch.uint8), masks, (1, 2))
    labels = [masks[0], *[torch.tensor([[1, 0, 1, 0]])] * 3]
    scores = [{"frame": t, "object": o, "J": 0.1 * t} for t in (1, 2, 3) for o in (1, 2)]
    figure = propagation_step(clip, labels, scores, frame=2)
    picture = np.asarray(figure.axes[0].images[0].get_array()).astype(int)[0]  # (4, 3)
    green, violet, orange, grey = picture
    assert green[1] == max(green) and violet[2] == max(violet) and orange[0] == max(orange) and len(set(grey)) == 1
    whole, so_far = figure.axes[1].lines
    assert list(whole.get_xdata()) == [1, 2, 3] and list(so_far.get_xdata()) == [1, 2]
    assert np.allclose(so_far.get_ydata(), [10, 20])


def test_a_frame_without_scores_is_rejected() -> None:
    clip = Clip("row", torch.zeros(3, 3, 1, 4, dtype=torch.uint8), torch.ones(3, 1, 4).long(), (1,))
    with pytest.raises(LabError, match="frame must be one that has scores, 1 to 1, got 2"):
        propagation_step(clip, list(clip.masks), [{"frame": 1, "object": 1, "J": 1.0}], frame=2)
