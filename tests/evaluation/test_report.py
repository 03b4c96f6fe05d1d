"""The report as a file: round trip, versions, damaged input, what is written, the terminal's table."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from pluralign.errors import DataError, FormatVersionError, StorageError
from pluralign.evaluation.accuracy import Judged, accuracy_table
from pluralign.evaluation.card import Card
from pluralign.evaluation.plots import pictures
from pluralign.evaluation.report import Report, report
from pluralign.evaluation.rows import KEYS
from pluralign.evaluation.summary import number, percent, sentences


@pytest.fixture(scope="module")
def made(optimal_samples, four_replies) -> Report:
    return report(optimal_samples, "An optimal policy", four_replies, {"seed": 3, "method": "none"}, resamples=30)


@pytest.fixture(scope="module")
def preferences_only(optimal_samples) -> Report:
    pairs = Judged("warm", *(np.array([2.0, 1.0]), np.array([1.0, 2.0])) * 3, ("a", "b"))
    return Report(
        "Pairs", optimal_samples.objectives, Card.absent("no scorer reads these replies"), (), accuracy_table([pairs])
    )


def test_a_report_survives_json(made) -> None:
    value = json.loads(json.dumps(made.to_json(), allow_nan=False))
    again = Report.from_json(value)
    assert again.to_json() == value
    assert again.objectives == made.objectives
    assert again.card.rows == made.card.rows


def test_the_schema_has_the_ten_numbers_four_times(made) -> None:
    value = made.to_json()
    assert value["format_version"] == 1
    for row in (value, value["base"], value["optimum"], value["optimum_conservative"]):
        assert set(KEYS) <= set(row)
        assert set(row["intervals"]) == set(KEYS)
        assert {key for key in KEYS if row[key] is None} == set(row["reasons"])
    assert value["base"]["efficiency"] is None
    assert value["about"] == {"seed": 3, "method": "none", "bootstrap_resamples": 30, "bootstrap_seed": 0}


def test_a_newer_report_is_refused(made, tmp_path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps({**made.to_json(), "format_version": 2}))
    with pytest.raises(FormatVersionError, match=r"report\.json: format_version 2 is newer"):
        Report.load(path)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"gain_mean": "high"}, "policy: gain_mean must be a number or null, got 'high'"),
        ({"base": None}, "base: a row is an object"),
        ({"objectives": [{"name": "x", "low": 3, "high": 1}]}, "low < high"),
        ({"per_weight": {}}, "per_weight must be a list"),
        ({"replies": None}, "replies must be a list"),
        ({"format_version": "1"}, "no valid format_version"),
        ({"about": []}, "about must be"),
        ({"intervals": []}, "intervals and reasons must be objects"),
        ({"intervals": {"regret": [1]}}, r"intervals\.regret must be null or \[low, high\]"),
    ],
)
def test_damaged_reports_say_what_is_wrong_and_where(made, tmp_path, damage, said) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps({**made.to_json(), **damage}))
    with pytest.raises(DataError, match=said) as caught:
        Report.load(tmp_path)
    assert str(path) in str(caught.value)


def test_what_is_no_object_is_refused(tmp_path) -> None:
    (tmp_path / "report.json").write_text("[]")
    with pytest.raises(DataError, match="a report is an object"):
        Report.load(tmp_path)


def test_writing_leaves_whole_files_that_load_again_and_are_the_same_every_time(made, tmp_path) -> None:
    paths = made.write(tmp_path / "out")
    assert [path.name for path in paths] == [
        "report.json", "report.html", "front.png", "fronts.png", "sweeps.png", "cross_matrix.png",
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in paths)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths[2:])
    again = Report.load(tmp_path / "out")
    assert again.to_json() == made.to_json()
    assert pictures(again) == {path.name: path.read_bytes() for path in paths[2:]}


def test_a_place_that_cannot_be_written_is_a_storage_error(made, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        made.write(tmp_path / "file")


def test_the_terminal_shows_every_number_and_never_reads_markup(made) -> None:
    console = Console(width=90, record=True, file=io.StringIO())
    console.print(Report("a [bold]title[/bold]", made.objectives, made.card).table())
    text = console.export_text()
    assert "a [bold]title[/bold]" in text
    assert all(label in text for label in ("Gain, mean", "Spearman", "Hypervolume", "Efficiency", "Regret"))
    assert number(made.card.policy.values["gain_mean"]) in text


def test_a_report_of_preferences_alone(preferences_only, tmp_path) -> None:
    paths = preferences_only.write(tmp_path)
    assert [path.name for path in paths] == ["report.json", "report.html"]
    page = paths[1].read_text(encoding="utf-8")
    assert "Steerability was not measured: no scorer reads these replies." in page
    assert "Preference accuracy" in page
    assert Report.load(tmp_path).to_json() == preferences_only.to_json()
    assert next(column.header for column in preferences_only.table().columns) == "objective"


def test_the_summary_says_it_in_words(made) -> None:
    first, second, third, fourth = sentences(made.card)
    assert first.startswith("Asked for one objective, the model's score on it rises by ")
    assert "of what the exact optimum gains at the same distance from the base" in second
    assert "100 % of its replies are well formed" in third
    assert fourth == "Every objective scores highest when it is the one asked for."
    assert sentences(Card.absent("nothing")) == []


def test_numbers_as_people_write_them() -> None:
    assert [number(-0.004), number(-1.5), number(2, sign=True), number(None)] == ["0.00", "−1.50", "+2.00", "–"]
    assert [percent(0.9999), percent(1.0), percent(0.001), percent(0.764)] == ["99 %", "100 %", "1 %", "76 %"]


def test_replies_shown_are_the_first_drawn(made, optimal_samples) -> None:
    shown = made.replies[0]
    assert shown["prompt"] == "My lamp number 0 is dark."
    assert [reply["label"] for reply in shown["replies"]] == ["base", "helpful", "warm", "all equally"]
    assert shown["replies"][1]["text"] == optimal_samples.cells[0].texts[0]
    assert shown["replies"][0]["weights"] is None
