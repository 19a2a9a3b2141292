"""The paper's published numbers as data, with their tables and whether each was checked against a source.

Voigtlaender et al., "FEELVOS: Fast End-to-End Embedding Learning for Video Object Segmentation", CVPR 2019.
A number is `seen` if it was read in a stored source that quotes the paper; else it is "from memory" and must be shown
as such until it is checked against the PDF. Scores are in percent; J&F is the mean of J and F.
"""

from __future__ import annotations

from dataclasses import dataclass

from feelvos_lab.errors import LabError


@dataclass(frozen=True)
class Number:
    """A published value, and whether it was read in a source or is quoted from memory."""

    value: float
    seen: bool

    @property
    def mark(self) -> str:
        return "seen" if self.seen else "from memory"

    def text(self, decimals: int = 1) -> str:
        """The value; a ° marks a number from memory."""
        return f"{self.value:.{decimals}f}{'' if self.seen else '°'}"


@dataclass(frozen=True)
class Row:
    """One method or variant: its scores in percent, seconds a frame, and an optional note."""

    key: str  # what an experiment's `paper:` names
    label: str
    J: Number | None = None
    F: Number | None = None
    JF: Number | None = None
    seconds: Number | None = None
    note: str = ""


@dataclass(frozen=True)
class Table:
    """One table of the paper."""

    key: str  # what an experiment's `paper_table:` names
    title: str
    where: str  # in the paper
    rows: tuple[Row, ...]

    def row(self, key: str) -> Row:
        """The row of that key; LabError if there is none."""
        for row in self.rows:
            if row.key == key:
                return row
        raise LabError(f"{self.title} has no row {key!r}; there are: {', '.join(r.key for r in self.rows)}")


def _s(value: float) -> Number:  # seen
    return Number(value, seen=True)


def _m(value: float) -> Number:  # from memory
    return Number(value, seen=False)


# DAVIS 2017 validation, trained without YouTube-VOS. FF-GM: global matching to the first frame; PF-LM and PF-GM:
# local and global matching to the previous frame; PFP: the previous frame's predictions.
ABLATION = Table(
    "ablation",
    "Ablation on DAVIS 2017 validation",
    "ablation study; trained without YouTube-VOS",
    (
        Row("1", "FF-GM + PF-LM + PFP", _m(65.9), _m(72.3), _s(69.1)),
        Row("2", "FF-GM + PF-GM + PFP", _m(61.2), _m(67.3), _s(64.2)),
        Row("3", "FF-GM + PFP", _m(49.9), _m(59.8), _s(54.9)),
        Row("4", "FF-GM", _m(47.3), _m(57.9), _s(52.6)),
        Row("5", "FF-GM + PF-LM", _m(60.4), _m(66.2), _s(63.3)),
        Row("6", "PF-LM + PFP", _m(53.8), _m(58.3), _s(56.1)),
    ),
)

_EXTRAPOLATED = "time extrapolated by the authors from DAVIS 2016"

DAVIS_2017_VAL = Table(
    "davis-2017-val",
    "DAVIS 2017 validation",
    "comparison with other methods",
    (
        Row("premvos", "PReMVOS", _s(73.9), _s(81.7), _s(77.8), _s(37.6), "fine-tunes on the first frame"),
        Row(
            "onavos",
            "OnAVOS",
            _m(61.0),
            _m(66.1),
            _m(63.6),
            _m(26.0),
            "fine-tunes on the first frame; other tables print 67.9 for another version",
        ),
        Row("osmn", "OSMN", _s(52.5), _s(57.1), _s(54.8), _m(0.28), _EXTRAPOLATED),
        Row("favos", "FAVOS", _s(54.6), _s(61.8), _s(58.2), _m(1.2), _EXTRAPOLATED),
        Row("videomatch", "VideoMatch", _s(56.5), _s(68.2), _m(62.4), _m(0.35)),
        Row("rgmp", "RGMP", _s(64.8), _s(68.6), _s(66.7), _m(0.28), _EXTRAPOLATED),
        Row("feelvos-davis", "FEELVOS without YouTube-VOS", _s(65.9), _m(72.3), _s(69.1), _s(0.51)),
        Row("feelvos", "FEELVOS", _s(69.1), _s(74.0), _s(71.5), _s(0.51), "69.1 is its J, not its J&F"),
    ),
)

DAVIS_2017_TEST_DEV = Table(
    "davis-2017-test-dev",
    "DAVIS 2017 test-dev",
    "comparison with other methods",
    (
        Row("premvos", "PReMVOS", _s(67.5), _m(75.8), _s(71.6), _m(41.3), "fine-tunes on the first frame"),
        Row("onavos", "OnAVOS", _m(53.4), _m(59.6), _m(56.5), _m(39.0), "fine-tunes on the first frame"),
        Row("osmn", "OSMN", _m(37.7), _m(44.9), _m(41.3), _m(0.28), _EXTRAPOLATED),
        Row("favos", "FAVOS", _m(42.9), _m(44.2), _m(43.6), _m(1.2), _EXTRAPOLATED),
        Row("rgmp", "RGMP", _m(51.4), _m(54.4), _s(52.9), _m(0.42), _EXTRAPOLATED),
        Row("feelvos-davis", "FEELVOS without YouTube-VOS", _m(51.2), _m(57.5), _m(54.4), _m(0.56)),
        Row("feelvos", "FEELVOS", _m(55.2), _m(60.5), _s(57.8), _m(0.56)),
    ),
)

DAVIS_2016_VAL = Table(
    "davis-2016-val",
    "DAVIS 2016 validation",
    "comparison with other methods",
    (
        Row("premvos", "PReMVOS", _s(84.9), _s(88.6), _s(86.8), None, "more than 30 s a frame"),
        Row("onavos", "OnAVOS", _m(85.7), _m(84.2), _m(85.0), _s(13.0), "another version: 86.1, 84.9, 85.5"),
        Row("osmn", "OSMN", _m(74.0), _m(72.9), _m(73.5), _m(0.14)),
        Row("favos", "FAVOS", _s(82.4), _s(79.5), _s(81.0), _s(1.8)),
        Row("videomatch", "VideoMatch", _s(81.0), None, None, _s(0.32)),
        Row("pml", "PML", _m(75.5), _m(79.3), _m(77.4), _m(0.28), "FEELVOS's ancestor"),
        Row("rgmp", "RGMP", _s(81.5), _s(82.0), _s(81.8), _s(0.14), "68.8 without simulated data"),
        Row("feelvos-davis", "FEELVOS without YouTube-VOS", _m(80.3), _m(83.1), _m(81.7), _m(0.45)),
        Row("feelvos", "FEELVOS", _s(81.1), _s(82.2), _s(81.7), _s(0.45)),
    ),
)

YOUTUBE_OBJECTS = Table(
    "youtube-objects",
    "YouTube-Objects, mean J",
    "comparison with other methods; the protocol differs between papers, as the authors remark",
    (
        Row("onavos", "OnAVOS", _s(80.5)),
        Row("osvos", "OSVOS", _s(78.3)),
        Row("videomatch", "VideoMatch", _m(79.7)),
        Row("osmn", "OSMN", _m(69.0)),
        Row("feelvos-davis", "FEELVOS without YouTube-VOS", _m(78.9)),
        Row("feelvos", "FEELVOS", _s(82.1)),
    ),
)


@dataclass(frozen=True)
class Goal:
    """One of the paper's four design goals, paraphrased."""

    key: str
    label: str
    means: str


GOALS = (  # seen in notes on the paper's introduction
    Goal("simple", "Simple", "a single network, nothing fine-tuned on the first frame, no simulated training data"),
    Goal("fast", "Fast", "quick enough to be used"),
    Goal("end-to-end", "End-to-end", "one training for the whole task, with any number of objects"),
    Goal("strong", "Strong", "more than 65 % J&F on DAVIS 2017 validation"),
)

STRONG = 65.0  # percent, the last goal's limit; the notes that this project started from print 64


@dataclass(frozen=True)
class GoalRow:
    """A method of the paper's table of design goals; its ticks for single goals were not seen."""

    key: str  # as in the tables of scores
    label: str
    all_four: bool  # seen: the paper says that FEELVOS alone meets them all
    fine_tunes: bool  # on the first frame of each video
    seen: bool  # `fine_tunes`


DESIGN_GOALS = (
    GoalRow("premvos", "PReMVOS", all_four=False, fine_tunes=True, seen=False),
    GoalRow("onavos", "OnAVOS", all_four=False, fine_tunes=True, seen=False),
    GoalRow("osvos", "OSVOS", all_four=False, fine_tunes=True, seen=False),
    GoalRow("masktrack", "MaskTrack", all_four=False, fine_tunes=True, seen=False),
    GoalRow("pml", "PML", all_four=False, fine_tunes=False, seen=True),
    GoalRow("osmn", "OSMN", all_four=False, fine_tunes=False, seen=True),
    GoalRow("favos", "FAVOS", all_four=False, fine_tunes=False, seen=True),
    GoalRow("videomatch", "VideoMatch", all_four=False, fine_tunes=False, seen=True),
    GoalRow("rgmp", "RGMP", all_four=False, fine_tunes=False, seen=True),
    GoalRow("feelvos", "FEELVOS", all_four=True, fine_tunes=False, seen=True),
)

# Where the values of preset full come from: the paper (§3 and §4, all seen), or the official code where the paper gives
# none. Its other settings are this project's: off in preset full, or without influence on the result.
GIVEN_BY = {
    "paper": (
        *("backbone", "decoder_dim", "embedding_dim", "radius", "head_layers", "head_kernel", "head_dim"),
        *("data", "height", "width", "steps", "batch_size", "optimizer", "learning_rate", "momentum"),
        *("hard_fraction", "reference_pixels", "unroll", "mask_damage"),
    ),
    "official code": (
        *("deepest_stride", "context_dim", "context_rates", "image_pooling", "context_dropout", "low_level_dim"),
        *("norm_momentum", "freeze_norm", "embedding_relu", "feedback", "scale", "test_height", "hard_anneal_steps"),
        *("poly_power", "weight_decay", "decay_depthwise", "decay_in_gradient", "clip_norm", "clip_by"),
        *("bias_gradient", "clips_summed"),
    ),
}

PAPER_DATA = "davis-2017+youtube-vos"  # the setting `data` of the paper's main result


@dataclass(frozen=True)
class Fact:
    """How the paper's network was trained, in a respect that is no setting."""

    label: str
    text: str


TRAINED_WITH = (  # seen
    Fact("training videos", "60 of DAVIS-2017 and 3,471 of YouTube-VOS"),
    Fact("first weights", "trained on ImageNet and COCO"),
    Fact("computed on", "16 GPUs, 3 clips on each"),
)

TABLES = {t.key: t for t in (ABLATION, DAVIS_2017_VAL, DAVIS_2017_TEST_DEV, DAVIS_2016_VAL, YOUTUBE_OBJECTS)}


def table(key: str) -> Table:
    """The paper's table of that key; LabError if there is none."""
    if key not in TABLES:
        raise LabError(f"unknown paper_table {key!r}; there are: {', '.join(TABLES)}")
    return TABLES[key]
