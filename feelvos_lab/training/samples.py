"""Training samples: a reference frame, a previous frame and the query frames that follow it (paper §4).

The samples of a step depend on the seed and the step alone, so a resumed training sees those of an uninterrupted one,
and several processes can share a batch. `paste_object` adds an annotated object of another clip, `paste_cutout` a piece
of any frame along a random outline: a network learns the few objects of a small data set by heart, but a cutout appears
in one sample only, so nothing but a comparison of embeddings finds it again.

Symbols: U query frames, T frames, H W the crop, K objects including background.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from feelvos_lab.config import Config, DataConfig
from feelvos_lab.data.clip import Clip
from feelvos_lab.errors import LabError

IGNORE = 255  # a label that loss and matching ignore

_TRIES = 10  # crops to draw until one shows enough of an object


class Sample(NamedTuple):
    """One training sample. The frames are: reference, previous, query 1 … query U."""

    frames: Tensor  # (2 + U, 3, H, W) float in [0, 1]
    labels: Tensor  # (2 + U, H, W) int64: 0 background, 1 … K − 1 objects of the reference, or IGNORE
    num_objects: int  # K
    clips: tuple[str, ...] = ()  # names of the clips it was drawn from, the main one first


def draw_sample(clips: list[Clip], *, config: DataConfig, unroll: int, rng: np.random.Generator) -> Sample:
    """A sample from a random clip, with an object of another clip pasted in with probability `config.paste`.

    The reference frame is cropped, flipped and coloured on its own; previous and query frames together.
    torchvision's transforms draw from torch's global generator: seed it for repeatable samples.
    """
    sample = _draw_plain(clips, config=config, unroll=unroll, rng=rng)
    if len(clips) > 1 and rng.uniform() < config.paste:
        sample = paste_object(sample, _draw_plain(clips, config=config, unroll=unroll, rng=rng), rng=rng)
    return sample


def _draw_plain(clips: list[Clip], *, config: DataConfig, unroll: int, rng: np.random.Generator) -> Sample:
    augment = _Augment(config)
    least = max(1, config.height * config.width // 500)  # pixels of one object that a crop must show
    for attempt in range(_TRIES):
        clip = clips[rng.integers(len(clips))]
        step = int(rng.integers(1, config.max_step + 1))  # frames from one time to the next
        step = min(step, max(1, (len(clip) - 1) // (unroll + 1)))
        start = int(rng.integers(0, max(1, len(clip) - step * unroll - step + 1)))
        times = [min(start + step * i, len(clip) - 1) for i in range(unroll + 1)]
        if rng.uniform() < 0.5:
            times.reverse()  # the video played backwards
        chosen = int(rng.integers(len(clip)))
        reference, reference_labels = augment([clip.frames[chosen]], [clip.masks[chosen]])
        frames, labels = augment([clip.frames[t] for t in times], [clip.masks[t] for t in times])
        present = [i for i in clip.object_ids if (reference_labels == i).sum() >= least]
        if (present and any((labels == i).sum() >= least for i in present)) or attempt == _TRIES - 1:
            break
    every = torch.cat([reference_labels, labels])  # (2 + U, H, W)
    indexed = torch.zeros_like(every)
    for index, object_id in enumerate(present, start=1):
        indexed[every == object_id] = index
    indexed[every == IGNORE] = IGNORE
    return Sample(torch.cat([reference, frames]), indexed, len(present) + 1, (clip.name,))


class _Augment:
    """Joint transforms of frames and masks: the same crop, flip and colours for all of one call."""

    def __init__(self, config: DataConfig) -> None:
        self.size, self.scale, self.zoom = (config.height, config.width), config.scale, config.zoom
        jitter = config.jitter
        steps: list[v2.Transform] = [v2.RandomHorizontalFlip(0.5)]
        if jitter:
            steps.append(v2.ColorJitter(jitter, jitter, jitter, jitter / 6))
        self.rest = v2.Compose([*steps, v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True)])

    def __call__(self, frames: list[Tensor], masks: list[Tensor]) -> tuple[Tensor, Tensor]:
        """T frames (3, H', W') uint8 and masks (H', W') → (T, 3, H, W) float in [0, 1] and (T, H, W) int64."""
        # these types tell torchvision to move both alike, but to resize masks by the nearest pixel and not colour them
        images, labels = tv_tensors.Image(torch.stack(frames)), tv_tensors.Mask(torch.stack(masks))
        height, width = images.shape[-2:]
        least = max(self.size[0] / height, self.size[1] / width)
        factor = least * float(torch.empty(1).uniform_(1.0, max(self.scale, 1.0)))
        window = min(height, round(self.size[0] / factor)), min(width, round(self.size[1] / factor))
        if window != (height, width) or window != self.size:
            top = int(torch.randint(height - window[0] + 1, (1,)))
            left = int(torch.randint(width - window[1] + 1, (1,)))
            boxes = self._boxes(top, left, window, (height, width), len(frames))
            images, labels = (_crop(x, boxes, self.size) for x in (images, labels))
        images, labels = self.rest(images, labels)
        return images.as_subclass(Tensor), labels.as_subclass(Tensor)

    def _boxes(
        self, top: int, left: int, window: tuple[int, int], size: tuple[int, int], count: int
    ) -> list[tuple[int, int, int, int]]:
        """A crop box (top, left, height, width) for each frame: all equal, or growing and moving at a steady rate."""
        box = (top, left, *window)
        if not self.zoom or count == 1:
            return [box] * count
        growth, down, right = torch.empty(3).uniform_(-self.zoom, self.zoom).tolist()
        boxes = []
        for k in range(count):
            factor = min(math.exp(growth * k), size[0] / window[0], size[1] / window[1])
            high, wide = max(8, round(window[0] * factor)), max(8, round(window[1] * factor))
            y = top + window[0] / 2 + down * k * window[0] - high / 2
            x = left + window[1] / 2 + right * k * window[1] - wide / 2
            boxes.append((min(max(round(y), 0), size[0] - high), min(max(round(x), 0), size[1] - wide), high, wide))
        return boxes


def _crop(x: Tensor, boxes: list[tuple[int, int, int, int]], size: tuple[int, int]) -> Tensor:
    """Images or masks (T, …, H', W'), each cropped to its box and resized to `size`."""
    if len(set(boxes)) == 1:
        return v2.functional.resized_crop(x, *boxes[0], size=list(size), antialias=True)
    cut = [
        v2.functional.resized_crop(tv_tensors.wrap(one, like=x), *box, size=list(size), antialias=True)
        for one, box in zip(x, boxes, strict=True)
    ]
    return tv_tensors.wrap(torch.stack([c.as_subclass(Tensor) for c in cut]), like=x)


def paste_object(sample: Sample, other: Sample, *, rng: np.random.Generator) -> Sample:
    """`sample` with a random object of `other` in front of it, in every frame, as an additional object."""
    if other.num_objects < 2:
        return sample
    chosen = other.labels == int(rng.integers(1, other.num_objects))  # (2 + U, H, W)
    frames = torch.where(chosen[:, None], other.frames, sample.frames)
    labels = torch.where(chosen, sample.num_objects, sample.labels)
    return Sample(frames, labels, sample.num_objects + 1, sample.clips + other.clips)


def damage_labels(labels: Tensor, *, num_objects: int, rng: np.random.Generator) -> Tensor:
    """A copy of a mask with the errors of a prediction: distorted outlines, holes, and patches of a wrong object.

    Shapes: (H, W) int64 with values 0 … K − 1 or IGNORE → the same.
    """
    height, width = labels.shape
    bend = smooth_noise(rng, 2, height, width, cells=5) * rng.uniform(0.0, 0.08)  # (2, H, W)
    shift = torch.from_numpy(rng.normal(0, 0.02, (2, 1, 1))).float()
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    grid = torch.stack([x, y], dim=-1) + 2 * (bend + shift).permute(1, 2, 0)  # (H, W, 2)
    moved = F.grid_sample(
        labels[None, None].float(), grid[None], mode="nearest", padding_mode="border", align_corners=True
    )
    damaged = moved[0, 0].long()  # (H, W)
    for wrong in (0, int(rng.integers(0, num_objects))):  # holes, then patches
        if rng.uniform() < 0.4:
            patch = smooth_noise(rng, 1, height, width, cells=7)[0] > rng.uniform(0.8, 1.6)
            damaged[patch] = wrong
    return damaged


def smooth_noise(rng: np.random.Generator, channels: int, height: int, width: int, *, cells: int) -> Tensor:
    """Normal noise on a grid of cells×cells, upscaled bicubically: (channels, H, W)."""
    coarse = torch.from_numpy(rng.normal(0, 1, (1, channels, cells, cells))).float()
    return F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)[0]


def paste_cutout(sample: Sample, other: Sample, *, rng: np.random.Generator) -> Sample:
    """`sample` with a piece of the previous frame of `other` in front of it, as an additional object.

    In the previous and query frames the piece moves, rotates, grows and bends at a steady rate; in the reference frame
    it is elsewhere and of another brightness. Both samples have frames of one size.
    """
    count, _, height, width = sample.frames.shape
    piece, inside = other.frames[1], _outline(rng, height, width)  # (3, H, W), (H, W)
    place, pace = rng.uniform(-0.4, 0.4, 2), rng.normal(0, 0.06, 2)
    size, growth = rng.uniform(0.7, 1.5), rng.normal(0, 0.06)
    angle, turn = rng.normal(0, 0.3), rng.normal(0, 0.05)
    bend, flow = (smooth_noise(rng, 2, height, width, cells=4) * share for share in (0.04, 0.012))  # (2, H, W)
    frames, labels = sample.frames.clone(), sample.labels.clone()
    for t in range(count):
        k = t - 1  # steps from the previous frame
        at, scale, turned, bent = place + k * pace, size * np.exp(k * growth), angle + k * turn, bend + k * flow
        if t == 0:
            at, scale, turned = rng.uniform(-0.4, 0.4, 2), rng.uniform(0.7, 1.5), rng.normal(0, 0.3)
            bent = torch.zeros_like(bend)
        grid = _grid(at, scale, turned, height, width) + bent.permute(1, 2, 0)  # (H, W, 2)
        moved = F.grid_sample(torch.cat([piece, inside[None]])[None], grid[None], align_corners=True)[0]  # (4, H, W)
        colours, shown = moved[:3], moved[3] > 0.5
        if t == 0:
            light = torch.from_numpy(rng.uniform(0.75, 1.25, (3, 1, 1)) * rng.uniform(0.8, 1.2)).float()
            colours = (colours * light).clamp(max=1)
        frames[t] = torch.where(shown, colours, frames[t])
        labels[t] = torch.where(shown, sample.num_objects, labels[t])
    return Sample(frames, labels, sample.num_objects + 1, sample.clips + other.clips)


def _outline(rng: np.random.Generator, height: int, width: int) -> Tensor:
    """A random blob around the centre of the frame, 1 inside and 0 outside: (H, W) float."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height) * height / width, torch.linspace(-1, 1, width), indexing="ij")
    stretch, lean = rng.uniform(0.6, 1.6), rng.uniform(0, np.pi)
    u = (np.cos(lean) * x + np.sin(lean) * y) * stretch
    v = (np.cos(lean) * y - np.sin(lean) * x) / stretch
    distance = (u.square() + v.square()).sqrt() / rng.uniform(0.12, 0.4)
    return (distance + 0.35 * smooth_noise(rng, 1, height, width, cells=9)[0] < 1).float()


def _grid(at: np.ndarray, scale: float, turned: float, height: int, width: int) -> Tensor:
    """The `grid_sample` coordinates that put the piece at `at`, scaled and rotated: (H, W, 2), [-1, 1] in the frame."""
    aspect = height / width
    c, s = np.cos(turned) / scale, np.sin(turned) / scale
    linear = np.array([[c, s * aspect], [-s / aspect, c]])
    shift = -linear @ at[::-1]
    theta = torch.from_numpy(np.column_stack([linear, shift])).float()  # (2, 3)
    return F.affine_grid(theta[None], [1, 1, height, width], align_corners=True)[0]


class Rank(NamedTuple):
    """The share of a process in every batch: the `rank`-th of `of` equal parts."""

    rank: int = 0
    of: int = 1


class StepBatch(NamedTuple):
    """The samples of one process in a step, and the generators for further draws of that step."""

    samples: list[Sample]
    rngs: list[np.random.Generator]  # of each sample, for its mask damage and reference pixels
    seed: int  # of the model's own draws (dropout)
    torch_state: Tensor  # of torch's generator on the CPU when they begin

    def seed_model(self) -> None:
        """Let the model's own draws begin as in an undisturbed training, whichever process drew the samples."""
        torch.manual_seed(self.seed)  # a GPU's generator too
        torch.set_rng_state(self.torch_state)


class StepSampler:
    """`sampler[step]` gives the samples of a step, for the share of this process.

    Args:
        sets: the clips of each data set. Of several sets a sample first chooses one, all equally likely, as in the
            official code.
        config: with `draws="clip"` each sample of a batch has a generator of its own, so that a process draws its
            share alone; with "batch" one generator draws them one after the other.
    """

    def __init__(self, sets: list[list[Clip]], *, config: Config, seed: int, share: Rank) -> None:
        size = config.train.batch_size
        if size < share.of or size % share.of:
            raise LabError(f"batch_size must be a multiple of the {share.of} processes, got {size}")
        if share.of > 1 and config.train.draws == "batch":
            raise LabError(f"{share.of} processes need draws='clip', got draws='batch', where one must draw all clips")
        self.sets, self.config, self.seed = sets, config, seed
        self.own = range(share.rank * size // share.of, (share.rank + 1) * size // share.of)

    def __getitem__(self, step: int) -> StepBatch:
        # one number of rollout frames for the whole batch, in every process: its samples must have equally many frames
        lead = int(np.random.default_rng([self.seed, step, 0, 2]).integers(self.config.train.rollout + 1))
        if self.config.train.draws == "batch":
            rng = np.random.default_rng([self.seed, step])
            torch.manual_seed(seed := int(rng.integers(2**31)))
            samples = [self._draw(rng, lead) for _ in self.own]
            return StepBatch(samples, [rng] * len(self.own), seed, torch.get_rng_state())  # the model's draws go on
        rngs = [np.random.default_rng([self.seed, step, 1 + number]) for number in self.own]
        samples = []
        for rng in rngs:
            torch.manual_seed(int(rng.integers(2**31)))
            samples.append(self._draw(rng, lead))
        own = np.random.default_rng([self.seed, step, self.own.start, 1])  # the model's draws differ in each process
        torch.manual_seed(seed := int(own.integers(2**31)))
        return StepBatch(samples, rngs, seed, torch.get_rng_state())

    def _draw(self, rng: np.random.Generator, lead: int) -> Sample:
        clips = self.sets[int(rng.integers(len(self.sets)))] if len(self.sets) > 1 else self.sets[0]
        sample = draw_sample(clips, config=self.config.data, unroll=lead + self.config.train.unroll, rng=rng)
        if self.config.data.cutout and rng.uniform() < self.config.data.cutout:
            other = draw_sample(clips, config=self.config.data, unroll=1, rng=rng)
            sample = paste_cutout(sample, other, rng=rng)
        return sample
