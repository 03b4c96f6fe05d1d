"""Strict reading of JSON values: a parser takes a value and where it stands, and returns it or raises DataError.

Nothing is coerced: a bool is no number, a number no text, and an unknown key is an error, not a surprise later. To
name places costs more than to read values, so where `NOWHERE` is given as the place none is named: `located`
reads a value without places first, and only a wrong one again with them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn

from pluralign.errors import DataError

Parser = Callable[[Any, str], Any]
NOWHERE = "(nowhere)"
"""The place of a value whose place is not told."""
_LONGEST = 60
_LARGE = 10**300
"""Whole numbers below are certainly finite floats."""


def fail(where: str, allowed: str, given: Any) -> NoReturn:
    """Raise DataError saying what stands where and what is allowed there."""
    shown = repr(given)
    shown = shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "..."
    raise DataError(f"{where or 'the row'} must be {allowed}, got {shown}")


def located(parser: Parser, value: Any, where: str = "") -> Any:
    """The parser's value; of a wrong one, DataError names the place."""
    try:
        return parser(value, NOWHERE)
    except DataError:
        return parser(value, where)


def text(value: Any, where: str) -> str:
    """A string."""
    return value if isinstance(value, str) else fail(where, "a text", value)


def boolean(value: Any, where: str) -> bool:
    """true or false."""
    return value if isinstance(value, bool) else fail(where, "true or false", value)


def index(value: Any, where: str) -> int:
    """A whole number from 0."""
    return value if type(value) is int and value >= 0 else fail(where, "a whole number from 0", value)


def number(value: Any, where: str) -> float:
    """A finite number; an integer becomes a float."""
    if type(value) is float and -math.inf < value < math.inf:
        return value
    if type(value) not in (int, float):
        fail(where, "a finite number", value)
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    return result if math.isfinite(result) else fail(where, "a finite number", result)


def scores(value: Any, where: str) -> dict[str, float | None]:
    """An object of finite numbers and nulls; written out, because files hold many millions of them."""
    items = value if isinstance(value, dict) else fail(where, "an object", value)
    read: dict[str, float | None] = {}
    for key, item in items.items():
        if type(key) is not str:
            fail(f"a key of {where}", "a text", key)
        kind = type(item)
        if item is None or (kind is float and -math.inf < item < math.inf):
            read[key] = item
        elif kind is int and -_LARGE < item < _LARGE:
            read[key] = float(item)
        else:
            read[key] = number(item, NOWHERE if where is NOWHERE else f"{where}.{key}")
    return read


def optional(parser: Parser) -> Parser:
    """The parser's value, or null."""
    return lambda value, where: None if value is None else parser(value, where)


def one_of(*words: str) -> Parser:
    """One of the words."""

    def parse(value: Any, where: str) -> str:
        return value if isinstance(value, str) and value in words else fail(where, f"one of {', '.join(words)}", value)

    return parse


def tuple_of(parser: Parser) -> Parser:
    """A list, read as a tuple."""

    def parse(value: Any, where: str) -> tuple[Any, ...]:
        items = value if isinstance(value, list) else fail(where, "a list", value)
        if where is NOWHERE:
            return tuple([parser(item, NOWHERE) for item in items])
        return tuple([parser(item, f"{where}[{place}]") for place, item in enumerate(items)])

    return parse


def mapping_of(parser: Parser) -> Parser:
    """An object whose keys are free and whose values the parser reads."""

    def parse(value: Any, where: str) -> dict[str, Any]:
        items = value if isinstance(value, dict) else fail(where, "an object", value)
        if where is NOWHERE:
            return {text(key, NOWHERE): parser(item, NOWHERE) for key, item in items.items()}
        return {text(key, f"a key of {where}"): parser(item, f"{where}.{key}") for key, item in items.items()}

    return parse


def anything(value: Any, where: str) -> Any:
    """Any JSON value that can be written again."""
    if isinstance(value, dict):
        return mapping_of(anything)(value, where)
    if isinstance(value, list):
        return [anything(item, f"{where}[{place}]") for place, item in enumerate(value)]
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return fail(where, "plain JSON (text, finite number, true, false, null, list, object)", value)


def object_of(cls: type, parsers: Mapping[str, Parser]) -> Parser:
    """A dataclass from an object with exactly its fields; those with a default may be left out."""
    required = {field.name: None for field in dataclasses.fields(cls) if not has_default(field)}.keys()
    known = parsers.keys()

    def parse(value: Any, where: str) -> Any:
        items = value if isinstance(value, dict) else fail(where, f"an object ({cls.__name__})", value)
        if not (required <= items.keys() <= known):
            raise DataError(_wrong_keys(where or "the record", items, required, parsers))
        if where is NOWHERE:
            return cls(**{key: parsers[key](item, NOWHERE) for key, item in items.items()})
        return cls(**{key: parsers[key](item, f"{where}.{key}".lstrip(".")) for key, item in items.items()})

    return parse


def has_default(field: dataclasses.Field[Any]) -> bool:
    """Whether a dataclass field may be left out."""
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _wrong_keys(where: str, given: Mapping[Any, Any], required: Collection[str], allowed: Mapping[str, Parser]) -> str:
    unknown, missing = [key for key in given if key not in allowed], [key for key in required if key not in given]
    problems = [f"unknown key {key!r:.40}" for key in unknown] + [f"key {key!r} is missing" for key in missing]
    return f"{where}: {', '.join(problems)}; allowed keys are {', '.join(allowed)}"
