"""`pluralign data views`: the names that `data convert --to` knows, with their papers and options."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import made_up
from pluralign.cli import main
from pluralign.data import views


def test_views_say_their_paper_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "views"]) == 0
    told = capsys.readouterr().out
    assert [name for name in views.names() if f"\n{name} " not in f"\n{told}"] == []
    assert "paper: SteerLM, arXiv 2310.05344" in told and "scope=prompt" in told
    assert main(["data", "views", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert set(value) == {"trade-off", *views.names()}
    assert value["trade-off"]["options"] == {"num_weights": 1, "seed": 0, "conversational": True}
    assert value["rankings"]["options"] == {"pairs": "all", "conversational": True}


@pytest.mark.parametrize("name", ["trade-off", *views.names()])
def test_every_view_that_is_listed_can_be_asked_for(name: str, tmp_path: Path) -> None:
    """Where the file holds nothing for it, the error says so; an unknown name is another error."""
    path = made_up.write(tmp_path / "scored.jsonl", made_up.scored(6))
    code = main(["data", "convert", str(path), str(tmp_path / "rows.jsonl"), "--to", name])
    assert (code, (tmp_path / "rows.jsonl").exists()) == ((2, False) if name in ("rankings", "unpaired") else (0, True))


def test_an_option_acts_as_a_flag_or_as_an_option_but_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made_up.write(tmp_path / "scored.jsonl", made_up.scored(6))

    def rows(*arguments: str) -> bytes:
        out = tmp_path / "pairs.jsonl"
        assert main(["data", "convert", str(path), str(out), "--to", "trade-off", *arguments]) == 0
        return out.read_bytes()

    assert rows("--num-weights", "3") == rows("--options", "num_weights=3") != rows()
    assert b'"role"' not in rows("--options", "conversational=false")
    twice = ["data", "convert", str(path), str(tmp_path / "x.jsonl"), "--to", "trade-off", "--num-weights", "3"]
    assert main([*twice, "--options", "num_weights=4"]) == 2
    assert "num_weights: given as a flag and in --options" in capsys.readouterr().err
