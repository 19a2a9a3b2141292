"""All settings of a model, its training and its data, with types and bounds, and the presets."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing
from dataclasses import asdict, field, replace
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from feelvos_lab.errors import LabError, did_you_mean

Preset = Literal["smoke", "reduced", "real", "full"]

PRESETS: tuple[str, ...] = typing.get_args(Preset)

WEIGHT_FILES = (".pth", ".pt", ".bin", ".safetensors")

# an int becomes a float where one is expected; nothing else is converted
_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


def _number(value: Any) -> Any:
    """Reject what pydantic would convert, such as a float32 scalar, whose float would have another digest."""
    if not isinstance(value, (int, float)):
        raise PydanticCustomError("float_type", "Input should be a valid number")
    return value


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise PydanticCustomError("odd", "Input should be odd")
    return value


def _untagged(value: str) -> str:
    """Reject timm's `resnet18.a1_in1k`: its weights are never loaded, so the tag would mean nothing."""
    if "." in value:
        raise PydanticCustomError("untagged", "Input should be a timm model without the tag of pretrained weights")
    return value


def _weights(value: str) -> str:
    """Reject what is neither a source of weights nor a file of them."""
    if value not in ("none", "package") and not value.lower().endswith(WEIGHT_FILES):
        raise PydanticCustomError(
            "weights",
            "Input should be 'none', 'package' or a file of weights ({endings})",
            {"endings": ", ".join(WEIGHT_FILES)},
        )
    return value


Natural = Annotated[int, Field(ge=0, lt=2**31)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Number = Annotated[float, Field(ge=0), BeforeValidator(_number)]
Share = Annotated[Number, Field(le=1)]
Counts = Annotated[tuple[Count, ...], Field(strict=False)]  # a list, as in JSON, is taken for a tuple


@dataclass(frozen=True, config=_STRICT)
class ModelConfig:
    """The network. Defaults: the paper's values, or the official code's where the paper gives none.

    They fit the authors' checkpoint.
    """

    method: Literal["feelvos", "pml"] = "feelvos"  # pml: nearest neighbours in an embedding trained by a triplet loss
    backbone: Annotated[str, AfterValidator(_untagged)] = "xception65"  # any timm model with `features_only`
    # the backbone's first weights: package, those for ImageNet from an installed Python package; or a file of a state
    # dict, of which only the name is a setting: see `weight_file.py`
    pretrained: Annotated[str, AfterValidator(_weights)] = "none"
    freeze_backbone: bool = False  # neither weights nor batch-norm statistics are trained
    deepest_stride: Natural = 16  # largest stride of the features; the authors test at 8, with doubled rates
    context_dim: Count = 256  # ASPP channels
    context_rates: Counts = (6, 12, 18)  # ASPP dilations, in cells of the deepest stride
    image_pooling: Literal["norm", "bias", "none"] = "norm"  # ASPP's image-level branch: see `Context`
    context_dropout: Share = 0.1  # on the concatenated ASPP branches, in training
    low_level_dim: Count = 48  # channels of the decoder's stride-4 features
    middle_level: bool = False  # the decoder also uses stride-8 features; not in the paper
    decoder_dim: Count = 256
    norm_momentum: Share = 0.0003  # weight of a batch in the running statistics of the batch norms
    embedding_dim: Count = 100
    embedding_relu: bool = True  # as in the official code; the paper gives none
    first_matching: Literal["global", "none"] = "global"  # to the first frame
    previous_matching: Literal["local", "global", "none"] = "local"  # to the previous frame
    previous_mask: bool = True  # the previous frame's prediction is a cue of the head
    feedback: Literal["hard", "soft"] = "hard"  # that cue: one-hot (official code) or probabilities (paper)
    radius: Natural = 15  # local window: (2 radius + 1)² cells of the stride-4 grid
    head_layers: Count = 4
    head_kernel: Annotated[Count, AfterValidator(_odd)] = 7
    head_dim: Count = 256
    cue_skip: bool = False  # add a weighted sum of the cues to the head's logit; not in the paper
    adapt_margin: Number = 0.0  # pml: pixels join the pool if the runner-up is so much farther; 0: none join


@dataclass(frozen=True, config=_STRICT)
class TrainConfig:
    """The training. Defaults: the paper's values; comments name where preset full differs."""

    steps: Count = 200_000
    batch_size: Count = 48  # clips a step over all processes; the paper: 3 on each of 16 GPUs
    accumulate: Count = 1  # parts into which a process splits its clips: less memory, same step
    draws: Literal["clip", "batch"] = "clip"  # one random generator for each clip (several processes), or one for all
    unroll: Count = 1  # query frames a clip; after the first, the model's own prediction is the previous mask
    rollout: Natural = 0  # at most so many frames predicted before them, without loss or gradient, drawn at each step
    precision: Literal["float32", "bfloat16"] = "float32"  # of the network; matching and loss are always float32
    compile: bool = False  # torch.compile for the backbone
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Number = 0.0007
    momentum: Share = 0.9  # sgd only
    poly_power: Number = 0.9  # of the polynomial decay of the learning rate
    freeze_norm: bool = True  # batch norms keep their statistics; scale and shift are trained
    weight_decay: Number = 4e-5
    decay_depthwise: bool = True  # decay depthwise kernels too; preset full: false, as in the official code
    decay_in_gradient: bool = False  # decay is added before clipping, not by the optimizer; preset full: true
    clip_norm: Annotated[Number, Field(gt=0)] = 5.0  # of the gradient
    clip_by: Literal["all", "tensor"] = "all"  # the norm of all gradients, or of each; preset full: tensor
    bias_gradient: Number = 2.0  # factor on the gradients of convolution biases, as in the official code
    clips_summed: Count = 3  # the loss is the mean over clips times this; the official code sums the 3 clips of a GPU
    hard_fraction: Annotated[Share, Field(gt=0)] = 0.15  # share of pixels in the loss: those with the highest loss
    hard_anneal_steps: Natural = 100_000  # steps from all pixels to `hard_fraction`
    mask_damage: Share = 0.0  # probability of damage to the previous mask in training
    reference_pixels: Count = 1024  # at most so many first-frame pixels an object, in training
    triplet_margin: Number = 1.0  # pml; our choice, the paper's value is unknown to us
    anchor_pixels: Count = 256  # pml: at most so many pixels an object are compared, in training


@dataclass(frozen=True, config=_STRICT)
class DataConfig:
    """The clips and their size.

    `root` is the folder of a published data set; synthetic clips ("shapes") need none. For the mixture
    "davis-2017+youtube-vos", on which the paper's model was trained, it holds one folder (or link) for each set, and
    the settings below apply to each.
    """

    data: Literal["shapes", "davis-2016", "davis-2017", "youtube-vos", "davis-2017+youtube-vos"] = "davis-2017"
    root: str = ""
    height: Count = 465  # of the training crops, in pixels
    width: Count = 465
    test_height: Natural = 480  # the network sees tested frames downscaled to this height; 0: as they are
    scored_height: Natural = 0  # masks are predicted and scored at this height; 0: as published
    clips: Natural = 0  # training clips; 0: all
    test_clips: Natural = 0  # clips scored; 0: all; with scenes "factors" the scenes, each scored in all variants
    # "factors": the clips scored sweep one difficulty at a time; "calibrated": synthetic clips, those of training too,
    # move as real video does; "mixed": clips as they are
    scenes: Literal["mixed", "calibrated", "factors"] = "mixed"
    hold_out: Natural = 0  # the last so many train sequences of a published set are the validation split
    in_memory: bool = False  # decoded training frames are kept in memory
    frames: Natural = 0  # of a synthetic clip; of DAVIS-2016 with scenes "factors", scored at most; 0: all
    max_step: Count = 1  # largest distance in frames between previous and query frame
    jitter: Share = 0.0  # strength of the colour jitter in training
    scale: Annotated[Number, Field(ge=1)] = 1.3  # training crops are enlarged by a factor in [1, scale]
    zoom: Number = 0.0  # largest change of a crop's size and position from frame to frame, as a share of it
    paste: Share = 0.0  # probability of pasting in an object of another clip
    cutout: Share = 0.0  # probability of an occluder: a piece of another frame with a random outline


@dataclasses.dataclass(frozen=True)
class Config:
    """All settings of one run. `preset` names the preset they started from."""

    preset: str
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    data: DataConfig = field(default_factory=DataConfig)

    def flat(self) -> dict[str, Any]:
        """All settings by name, without groups and without `root`, which does not change a result.

        Of a file of pretrained weights only the name counts, so that folders may be moved.
        """
        settings = {**asdict(self.model), **asdict(self.train), **asdict(self.data)}
        settings["pretrained"] = PurePath(self.model.pretrained).name
        return {name: value for name, value in settings.items() if name != "root"}

    def digest(self) -> str:
        """Eight hexadecimal digits of all settings but `root`; the preset's name does not count."""
        return digest_of(self.flat())


_DEFAULTS = Config("none").flat()

_OFFICIAL_STEP = {"decay_depthwise": False, "decay_in_gradient": True, "clip_by": "tensor"}

_FULL = Config("full", train=replace(TrainConfig(), **_OFFICIAL_STEP))


def digest_of(settings: dict[str, Any]) -> str:
    """Eight hexadecimal digits of the flat settings that differ from their defaults.

    A setting that is added later with a default does not change the digest of an older configuration.
    """
    tuples = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}  # from JSON
    own = {name: value for name, value in tuples.items() if name not in _DEFAULTS or value != _DEFAULTS[name]}
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:8]


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
        train=replace(_REDUCED.train, steps=12, hard_anneal_steps=6),
        data=replace(_REDUCED.data, height=64, width=64, clips=4, test_clips=2, frames=6),
    ),
    "real": replace(
        _FULL,
        preset="real",
        model=replace(
            _REDUCED.model,
            backbone="tf_efficientnet_lite0",
            pretrained="package",
            freeze_backbone=True,
            context_dim=128,
            context_rates=(3, 6),
            low_level_dim=48,
            decoder_dim=96,
            embedding_dim=64,
            radius=10,
            head_kernel=7,
            head_dim=64,
        ),
        train=replace(_REDUCED.train, steps=1500, batch_size=4, learning_rate=0.003, hard_anneal_steps=750, rollout=4),
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
    """The preset's configuration with some settings changed.

    Args:
        preset: one of `PRESETS`.
        overrides: any field of `ModelConfig`, `TrainConfig` or `DataConfig`, by name.

    Raises:
        LabError: an unknown preset or setting, a value of another type, or one out of range.

    Example:
        >>> from feelvos_lab import configure
        >>> config = configure("reduced", radius=2)
        >>> config.model.radius, config.train.steps
        (2, 1200)
        >>> configure("reduced", radus=2)
        Traceback (most recent call last):
        feelvos_lab.errors.LabError: unknown setting 'radus' (did you mean 'radius'?)
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
        groups = {group: replace(getattr(config, group), **values) for group, values in changed.items()}
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name, expected = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Input should be ")
        raise LabError(f"{name} must be {expected}, got {first['input']!r}") from None
    return replace(config, **groups)


def difference(preset: str, other: str) -> dict[str, tuple[Any, Any]]:
    """The settings in which two presets differ: name → (value in `preset`, value in `other`)."""
    ours, theirs = configure(preset).flat(), configure(other).flat()
    return {name: (value, theirs[name]) for name, value in ours.items() if value != theirs[name]}
