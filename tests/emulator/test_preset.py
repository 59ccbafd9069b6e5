"""Presets by name."""

from __future__ import annotations

import pytest

from emulator.books.preset import PRESETS, Preset, preset


def test_the_sandbox_is_the_default() -> None:
    """The preset `sandbox` changes nothing of the defaults."""
    assert preset("sandbox") == Preset()


def test_instant_has_nothing_to_wait_for() -> None:
    """The preset `instant` pays everything with no delay."""
    habits = preset("instant").to_json()
    waits = [
        value
        for name, value in habits.items()
        if name.endswith(("_delay_seconds", "_step_seconds", "_cluster_seconds"))
    ]
    assert {each for value in waits for each in (value if isinstance(value, tuple) else (value,))} == {0.0}
    assert habits["paid_share"] == 1.0


def test_every_preset_is_one_and_others_are_refused_by_name() -> None:
    """Each published preset can be used, and an unknown one is named."""
    for name in PRESETS:
        assert isinstance(preset(name), Preset)
    with pytest.raises(ValueError, match="sandbox, instant, hostile"):
        preset("kind")
