"""Synthetic clips from a seed: textured, deforming objects on a textured, moving background.

Each difficulty is one number from 0 (absent) to 1 (strong), independent of the others, so an experiment can sweep
one and keep the rest (`make_factor_clips`). Lengths in this file are in units of the frame's shorter side.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from feelvos_lab.data.calibrated import draw_calibrated
from feelvos_lab.data.clip import Clip
from feelvos_lab.data.difficulty_sweep import (
    BASE,
    BASE_DIFFICULTY,
    SYNTHETIC,
    Difficulty,
    Place,
    clip_name,
    draw_difficulty,
)
from feelvos_lab.errors import LabError

MAX_OBJECTS = 4

_SPLIT_SEEDS = {"train": 0, "validation": 1_000_000_000, "test": 2_000_000_000}  # first seed of each split

_SWEPT = 500_000_000  # offset of the seeds of `make_factor_clips` in each split


def make_clips(
    split: str,
    *,
    count: int,
    seed: int = 0,
    height: int,
    width: int,
    frames: int,
    scenes: Literal["mixed", "calibrated"] = "mixed",
) -> list[Clip]:
    """`count` clips of mixed difficulty; different splits never share a clip.

    Args:
        split: "train", "validation" or "test".
        seed: selects the training clips; validation and test clips do not depend on it.
        scenes: "mixed" is the mix of `draw_difficulty`, of the shipped checkpoint `reduced`; "calibrated" that
            of `draw_calibrated`, whose objects move and change as in real video. The names of its clips say so.

    Example:
        >>> import torch
        >>> from feelvos_lab.data import make_clips
        >>> size = {"count": 2, "height": 32, "width": 32, "frames": 3}
        >>> one, other = make_clips("test", seed=1, **size), make_clips("test", seed=2, **size)
        >>> len(one), all(torch.equal(a.frames, b.frames) for a, b in zip(one, other))
        (2, True)
        >>> make_clips("train", seed=1, **size)[0].name == make_clips("train", seed=2, **size)[0].name
        False
    """
    if split not in _SPLIT_SEEDS:
        raise LabError(f"split must be one of {', '.join(_SPLIT_SEEDS)}, got {split!r}")
    if scenes not in ("mixed", "calibrated"):
        raise LabError(f"scenes must be 'mixed' or 'calibrated', got {scenes!r}")
    first = _SPLIT_SEEDS[split] + (100_000 * seed if split == "train" else 0)
    clips = []
    for number in range(first, first + count):
        # a stream of its own: the difficulty must not depend on what the scene draws from the same seed
        difficulty = draw_calibrated(np.random.default_rng([number, 1])) if scenes == "calibrated" else None
        clip = make_clip(number, height=height, width=width, frames=frames, difficulty=difficulty)
        clips.append(clip if difficulty is None else replace(clip, name=f"calibrated-{number}"))
    return clips


def make_factor_clips(split: str, *, scenes: int, height: int, width: int, frames: int) -> list[Clip]:
    """The same scenes at an easy base, and with one difficulty at a time at each level (see `difficulty_sweep.py`).

    The clips of a scene differ in that difficulty only: objects, textures, background and the sensor's noise are the
    same. Each scene has two objects.

    Args:
        split: "validation" or "test"; their scenes differ, and share no seed with the mixed clips.

    Returns:
        `scenes` × (1 + 3 × 6) clips, with names such as `base-scene-0` and `speed-3-scene-0`.
    """
    if split not in ("validation", "test"):
        raise LabError(f"scenes that sweep one difficulty are for validation and test, got split {split!r}")
    places = [(BASE, 0, {})]
    places += [(f.name, level, {f.setting: v}) for f in SYNTHETIC for level, v in enumerate(f.levels, start=1)]
    settings = {"height": height, "width": width, "frames": frames, "objects": 2, "paired": True}
    clips = []
    for factor, level, swept in places:
        difficulty = Difficulty(**{**BASE_DIFFICULTY, **swept})
        for scene in range(scenes):
            clip = make_clip(_SPLIT_SEEDS[split] + _SWEPT + scene, difficulty=difficulty, **settings)
            clips.append(replace(clip, name=clip_name(Place(factor, level, str(scene)))))
    return clips


def make_clip(
    seed: int,
    *,
    height: int = 96,
    width: int = 128,
    frames: int = 16,
    difficulty: Difficulty | None = None,
    objects: int | None = None,
    paired: bool = False,
) -> Clip:
    """One synthetic clip; the same seed gives the same clip.

    Args:
        height, width: in pixels, at least 32.
        frames: at least 2.
        difficulty: None draws a mix from the seed.
        objects: 1 to 4; None draws the number from the seed.
        paired: clips of one seed differ in their difficulty only. Otherwise look-alikes and re-entries, which draw
            from the same random stream, also change what is drawn after them, as in the clips of shipped models.

    Returns:
        A `Clip` in memory: frames (T, 3, H, W) uint8, masks (T, H, W) int64 with ids 1 … objects, all of which are
        visible in the first frame.

    Example:
        >>> from feelvos_lab.data import Difficulty, make_clip
        >>> clip = make_clip(1, height=32, width=48, frames=3, objects=2, difficulty=Difficulty(speed=0.5))
        >>> clip.frames.shape, clip.frames.dtype, clip.masks.shape
        (torch.Size([3, 3, 32, 48]), torch.uint8, torch.Size([3, 32, 48]))
        >>> clip.object_ids, clip.masks[0].unique().tolist()
        ((1, 2), [0, 1, 2])
    """
    if min(height, width) < 32 or frames < 2:
        raise LabError(f"a synthetic clip needs at least 32×32 pixels and 2 frames, got {height}×{width}, {frames}")
    if objects is not None and not 1 <= objects <= MAX_OBJECTS:
        raise LabError(f"objects must lie in 1 … {MAX_OBJECTS}, got {objects!r}")
    rng = np.random.default_rng(seed)
    drawn, count = draw_difficulty(rng), int(rng.integers(1, MAX_OBJECTS + 1))
    scene = _Scene(rng, height, width, frames, difficulty or drawn, objects or count, paired)
    images, masks = zip(*(scene.render(t) for t in range(frames)), strict=True)
    return Clip(
        name=f"shapes-{seed}",
        frames=torch.from_numpy(np.stack(images)),  # (T, 3, H, W)
        masks=torch.from_numpy(np.stack(masks)),  # (T, H, W)
        object_ids=tuple(range(1, scene.objects + 1)),
    )


class _Texture:
    """Two colours mixed by a pattern in the object's own coordinates, so it rotates and scales with the object."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.kind = rng.integers(4)
        self.colours = rng.uniform(0.05, 0.95, (2, 3))
        self.later = rng.uniform(0.05, 0.95, (2, 3))  # the colours at drift 1
        self.waves = rng.normal(0, 1, (4, 2)) * np.array([3, 7, 13, 24])[:, None]
        self.phases = rng.uniform(0, 2 * np.pi, 4)
        self.frequency = rng.uniform(14, 40)

    def paint(self, u: np.ndarray, v: np.ndarray, drift: float) -> np.ndarray:
        """Colours (3, …) at coordinates u, v."""
        if self.kind == 0:  # stripes
            mix = np.sin(u * self.frequency) > 0
        elif self.kind == 1:  # checks
            mix = np.sin(u * self.frequency) * np.sin(v * self.frequency) > 0
        elif self.kind == 2:  # dots
            mix = np.sin(u * self.frequency) + np.sin(v * self.frequency) > 0.8
        else:  # clouds
            waves = (np.sin(a * u + b * v + p) for (a, b), p in zip(self.waves, self.phases, strict=True))
            mix = (sum(waves) / 3 + 0.5).clip(0, 1)
        one, two = (1 - drift) * self.colours + drift * self.later
        return one[:, None, None] * (1 - mix) + two[:, None, None] * mix


class _Sprite:
    """A deforming, textured blob that moves along a path."""

    def __init__(
        self,
        rng: np.random.Generator,
        path: np.ndarray,
        size: float,
        texture: _Texture,
        growth: float,
        deformation: float,
    ):
        self.path, self.size, self.texture, self.growth = path, size, texture, growth  # path: (T, 2), y before x
        self.deformation = deformation
        self.lobes = rng.normal(0, 1, (3, 2)) * np.array([0.16, 0.1, 0.06])[:, None]
        self.sway = rng.uniform(0.15, 0.5, 3)
        self.aspect = rng.uniform(0.7, 1.4)
        self.angle, self.turn = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.06)

    def draw(self, image: np.ndarray, t: int, grid: tuple[np.ndarray, np.ndarray], drift: float) -> np.ndarray:
        """Paint the blob over `image` (3, H, W) in place; returns its mask (H, W)."""
        progress = t / max(len(self.path) - 1, 1)
        size = self.size * self.growth**progress
        inside = np.zeros(grid[0].shape, dtype=bool)
        reach = 2.2 * size  # upper bound of the lobes' radius
        rows = np.flatnonzero(np.abs(grid[0][:, 0] - self.path[t, 0]) < reach)
        columns = np.flatnonzero(np.abs(grid[1][0] - self.path[t, 1]) < reach)
        if len(rows) == 0 or len(columns) == 0:
            return inside
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        dy, dx = grid[0][box] - self.path[t, 0], grid[1][box] - self.path[t, 1]
        angle = self.angle + self.turn * t
        u = (np.cos(angle) * dx + np.sin(angle) * dy) / size * self.aspect
        v = (-np.sin(angle) * dx + np.cos(angle) * dy) / size / self.aspect
        theta = np.arctan2(v, u)
        edge = np.ones_like(u)
        for k, (a, b) in enumerate(self.lobes, start=2):
            swing = (1 + 5 * self.deformation) * np.sin((1 + 2 * self.deformation) * self.sway[k - 2] * t)
            edge += (a + 0.5 * b * swing) * np.cos(k * theta) + (b + 0.5 * a * swing) * np.sin(k * theta)
        inside[box] = u**2 + v**2 < edge.clip(0.3, 1.6) ** 2
        colours = self.texture.paint(u * 0.2, v * 0.2, drift)
        image[:, box[0], box[1]] = np.where(inside[box], colours, image[:, box[0], box[1]])
        return inside


class _Scene:
    """The state of one clip: background, objects, look-alikes and the occluding bar."""

    def __init__(
        self,
        rng: np.random.Generator,
        height: int,
        width: int,
        frames: int,
        difficulty: Difficulty,
        objects: int,
        paired: bool,
    ) -> None:
        side = min(height, width)
        self.rng, self.difficulty, self.objects, self.frames, self.paired = rng, difficulty, objects, frames, paired
        self.extent = np.array([height, width]) / side
        y, x = np.mgrid[:height, :width]
        self.grid = (y + 0.5) / side, (x + 0.5) / side
        self.ground = [_Texture(rng) for _ in range(2)]
        for texture in self.ground:
            texture.kind = 3
        self.camera = rng.normal(0, 1, 2)
        self.camera *= 0.04 * difficulty.camera / np.linalg.norm(self.camera)
        self.sprites = [self._object(index) for index in range(objects)]
        self.doubles = self._doubles()
        self.bar = _Texture(rng)
        self.bar_angle = rng.uniform(-0.4, 0.4)
        self.bar_from = rng.choice([-1, 1])

    def _aside(self) -> np.random.Generator:
        """The generator for draws that depend on the difficulty: a child if paired, so that no other draw shifts."""
        return self.rng.spawn(1)[0] if self.paired else self.rng

    def _object(self, index: int) -> _Sprite:
        """An object that starts near the centre of a column of its own, so that all are visible in the first frame."""
        rng, aside, difficulty = self.rng, self._aside(), self.difficulty
        centre = self.extent * np.array([rng.uniform(0.3, 0.7), (index + rng.uniform(0.35, 0.65)) / self.objects])
        heading = rng.uniform(0, 2 * np.pi)
        velocity = (0.005 + 0.095 * difficulty.speed) * np.array([np.sin(heading), np.cos(heading)])
        path = self._bounce(centre, velocity)
        if rng.uniform() < difficulty.reentry:
            path = self._leave_and_return(path, aside)
        size = rng.uniform(0.13, 0.22) / (1 + 0.15 * (self.objects - 1))
        growth = 2.5 ** (difficulty.scaling * rng.choice([-0.7, 1.0]))
        return _Sprite(rng, path, size, _Texture(rng), growth, difficulty.deformation)

    def _bounce(self, centre: np.ndarray, velocity: np.ndarray) -> np.ndarray:
        """A straight path (T, 2), reflected at the frame's edges."""
        path = centre + velocity * np.arange(self.frames)[:, None]
        return self.extent - np.abs(path % (2 * self.extent) - self.extent)

    def _leave_and_return(self, path: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The path with its middle third outside the frame; the object re-enters at another height."""
        leave, back = self.frames // 3, (2 * self.frames) // 3
        side = rng.choice([-0.4, self.extent[1] + 0.4])
        path = path.copy()
        ramp = max(2, self.frames // 8)
        for t in range(self.frames):
            away = np.clip(min((t - leave) / ramp, (back - t) / ramp) + 1, 0, 1)
            path[t, 1] = (1 - away) * path[t, 1] + away * side
        shift = rng.uniform(0.25, 0.5) * self.extent[0]
        path[(leave + back) // 2 :, 0] = (path[(leave + back) // 2 :, 0] + shift) % self.extent[0]
        return path

    def _doubles(self) -> list[_Sprite]:
        """Look-alikes: unlabelled blobs with the texture of an object, near it or far from it."""
        doubles = []
        for sprite in self.sprites:
            rng = self._aside()
            if self.rng.uniform() < self.difficulty.near_lookalikes:
                angle = rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.03) * np.arange(self.frames)
                offset = np.stack([np.sin(angle), np.cos(angle)], axis=1) * sprite.size * rng.uniform(2.0, 2.6)
                like = (sprite.size, sprite.texture, sprite.growth, sprite.deformation)
                doubles.append(_Sprite(rng, sprite.path + offset, *like))
            rng = self._aside()
            if self.rng.uniform() < self.difficulty.far_lookalikes:
                start = rng.uniform(0, 1, 2) * self.extent
                path = self._bounce(start, rng.normal(0, 0.02, 2))
                enters = max(1, self.frames // 5)
                path[:enters, 1] = self.extent[1] * 3  # outside the first frames
                doubles.append(_Sprite(rng, path, sprite.size, sprite.texture, 1.0, sprite.deformation))
        return doubles

    def render(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Frame t: image (3, H, W) uint8 and mask (H, W) int64. Call in order: all noise comes from one stream."""
        y, x = self.grid
        dy, dx = self.camera * t
        image = self.ground[0].paint((x + dx) * 0.25, (y + dy) * 0.25, 0.0)
        image = 0.6 * image + 0.4 * self.ground[1].paint((x + dx) * 0.6, (y + dy) * 0.6, 0.0)
        drift = self.difficulty.drift * t / (self.frames - 1)
        mask = np.zeros(y.shape, dtype=np.int64)
        for double in self.doubles:
            double.draw(image, t, self.grid, drift)
        for index, sprite in enumerate(self.sprites, start=1):
            mask[sprite.draw(image, t, self.grid, drift)] = index
        if self.difficulty.occlusion and t > 0:
            mask[self._draw_bar(image, t)] = 0
        image += self.rng.normal(0, 0.005 + 0.115 * self.difficulty.noise, image.shape)
        return (image.clip(0, 1) * 255).round().astype(np.uint8), mask

    def _draw_bar(self, image: np.ndarray, t: int) -> np.ndarray:
        """Paint a slanted bar that crosses the frame once in the clip; returns its mask (H, W)."""
        y, x = self.grid
        across = x + np.tan(self.bar_angle) * (y - 0.5)
        progress = t / (self.frames - 1)
        position = self.extent[1] * (progress * 1.6 - 0.3)
        if self.bar_from < 0:
            position = self.extent[1] - position
        inside = np.abs(across - position) < 0.02 + 0.16 * self.difficulty.occlusion
        image[:, inside] = self.bar.paint(x * 0.25, y * 0.25, 0.0)[:, inside]
        return inside
