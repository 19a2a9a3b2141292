"""Large, many, tiny, long away, uneven: each ends in a result or in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from feelvos_lab.cli import main as cli
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.images import read_mask, write_mask
from feelvos_lab.inference.propagation import Prediction, propagate
from feelvos_lab.model.checkpoint import load_checkpoint, shipped_path
from feelvos_lab.model.feelvos import Feelvos

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Feelvos:
    return load_checkpoint(checkpoint)[0]


def noise(frames: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (frames, 3, height, width), generator=generator, dtype=torch.uint8)


def sound(prediction: Prediction, clip: Clip) -> bool:
    """Labels of the frame's size and the clip's ids, probabilities that are finite and sum to 1."""
    known = set(prediction.labels.unique().tolist()) <= {0, *clip.object_ids}
    total = prediction.probabilities.sum(0)
    return known and prediction.labels.shape == clip.frames[0].shape[1:] and bool(((total - 1).abs() < 1e-4).all())


def test_4k_frames_are_scaled_for_the_network_and_answered_at_their_own_size(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unscaled they are in the soak, since they take minutes."""
    for t, frame in enumerate(noise(3, 2160, 3840)):
        (tmp_path / "frames").mkdir(exist_ok=True)
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(tmp_path / "frames" / f"{t:05d}.jpg", quality=50)
    mask = torch.zeros(2160, 3840, dtype=torch.int64)
    mask[500:900, 900:1500] = 1
    write_mask(tmp_path / "mask.png", mask)
    command = ["segment", str(tmp_path / "frames"), "--mask", str(tmp_path / "mask.png"), "--height", "240"]
    with pytest.raises(SystemExit, match="0"):
        cli.main([*command, "--checkpoint", str(checkpoint), "--overlay", "none", "--out", str(tmp_path / "out")])
    assert [read_mask(path).shape for path in sorted((tmp_path / "out").iterdir())] == [(2160, 3840)] * 3
    assert torch.equal(read_mask(tmp_path / "out" / "00000.png"), mask)


def test_fifty_objects_are_carried_side_by_side(model: Feelvos) -> None:
    mask = torch.zeros(1, 96, 128, dtype=torch.int64)
    for i in range(50):
        mask[0, 19 * (i // 10) : 19 * (i // 10) + 14, 12 * (i % 10) : 12 * (i % 10) + 9] = i + 1
    clip = Clip("fifty", noise(4, 96, 128), mask, tuple(range(1, 51)))
    predictions = list(propagate(model, clip))
    assert all(sound(p, clip) and p.probabilities.shape == (51, 96, 128) for p in predictions)
    assert torch.equal(predictions[0].labels, mask[0])


def test_a_mask_file_of_fifty_objects_is_refused_in_one_sentence(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """More than any data set has, and what an interpolated mask looks like."""
    for t, frame in enumerate(noise(2, 40, 50)):
        (tmp_path / "frames").mkdir(exist_ok=True)
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(tmp_path / "frames" / f"{t:05d}.png")
    write_mask(tmp_path / "mask.png", torch.arange(1, 51).repeat(40, 1))
    command = ["segment", str(tmp_path / "frames"), "--mask", str(tmp_path / "mask.png")]
    with pytest.raises(SystemExit, match="2"):
        cli.main([*command, "--checkpoint", str(checkpoint), "--out", str(tmp_path / "out")])
    told = capsys.readouterr().err
    assert "holds 50 ids, expected at most 32" in told and told.count("\n") == 1


@pytest.mark.parametrize("place", [(0, 0), (40, 33), (95, 127)])
def test_an_object_of_one_pixel_is_given_back_and_disturbs_nothing(model: Feelvos, place: tuple[int, int]) -> None:
    mask = torch.zeros(1, 96, 128, dtype=torch.int64)
    mask[0][place] = 7
    clip = Clip("pixel", noise(4, 96, 128), mask, (7,))
    predictions = list(propagate(model, clip))
    assert all(sound(p, clip) for p in predictions)
    assert (predictions[0].labels == 7).nonzero().tolist() == [list(place)]


class Away:
    """A red square that moves for ten frames, is gone for `away` frames, and moves again for ten."""

    def __init__(self, away: int) -> None:
        self.away = away
        self.ground = torch.from_numpy(np.random.default_rng(0).integers(90, 110, (3, 96, 128), dtype=np.uint8))

    def __len__(self) -> int:
        return self.away + 20

    def __getitem__(self, t: int) -> Tensor:
        frame = self.ground.clone()
        frame[:, self.mask(t)] = torch.tensor([220, 60, 40], dtype=torch.uint8)[:, None]
        return frame

    def mask(self, t: int) -> Tensor:
        there = torch.zeros(96, 128, dtype=torch.bool)
        if not 10 <= t < 10 + self.away:
            there[30:62, 20 + t % 20 : 52 + t % 20] = True
        return there


def test_an_object_that_is_gone_for_five_hundred_frames_is_found_again() -> None:
    film = Away(500)
    clip = Clip("away", film, film.mask(0)[None].long(), (1,))
    overlaps = []
    for prediction in propagate(load_checkpoint(shipped_path("reduced"))[0], clip):
        found, true = prediction.labels == 1, film.mask(prediction.frame)
        if not true.any():
            assert not found.any()
        else:
            overlaps.append(((found & true).sum() / (found | true).sum()).item())
    assert len(overlaps) == 20 and min(overlaps) > 0.7


def test_a_folder_whose_frames_differ_in_size_is_refused_with_both_names(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "frames").mkdir()
    for t, size in enumerate(((48, 40), (48, 40), (50, 40))):
        Image.new("RGB", size).save(tmp_path / "frames" / f"{t:05d}.png")
    mask = torch.zeros(40, 48, dtype=torch.int64)
    mask[5:20, 5:20] = 1
    write_mask(tmp_path / "mask.png", mask)
    command = ["segment", str(tmp_path / "frames"), "--mask", str(tmp_path / "mask.png")]
    with pytest.raises(SystemExit, match="2"):
        cli.main([*command, "--checkpoint", str(checkpoint), "--out", str(tmp_path / "out")])
    told = capsys.readouterr().err
    assert "00000.png is 48×40" in told and "00002.png is 50×40" in told and told.count("\n") == 1
