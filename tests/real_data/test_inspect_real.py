"""Inspecting the real files: counts as their README says, and what is known about them is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pluralign.cli import main

pytestmark = pytest.mark.real_data


def seen(real_data: Path, file: str, capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """The inspection of a file, as JSON."""
    capsys.readouterr()
    assert main([str(word) for word in ("data", "inspect", real_data / file, *arguments, "--json")]) == 0
    return json.loads(capsys.readouterr().out)


def kinds(found: Any) -> set[str]:
    return {item["kind"] for item in found["advice"]}


def test_pairs_with_a_length_bias_either_way(
    real_data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = seen(real_data, "hh_pairs/pairs.jsonl.gz", capsys, "--plots", tmp_path)
    assert found["rows"]["read"] == found["rows"]["kept"] == found["pairs"]["pairs"] == 3455
    assert found["pairs"]["judged"] == [1741, 1714, 0]
    helpful, harmless, _ = found["pairs"]["longer_wins"]
    assert helpful > 0.55 and harmless < 0.45
    assert "length_wins" in kinds(found)
    assert (tmp_path / "length.png").stat().st_size > 5000


def test_ratings_with_a_halo(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = seen(real_data, "critiques/critiques.jsonl.gz", capsys)
    assert (found["rows"]["kept"], found["counts"]["comments"]["(overall)"]) == (993, 1291)
    assert [spread["missing"] for spread in found["spreads"]] == [0, 0]
    assert {"halo", "single_replies", "extra"} <= kinds(found)


def test_experts_and_crowd_differ(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Attribute correlations .35 to .67; three experts and five others per summary."""
    found = seen(real_data, "summeval/ratings.jsonl.gz", capsys)
    assert (found["rows"]["kept"], found["counts"]["ratings"]["by a rater"]) == (840, 840 * 8)
    assert found["raters"]["group_judgements"] == {"crowd": 4200, "expert": 2520}
    off = [value for i, row in enumerate(found["correlation"]) for j, value in enumerate(row) if i < j]
    assert (round(min(off), 2), round(max(off), 2)) == (0.35, 0.67)
    assert "groups_differ" in kinds(found)


def test_raters_who_disagree(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """131 raters of about 41 comments each."""
    found = seen(real_data, "offensiveness_raters/ratings.jsonl.gz", capsys)
    assert (found["raters"]["num"], found["raters"]["judgements"]) == (131, 5338)
    assert round(found["raters"]["judgements"] / 131) == found["raters"]["median"] == 41
    assert 0 < found["agreement"][0]["alpha"] < 0.5
    assert set(found["raters"]["demographics"]) == {"age", "education", "gender", "occupation", "race"}


@pytest.mark.slow
def test_votes_of_thousands(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = seen(real_data, "polis/votes.jsonl.gz", capsys)
    assert (found["raters"]["num"], found["raters"]["judgements"]) == (2977, 266_684)
    assert sum(found["counts"]["votes"].values()) == 266_684
    assert found["agreement"][0]["of"] == "votes"


def test_domains_conflict_by_construction(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For a domain its own reply is better than the others: on a pair decided for two, they disagree."""
    found = seen(real_data, "domain_preference/responses.jsonl.gz", capsys)
    assert (found["counts"]["replies"], found["pairs"]["mixed"]) == (3305, 1)
    assert "conflict" in kinds(found)
