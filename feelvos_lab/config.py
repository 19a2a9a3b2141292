"""Every setting of a model, a training and its data: frozen, typed, and refused when misspelt.

A configuration starts from a preset and takes flat overrides, since no two groups share a name:

    config = configure("reduced", previous_matching="global", steps=500)

The presets are `dataclasses.replace` of one another, so `difference("reduced", "full")` says in a few lines
how the model that trains on two cores departs from the paper's.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing
from dataclasses import asdict, field, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from feelvos_lab.errors import LabError, did_you_mean

Preset = Literal["smoke", "reduced", "real", "full"]

PRESETS: tuple[str, ...] = typing.get_args(Preset)

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)  # an int is taken for a float; nothing else is converted


def _number(value: Any) -> Any:
    """Reject what pydantic would convert, such as a float32 scalar, whose float would have another digest."""
    if not isinstance(value, (int, float)):
        raise PydanticCustomError("float_type", "Input should be a valid number")
    return value


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise PydanticCustomError("odd", "Input should be odd")
    return value


Natural = Annotated[int, Field(ge=0, lt=2**31)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Number = Annotated[float, Field(ge=0), BeforeValidator(_number)]
Share = Annotated[Number, Field(le=1)]
Counts = Annotated[tuple[Count, ...], Field(strict=False)]  # a list, as in JSON, is taken for a tuple


@dataclass(frozen=True, config=_STRICT)
class ModelConfig:
    """The network. The defaults are the paper's, or the official code's where the paper as read is silent.

    So the authors' checkpoint fits them. The README has a table of names.
    """

    method: Literal["feelvos", "pml"] = "feelvos"  # pml: its ancestor, nearest neighbours after a triplet loss
    backbone: str = "xception65"  # any timm model with `features_only`
    pretrained: Literal["none", "package"] = "none"  # "package": ImageNet weights from a Python package
    freeze_backbone: bool = False  # its weights and its batch-norm statistics stay as they came
    deepest_stride: Natural = 16  # features of a greater stride are not computed; the authors test at 8, rates doubled
    context_dim: Count = 256  # ASPP channels
    context_rates: Counts = (6, 12, 18)  # ASPP dilations, in cells of the deepest stride
    image_pooling: Literal["norm", "bias", "none"] = "norm"  # the image's mean as context, after its 1×1: see `Context`
    context_dropout: Share = 0.1  # in training, of the joined context
    low_level_dim: Count = 48
    middle_level: bool = False  # the decoder also sees the stride-8 features; the paper's sees stride 4 alone
    decoder_dim: Count = 256
    norm_momentum: Share = 0.0003  # weight of a batch in the running statistics of the batch norms
    embedding_dim: Count = 100
    embedding_relu: bool = True  # as in the official code; the paper as read does not say
    first_matching: Literal["global", "none"] = "global"
    previous_matching: Literal["local", "global", "none"] = "local"
    previous_mask: bool = True  # the previous frame's prediction is a cue of the head
    feedback: Literal["hard", "soft"] = "hard"  # that cue: one-hot as in the official code, or probabilities (paper)
    radius: Natural = 15  # local window: (2 radius + 1)² cells of the stride-4 grid
    head_layers: Count = 4
    head_kernel: Annotated[Count, AfterValidator(_odd)] = 7
    head_dim: Count = 256
    cue_skip: bool = False  # the head's logit starts as a weighted sum of the cues; not in the paper
    adapt_margin: Number = 0.0  # pml: a pixel joins the pool when its second object is so much farther; 0: none does


@dataclass(frozen=True, config=_STRICT)
class TrainConfig:
    """How the network is trained. The defaults are the paper's, but where a comment names what preset full has."""

    steps: Count = 200_000
    batch_size: Count = 48  # clips a step, of all processes together: 3 on each of the paper's 16 GPUs
    accumulate: Count = 1  # parts in which a process works off its clips, one after the other: less memory, same step
    draws: Literal["clip", "batch"] = "clip"  # a generator for each clip, or one for all; processes need the first
    unroll: Count = 1  # query frames a clip; from the second on the model sees its own predictions
    rollout: Natural = 0  # up to so many frames are predicted before them, without loss or gradient
    precision: Literal["float32", "bfloat16"] = "float32"  # of the network; matching and loss are float32 always
    compile: bool = False  # torch compiles the backbone first
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Number = 0.0007
    momentum: Share = 0.9  # sgd only
    poly_power: Number = 0.9
    freeze_norm: bool = True  # batch norms keep their statistics; their scale and shift are trained
    weight_decay: Number = 4e-5
    decay_depthwise: bool = True  # of depthwise kernels too; preset full: false, as in the official code
    decay_in_gradient: bool = False  # added before the clipping, not by the optimizer; preset full: true, as there
    clip_norm: Annotated[Number, Field(gt=0)] = 5.0
    clip_by: Literal["all", "tensor"] = "all"  # what has that norm at most: all gradients or each; preset full: tensor
    bias_gradient: Number = 2.0  # factor on the gradients of the convolutions' biases, as in the official code
    clips_summed: Count = 3  # the loss is the clips' mean times this: the official code adds up the 3 clips of a GPU
    hard_fraction: Annotated[Share, Field(gt=0)] = 0.15  # of the pixels, those with the highest loss
    hard_anneal_steps: Natural = 100_000  # from all pixels to `hard_fraction` of them
    mask_damage: Share = 0.0  # probability that the previous mask is damaged in training
    reference_pixels: Count = 1024  # at most so many first-frame pixels an object, in training
    triplet_margin: Number = 1.0  # pml: by so much the nearest wrong pixel must be farther; ours, we know no other
    anchor_pixels: Count = 256  # pml: at most so many pixels an object are compared in training (from memory)


@dataclass(frozen=True, config=_STRICT)
class DataConfig:
    """Which clips, and how large. `root` is where a published data set was unpacked; shapes need none.

    Of a mixture such as "davis-2017+youtube-vos", on which the paper's model was trained, `root` holds each set in a
    folder (or link) of its name, and what is said of clips below is said of each set.
    """

    data: Literal["shapes", "davis-2016", "davis-2017", "youtube-vos", "davis-2017+youtube-vos"] = "davis-2017"
    root: str = ""
    height: Count = 465  # of the training crops
    width: Count = 465
    test_height: Natural = 480  # frames are scaled to this height for testing; 0 keeps them
    clips: Natural = 0  # training clips; 0: all there are
    test_clips: Natural = 0  # clips scored; 0: all there are; of scenes "factors" the scenes, each scored in 19 ways
    scenes: Literal["mixed", "factors"] = "mixed"  # shapes scored: all difficulties mixed, or one swept at a time
    hold_out: Natural = 0  # the last train sequences of a published set, kept back for validation
    in_memory: bool = False  # training frames are read once and kept
    frames: Natural = 0  # frames of a synthetic clip
    max_step: Count = 1  # largest distance in frames between previous and query frame
    jitter: Share = 0.0  # strength of the colour jitter in training
    scale: Annotated[Number, Field(ge=1)] = 1.3  # training crops are enlarged by a factor in [1, scale]
    zoom: Number = 0.0  # a crop grows or shrinks, and moves, by up to this share of itself from frame to frame
    paste: Share = 0.0  # probability that an object of another clip is pasted in
    cutout: Share = 0.0  # probability that a piece of another frame, cut along a random outline, moves in front


@dataclasses.dataclass(frozen=True)
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
    if preset not in PRESETS:
        raise LabError(f"unknown preset {preset!r}{did_you_mean(preset, PRESETS)}; there are: {', '.join(PRESETS)}")
    config = _PRESETS[preset]
    group_of = {name: group for group in ("model", "train", "data") for name in vars(getattr(config, group))}
    changed: dict[str, dict[str, Any]] = {"model": {}, "train": {}, "data": {}}
    for name, value in overrides.items():
        if name not in group_of:
            raise LabError(f"unknown setting {name!r}{did_you_mean(name, group_of)}")
        changed[group_of[name]][name] = value
    try:
        return replace(
            config, **{group: replace(getattr(config, group), **values) for group, values in changed.items()}
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name, expected = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Input should be ")
        raise LabError(f"{name} must be {expected}, got {first['input']!r}") from None


def difference(preset: str, other: str) -> dict[str, tuple[Any, Any]]:
    """The settings in which two presets differ: name → (value in `preset`, value in `other`)."""
    ours, theirs = configure(preset).flat(), configure(other).flat()
    return {name: (value, theirs[name]) for name, value in ours.items() if value != theirs[name]}
