"""Every setting of a model, a training and its data: frozen, typed, and refused when misspelt.

A configuration starts from a preset and takes flat overrides, since no two groups share a name:

    config = configure("reduced", previous_matching="global", steps=500)

The presets are `dataclasses.replace` of one another, so `difference("reduced", "full")` says in a few lines
how the model that trains on two cores departs from the paper's.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import typing
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from feelvos_lab.errors import LabError

Preset = Literal["smoke", "reduced", "real", "full"]

PRESETS: tuple[str, ...] = typing.get_args(Preset)


@dataclass(frozen=True)
class ModelConfig:
    """The network. The defaults are the paper's, or the official code's where the paper as read is silent.

    So the authors' checkpoint fits them. The README has a table of names.
    """

    method: Literal["feelvos", "pml"] = "feelvos"  # pml: its ancestor, nearest neighbours after a triplet loss
    backbone: str = "xception65"  # any timm model with `features_only`
    pretrained: Literal["none", "package"] = "none"  # "package": ImageNet weights from a Python package
    freeze_backbone: bool = False  # its weights and its batch-norm statistics stay as they came
    deepest_stride: int = 16  # features of a greater stride are not computed; the authors test at 8, rates doubled
    context_dim: int = 256  # ASPP channels
    context_rates: tuple[int, ...] = (6, 12, 18)  # ASPP dilations, in cells of the deepest stride
    image_pooling: Literal["norm", "bias", "none"] = "norm"  # the image's mean as context, after its 1×1: see `Context`
    context_dropout: float = 0.1  # in training, of the joined context
    low_level_dim: int = 48
    middle_level: bool = False  # the decoder also sees the stride-8 features; the paper's sees stride 4 alone
    decoder_dim: int = 256
    norm_momentum: float = 0.0003  # weight of a batch in the running statistics of the batch norms
    embedding_dim: int = 100
    embedding_relu: bool = True  # as in the official code; the paper as read does not say
    first_matching: Literal["global", "none"] = "global"
    previous_matching: Literal["local", "global", "none"] = "local"
    previous_mask: bool = True  # the previous frame's prediction is a cue of the head
    feedback: Literal["hard", "soft"] = "hard"  # that cue: one-hot as in the official code, or probabilities (paper)
    radius: int = 15  # local window: (2 radius + 1)² cells of the stride-4 grid
    head_layers: int = 4
    head_kernel: int = 7
    head_dim: int = 256
    cue_skip: bool = False  # the head's logit starts as a weighted sum of the cues; not in the paper
    adapt_margin: float = 0.0  # pml: a pixel joins the pool when its second object is so much farther; 0: none does


@dataclass(frozen=True)
class TrainConfig:
    """How the network is trained. The defaults are the paper's, but where a comment names what preset full has."""

    steps: int = 200_000
    batch_size: int = 48  # clips a step, of all processes together: 3 on each of the paper's 16 GPUs
    accumulate: int = 1  # parts in which a process works off its clips, one after the other: less memory, same step
    draws: Literal["clip", "batch"] = "clip"  # a generator for each clip, or one for all; processes need the first
    unroll: int = 1  # query frames a clip; from the second on the model sees its own predictions
    rollout: int = 0  # before them up to so many frames are predicted, drawn anew each step, without loss or gradient
    precision: Literal["float32", "bfloat16"] = "float32"  # of the network; matching and loss are float32 always
    compile: bool = False  # torch compiles the backbone first
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.0007
    momentum: float = 0.9  # sgd only
    poly_power: float = 0.9
    freeze_norm: bool = True  # batch norms keep their statistics; their scale and shift are trained
    weight_decay: float = 4e-5
    decay_depthwise: bool = True  # of depthwise kernels too; preset full: false, as in the official code
    decay_in_gradient: bool = False  # added before the clipping, not by the optimizer; preset full: true, as there
    clip_norm: float = 5.0
    clip_by: Literal["all", "tensor"] = "all"  # what has that norm at most: all gradients or each; preset full: tensor
    bias_gradient: float = 2.0  # factor on the gradients of the convolutions' biases, as in the official code
    clips_summed: int = 3  # the loss is the clips' mean times this: the official code adds up the 3 clips of a GPU
    hard_fraction: float = 0.15  # of the pixels, those with the highest loss
    hard_anneal_steps: int = 100_000  # from all pixels to `hard_fraction` of them
    mask_damage: float = 0.0  # probability that the previous mask is damaged in training
    reference_pixels: int = 1024  # at most so many first-frame pixels an object, in training
    triplet_margin: float = 1.0  # pml: by so much the nearest wrong pixel must be farther; ours, we know no other
    anchor_pixels: int = 256  # pml: at most so many pixels an object are compared in training (from memory)


@dataclass(frozen=True)
class DataConfig:
    """Which clips, and how large. `root` is where a published data set was unpacked; shapes need none.

    Of a mixture such as "davis-2017+youtube-vos", on which the paper's model was trained, `root` holds each set in a
    folder (or link) of its name, and what is said of clips below is said of each set.
    """

    data: Literal["shapes", "davis-2016", "davis-2017", "youtube-vos", "davis-2017+youtube-vos"] = "davis-2017"
    root: str = ""
    height: int = 465  # of the training crops
    width: int = 465
    test_height: int = 480  # frames are scaled to this height for testing; 0 keeps them
    clips: int = 0  # training clips; 0: all there are
    test_clips: int = 0  # clips scored; 0: all there are; of scenes "factors" the scenes, each scored in 19 ways
    scenes: Literal["mixed", "factors"] = "mixed"  # shapes scored: all difficulties mixed, or one swept at a time
    hold_out: int = 0  # the last train sequences of a published set, kept back for validation
    in_memory: bool = False  # training frames are read once and kept
    frames: int = 0  # frames of a synthetic clip
    max_step: int = 1  # largest distance in frames between previous and query frame
    jitter: float = 0.0  # strength of the colour jitter in training
    scale: float = 1.3  # training crops are enlarged by a factor in [1, scale]
    zoom: float = 0.0  # a crop grows or shrinks, and moves, by up to this share of itself from frame to frame
    paste: float = 0.0  # probability that an object of another clip is pasted in
    cutout: float = 0.0  # probability that a piece of another frame, cut along a random outline, moves in front


@dataclass(frozen=True)
class Config:
    """One run's settings, complete: the preset is only where they started."""

    preset: str
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    data: DataConfig = field(default_factory=DataConfig)

    def flat(self) -> dict[str, Any]:
        """All settings by name, without their groups. `root` is left out: it says where the data lie, not which."""
        settings = {**asdict(self.model), **asdict(self.train), **asdict(self.data)}
        return {name: value for name, value in settings.items() if name != "root"}

    def digest(self) -> str:
        """Eight hexadecimal digits that differ when any setting differs; the preset's name does not count."""
        return digest_of(self.flat())


_DEFAULTS = Config("none").flat()

_OFFICIAL_STEP = {"decay_depthwise": False, "decay_in_gradient": True, "clip_by": "tensor"}

_FULL = Config("full", train=replace(TrainConfig(), **_OFFICIAL_STEP))


def digest_of(settings: dict[str, Any]) -> str:
    """Eight hexadecimal digits of flat settings, of those alone that are not the defaults.

    So a setting that is added later leaves the digest of every configuration as it was that has its default.
    """
    own = {n: value for n, value in settings.items() if n not in _DEFAULTS or not _same(value, _DEFAULTS[n])}
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:8]


def _same(value: Any, other: Any) -> bool:
    """Equal, where a list that JSON gave back counts as the tuple it was."""
    return (tuple(value) if isinstance(value, list) else value) == other


_REDUCED = Config(
    "reduced",
    model=replace(
        _FULL.model,
        backbone="test_byobnet",
        context_dim=48,
        context_rates=(1, 2),
        image_pooling="bias",
        context_dropout=0.0,
        norm_momentum=0.1,
        embedding_relu=False,
        feedback="soft",
        low_level_dim=24,
        middle_level=True,
        decoder_dim=48,
        embedding_dim=24,
        radius=4,
        head_layers=3,
        head_kernel=5,
        head_dim=32,
        cue_skip=True,
    ),
    train=replace(
        _FULL.train,
        steps=1200,
        batch_size=2,
        draws="batch",
        unroll=2,
        optimizer="adamw",
        learning_rate=0.006,
        bias_gradient=1.0,
        clips_summed=1,
        freeze_norm=False,
        **{name: _DEFAULTS[name] for name in _OFFICIAL_STEP},
        hard_anneal_steps=600,
        mask_damage=0.5,
    ),
    data=replace(
        _FULL.data,
        data="shapes",
        height=96,
        width=128,
        test_height=0,
        clips=64,
        test_clips=32,
        frames=16,
        max_step=2,
        scale=1.0,
    ),
)

_PRESETS = {
    "full": _FULL,
    "reduced": _REDUCED,
    "smoke": replace(
        _REDUCED,
        preset="smoke",
        train=replace(_REDUCED.train, steps=12, batch_size=2, hard_anneal_steps=6),
        data=replace(_REDUCED.data, height=64, width=64, clips=4, test_clips=2, frames=6),
    ),
    "real": replace(
        _FULL,
        preset="real",
        model=replace(
            _FULL.model,
            backbone="tf_efficientnet_lite0",
            pretrained="package",
            freeze_backbone=True,
            context_dim=128,
            context_rates=(3, 6),
            image_pooling="bias",
            context_dropout=0.0,
            norm_momentum=0.1,
            embedding_relu=False,
            feedback="soft",
            low_level_dim=48,
            middle_level=True,
            decoder_dim=96,
            embedding_dim=64,
            radius=10,
            head_layers=3,
            head_dim=64,
            cue_skip=True,
        ),
        train=replace(_REDUCED.train, steps=1000, learning_rate=0.003, hard_anneal_steps=500, rollout=4),
        data=replace(
            _FULL.data,
            data="davis-2016",
            height=192,
            width=256,
            test_height=240,
            max_step=3,
            jitter=0.3,
            zoom=0.08,
            paste=0.5,
            cutout=0.6,
            in_memory=True,
        ),
    ),
}


def configure(preset: str, **overrides: Any) -> Config:
    """The preset's configuration with some settings changed by name.

    Args:
        preset: one of `PRESETS`.
        overrides: any field of `ModelConfig`, `TrainConfig` or `DataConfig`.

    Raises:
        LabError: an unknown preset or name ("did you mean"), a value of another type, or one out of range.
    """
    if not isinstance(preset, str) or preset not in _PRESETS:
        raise LabError(f"unknown preset {preset!r}{_did_you_mean(preset, PRESETS)}; there are: {', '.join(PRESETS)}")
    config = _PRESETS[preset]
    known = {f.name: group for group in ("model", "train", "data") for f in fields(getattr(config, group))}
    changed: dict[str, dict[str, Any]] = {"model": {}, "train": {}, "data": {}}
    for name, value in overrides.items():
        if name not in known:
            raise LabError(f"unknown setting {name!r}{_did_you_mean(name, known)}")
        group = known[name]
        changed[group][name] = _checked(name, value, type(getattr(config, group)))
    return replace(config, **{group: replace(getattr(config, group), **values) for group, values in changed.items()})


def difference(preset: str, other: str) -> dict[str, tuple[Any, Any]]:
    """The settings in which two presets differ: name → (value in `preset`, value in `other`)."""
    ours, theirs = configure(preset).flat(), configure(other).flat()
    return {name: (value, theirs[name]) for name, value in ours.items() if value != theirs[name]}


def _did_you_mean(name: str, known: typing.Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _checked(name: str, value: Any, group: type) -> Any:
    """`value`, once its type is the field's; ints are welcome where a float is expected, nothing else is bent."""
    wanted = typing.get_type_hints(group)[name]
    if typing.get_origin(wanted) is Literal:
        choices = typing.get_args(wanted)
        if value not in choices:
            raise LabError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
        return value
    if wanted == tuple[int, ...]:
        if not isinstance(value, (tuple, list)) or not all(type(v) is int and v > 0 for v in value):
            raise LabError(f"{name} must be a list of positive integers, got {value!r}")
        return tuple(value)
    if wanted is float and type(value) is int:
        value = float(value)
    if type(value) is not wanted:
        hint = _number_hint(value) if wanted in (int, float) else ""
        raise LabError(f"{name} must be {wanted.__name__}, got {type(value).__name__} {value!r}{hint}")
    if wanted in (int, float):
        _check_range(name, value)
    return value


def _check_range(name: str, value: float) -> None:
    """Refuse a number with which the network cannot be built, or a training would fail or learn nothing."""
    if not math.isfinite(value):
        raise LabError(f"{name} must be finite, got {value!r}")
    if value < 0:
        raise LabError(f"{name} must not be negative, got {value!r}")
    if type(value) is int and value >= 2**31:
        raise LabError(f"{name} must be less than 2147483648, got {value!r}")
    if name in _FROM_1 and value < 1:
        raise LabError(f"{name} must be at least 1, got {value!r}")
    if name in _ABOVE_0 and value == 0:
        raise LabError(f"{name} must be greater than 0, got {value!r}")
    if name in _SHARES and value > 1:
        raise LabError(f"{name} must be at most 1, got {value!r}")
    if name == "head_kernel" and value % 2 == 0:
        raise LabError(f"{name} must be odd, got {value!r}")


_FROM_1 = {
    *("context_dim", "low_level_dim", "decoder_dim", "embedding_dim", "head_layers", "head_kernel", "head_dim"),
    *("steps", "batch_size", "accumulate", "unroll", "clips_summed", "reference_pixels", "anchor_pixels"),
    *("height", "width", "max_step", "scale"),
}

_ABOVE_0 = {"clip_norm", "hard_fraction"}

_SHARES = {"context_dropout", "norm_momentum", "momentum", "hard_fraction", "mask_damage", "paste", "cutout", "jitter"}


def _number_hint(value: Any) -> str:
    """Say why YAML's `1e-4` is text: its floats need a dot."""
    if not isinstance(value, str):
        return ""
    try:
        number = float(value)
    except ValueError:
        return ""
    return f" (in YAML write {number!r} with a dot, such as {number:.1e}, and no quotes)"
