"""Configurations are strict: a misspelt name or a wrong type never runs."""

from __future__ import annotations

from decimal import Decimal

import pytest

from feelvos_lab.config import PRESETS, configure, difference, digest_of
from feelvos_lab.errors import LabError
from feelvos_lab.model.checkpoint import read_card, shipped_path, shipped_presets


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_survives_a_round_trip_through_its_flat_form(preset: str) -> None:
    config = configure(preset)
    assert configure(preset, **config.flat()) == config


def test_no_two_groups_share_a_name() -> None:
    config = configure("full")
    assert len(config.flat()) == sum(len(vars(group)) for group in (config.model, config.train, config.data)) - 1


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"lerning_rate": 0.1}, "unknown setting 'lerning_rate' (did you mean 'learning_rate'?)"),
        ({"radius": 1.5}, "radius must be a valid integer, got 1.5"),
        ({"radius": True}, "radius must be a valid integer, got True"),
        ({"radius": -1}, "radius must be greater than or equal to 0, got -1"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number, got nan"),
        ({"previous_mask": 1}, "previous_mask must be a valid boolean, got 1"),
        ({"first_matching": "local"}, "first_matching must be 'global' or 'none', got 'local'"),
        ({"learning_rate": "1e-4"}, "learning_rate must be a valid number, got '1e-4'"),
        ({"learning_rate": Decimal("0.1")}, "learning_rate must be a valid number, got Decimal('0.1')"),
        ({"steps": 2**31}, "steps must be less than 2147483648, got 2147483648"),
        ({"head_kernel": 4}, "head_kernel must be odd, got 4"),
        ({"context_rates": [1, 0]}, "context_rates.1 must be greater than or equal to 1, got 0"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_sentence(overrides: dict, sentence: str) -> None:
    with pytest.raises(LabError) as refusal:
        configure("reduced", **overrides)
    assert str(refusal.value) == sentence


def test_an_unknown_preset_is_refused_with_a_guess() -> None:
    with pytest.raises(LabError, match=r"unknown preset 'reducd' \(did you mean 'reduced'\?\)"):
        configure("reducd")


def test_the_digest_depends_on_every_setting_and_not_on_the_way_it_was_reached() -> None:
    assert configure("reduced").digest() != configure("reduced", radius=5).digest()
    assert configure("reduced", radius=4).digest() == configure("reduced").digest()
    assert configure("reduced", **configure("smoke").flat()).digest() == configure("smoke").digest()


@pytest.mark.parametrize("preset", shipped_presets())
def test_a_shipped_preset_has_the_digest_on_its_card(preset: str) -> None:
    assert read_card(shipped_path(preset))["digest"] == configure(preset).digest()


def test_a_setting_that_is_new_leaves_the_digest_of_what_was_stored_without_it() -> None:
    stored = configure("full", clip_by="all", decay_depthwise=True, decay_in_gradient=False).flat()
    older = {name: value for name, value in stored.items() if name not in ("clip_by", "decay_depthwise", "steps")}
    assert digest_of(stored) == digest_of(older) != configure("full").digest()


def test_where_the_data_lie_is_no_part_of_a_configuration() -> None:
    assert configure("real", root="/here").digest() == configure("real", root="/there").digest()
    assert "root" not in configure("real", root="/here").flat()


def test_the_difference_between_two_presets_names_both_values() -> None:
    assert difference("reduced", "full")["radius"] == (4, 15)
    assert "momentum" not in difference("reduced", "full")
    assert difference("full", "full") == {}
