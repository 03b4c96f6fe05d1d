"""docs/serve.md, the operator's part: every flag with its default, and every count, as they are."""

from __future__ import annotations

import dataclasses
import re

import pytest

from document_blocks import ROOT
from pluralign.serving.metrics import Metrics
from pluralign.serving.settings import ServeSettings

PAGE = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
FIELDS = {field.name: field.default for field in dataclasses.fields(ServeSettings)}


@pytest.mark.parametrize("name", FIELDS)
def test_every_flag_is_told(name: str) -> None:
    assert f"--{name.replace('_', '-')}" in PAGE


def test_no_other_flag_is_told() -> None:
    known = {name.replace("_", "-") for name in FIELDS} | {"add-key", "allow-extrapolation", "json", "quiet"}
    training = {"data", "model", "out", "optim"}
    assert set(re.findall(r"--([a-z][a-z-]*)", PAGE)) - training <= known


def test_the_defaults_are_those_of_the_page() -> None:
    rows = dict(re.findall(r"^\| `--([a-z-]+)` \| ([\d,]+)", PAGE, re.MULTILINE))
    assert len(rows) == 10
    assert {name: float(value.replace(",", "")) for name, value in rows.items()} == {
        name: float(FIELDS[name.replace("-", "_")]) for name in rows
    }


def test_every_count_is_told() -> None:
    names = set(re.findall(r"^# TYPE (pluralign_\w+)", Metrics({}).text().decode(), re.MULTILINE))
    names = {name for name in names if not name.endswith("_created")}
    assert names == set(re.findall(r"`(pluralign_\w+)`", PAGE))
