"""Settings: dataclasses to JSON and back, naming what is wrong. Plug-ins: found by file name or module:Class."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from pluralign import settings
from pluralign.errors import ConfigError
from pluralign.plugins import load_class, module_names


@dataclass(frozen=True)
class Inner:
    size: float = 1.0


@dataclass(frozen=True)
class Other:
    pair: tuple[int, int] = (1, 2)


@dataclass(frozen=True)
class Outer:
    part: Inner | Other = field(default_factory=Inner)
    names: tuple[str, ...] = ()
    limit: int | None = None


@pytest.mark.parametrize("value", [Outer(), Outer(Other((3, 4)), ("a",), 5), Outer(Inner(0.5), ("a", "b"))])
def test_settings_round_trip(value: Outer) -> None:
    assert settings.from_json(Outer, settings.to_json(value)) == value


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_has_not_are_named(number: float) -> None:
    with pytest.raises(ConfigError, match=r"part\.size must be a finite number"):
        settings.to_json(Outer(Inner(number)))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ({"limit": "five"}, r"Outer\.limit: 'five' is of the wrong type"),
        ({"limit": True}, r"Outer\.limit: True is of the wrong type"),
        ({"names": ["a", 1]}, r"Outer\.names: \('a', 1\) is of the wrong type"),
        ({"part": 3}, r"Outer\.part: expected the settings of Inner or Other, got 3"),
        ({"part": {"is": "Inner", "size": "big"}}, r"Outer\.part: Inner\.size: 'big' is of the wrong type"),
        ({"part": {"is": "Third"}}, r"Outer\.part: settings of 'Third' stand where Inner, Other"),
        ({"colour": "red"}, "Outer has no settings colour"),
    ],
)
def test_a_damaged_file_of_settings_is_refused(damage: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        settings.from_json(Outer, {**settings.to_json(Outer()), **damage})


def test_a_whole_number_is_a_float() -> None:
    assert settings.from_json(Outer, {"is": "Outer", "part": {"is": "Inner", "size": 2}}) == Outer(Inner(2.0))


def test_plug_ins_are_found_by_file_name() -> None:
    assert "prompt.weights" in module_names("pluralign.steering")
    assert load_class("plural", "pluralign.steering", kind="plural").__name__ == "PluralSteering"
    assert load_class("collections:OrderedDict", "").__name__ == "OrderedDict"
    with pytest.raises(ConfigError, match=r"unknown .nothing.; known are: .*plural"):
        load_class("nothing", "pluralign.steering")
    with pytest.raises(ConfigError, match="has no class 'Nothing'"):
        load_class("collections:Nothing", "")
    with pytest.raises(ConfigError, match="cannot import 'no_such_module'"):
        load_class("no_such_module:Class", "")
    with pytest.raises(ConfigError, match="exactly one class"):
        load_class("plural", "pluralign.steering", kind="round")
