"""`pluralign data views`: the names that `data convert --to` knows, with their papers and options."""

from __future__ import annotations

import json

import pytest

from pluralign.cli import main
from pluralign.data import views


def test_views_say_their_paper_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "views"]) == 0
    told = capsys.readouterr().out
    assert [name for name in views.names() if f"\n{name} " not in f"\n{told}"] == []
    assert "paper: SteerLM, arXiv 2310.05344" in told and "scope=prompt" in told
    assert main(["data", "views", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert set(value) == set(views.names())
    assert value["rankings"]["options"] == {"pairs": "all", "conversational": True}
