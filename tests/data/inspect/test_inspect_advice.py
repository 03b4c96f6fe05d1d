"""Each problem is found where it is, and not where it is not; every line says what to do."""

from __future__ import annotations

import ast
import contextlib
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from pluralign.cli import main
from pluralign.data import halo
from pluralign.data.dataset import Dataset
from pluralign.data.inspect import advice
from pluralign.data.inspect.advice import Advice
from pluralign.data.inspect.collect import inspect
from pluralign.data.inspect.inspection import Inspection
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Rater, Rating, Record, Response, user

OBJECTIVES = (Objective("kind", high=4.0), Objective("brief", high=4.0))
LENGTHS = [3, 5, 4, 8, 6, 7, 9, 2]


def seen(*records: Record) -> Inspection:
    return inspect(Dataset(OBJECTIVES, lambda tally: iter(records), "MIT", "us", "here"), "a file")


def found(*records: Record) -> dict[str, Advice]:
    """The advice by kind, each with something to do."""
    given = {item.kind: item for item in seen(*records).advice}
    assert all(item.problem and item.action and str(item).endswith(".") for item in given.values())
    return given


def pair(place: int, one: dict[str, float | None], two: dict[str, float | None], longer: int = 0) -> Record:
    """A record of two different replies; the second has so many more characters."""
    words = "w" * LENGTHS[place % 8]
    texts = (f"a{place:02} {words}", f"b{place:02} {words}{'w' * longer}")
    return Record(user(f"prompt number {place}"), (Response(texts[0], one), Response(texts[1], two)), id=str(place))


def healthy(num: int = 40) -> list[Record]:
    """Independent scores without ties; the longer reply wins half the time."""
    found = []
    for i in range(num):
        kind, brief = (1.0, 3.0) if i % 2 else (3.0, 1.0), (0.0, 4.0) if i % 4 < 2 else (4.0, 0.0)
        one, two = {"kind": kind[0], "brief": brief[0]}, {"kind": kind[1], "brief": brief[1]}
        found.append(pair(i, one, two, longer=0))
    return found


def test_nothing_is_wrong_but_the_conflict_that_is_there() -> None:
    """kind and brief disagree on half the pairs; nothing else is said."""
    assert set(found(*healthy())) == {"conflict"}
    assert "50 %" in found(*healthy())["conflict"].problem


@pytest.mark.parametrize(
    ("kind", "one", "two", "said"),
    [
        ("never_varies", {"kind": 2.0}, {"kind": 2.0}, "kind (always 2)"),
        ("ties", {"kind": 2.0}, {"kind": 2.0}, "kind (100 %)"),
        ("missing", {"kind": 2.0, "brief": 1.0}, {"kind": 1.0}, "brief (50 %)"),
        ("abstained", {"kind": 2.0, "brief": 1.0}, {"kind": 1.0, "brief": None}, "brief (50 %)"),
        ("halo", {"kind": 2.0, "brief": 2.0}, {"kind": 1.0, "brief": 1.0}, "halo"),
        ("length_wins", {"kind": 1.0}, {"kind": 3.0}, "kind (100 % of 40 pairs)"),
    ],
)
def test_problems_of_scores(kind: str, one: dict[str, float | None], two: dict[str, float | None], said: str) -> None:
    given = found(*(pair(i, one, two, longer=3) for i in range(40)))
    assert said in given[kind].problem


def test_nearly_always_the_same_score() -> None:
    records = [pair(i, {"kind": 4.0 if i else 1.0}, {"kind": 4.0}) for i in range(20)]
    assert "kind (98 %)" in found(*records)["hardly_varies"].problem


def test_scores_that_follow_the_length() -> None:
    records = [pair(i, {"kind": LENGTHS[i % 8] / 3}, {"kind": LENGTHS[i % 8] / 3}) for i in range(20)]
    assert "kind (r = 1.00)" in found(*records)["length_scores"].problem


def test_few_pairs_say_nothing_about_length() -> None:
    assert "length_wins" not in found(*(pair(i, {"kind": 1.0}, {"kind": 3.0}, longer=3) for i in range(10)))


def rated(place: int, **scores: float) -> Record:
    """One reply that these raters scored on kind."""
    ratings = tuple(Rating({"kind": score}, Rater(name)) for name, score in scores.items())
    return Record(user(f"prompt number {place}"), (Response(f"reply {place}", ratings=ratings),))


def test_one_rater_and_one_who_dominates() -> None:
    assert "one_rater" in found(*(rated(i, ann=float(i % 4)) for i in range(9)))
    many = [rated(i, ann=float(i % 4)) for i in range(12)] + [rated(20 + i, **{f"r{i}": 1.0}) for i in range(8)]
    assert "one of 9 raters (ann) gave 60 % of the judgements" in found(*many)["dominating_rater"].problem
    assert "dominating_rater" not in found(*(rated(i, ann=1.0, bob=2.0) for i in range(9)))


def test_raters_who_disagree_and_use_the_scale_differently() -> None:
    """Bob is always 2 above ann: a shift of ±2, and agreement far below what one can rely on."""
    given = found(*(rated(i, ann=float(i % 2), bob=2.0 + i % 2) for i in range(30)))
    assert "kind (sd 2.00)" in given["rater_shift"].problem
    assert "kind (scores, alpha" in given["disagreement"].problem
    assert "disagreement" not in found(*(rated(i, ann=float(i % 2), bob=float(i % 2)) for i in range(30)))


def test_groups_that_see_it_differently() -> None:
    """North says 0 where south says 4; each agrees within itself."""
    records = []
    for i in range(30):
        ratings = tuple(
            Rating({"kind": float(4 * ((i + (group == "south")) % 2))}, Rater(f"{group}{n}", group))
            for group in ("north", "south")
            for n in range(2)
        )
        records.append(Record(user(f"p{i}"), (Response(f"r{i}", ratings=ratings),)))
    assert "north 1.00, south 1.00" in found(*records)["groups_differ"].problem


def test_options_to_choose_from_are_no_stock_replies() -> None:
    """Yes and no under every prompt are answers to choose from; a text that only two of twelve share is a stock reply."""
    options = [Record(user(f"q{i}"), (Response("yes"), Response("no"))) for i in range(6)]
    assert "duplicates_across" not in found(*options)
    own = [
        Record(user(f"p{i}"), (Response("I cannot say." if i < 2 else f"r{i}"), Response(f"s{i}"))) for i in range(6)
    ]
    assert "1 (2 replies)" in found(*own)["duplicates_across"].problem


def test_prompts_without_replies_and_files_without_a_licence() -> None:
    assert "no_replies" in found(Record(user("p")))
    without = inspect(Dataset((), lambda tally: iter([Record(user("p"))])))
    assert "licence" in {item.kind for item in without.advice}


def test_the_text_and_the_json_hold_it_all() -> None:
    records = [*healthy(), rated(99, ann=1.0, bob=2.0), rated(98, ann=1.0, bob=2.0)]
    inspection = seen(
        *records, Record(user("p"), (Response("a"), Response("b")), (Comparison(0, 1, "tie"),), extra={"[red]x": 1})
    )
    text = inspection.text(140)
    for words in (
        "43 different prompts",
        "kind",
        "Conflict",
        "Raters",
        "Agreement",
        "record: [red]x",
        "What to do",
    ):
        assert words in text
    assert max(map(len, text.splitlines())) <= 140
    value = json.loads(json.dumps(inspection.to_json(), allow_nan=False))
    assert value["raters"]["top"] == {"ann": 2, "bob": 2}
    assert value["axes"] == ["kind", "brief", "(overall)"]
    assert value["length"]["correlation"][0] is not None
    assert value["pairs"]["longer_wins"][0] is None
    assert [item["kind"] for item in value["advice"]] == [item.kind for item in inspection.advice]


def test_many_objectives_show_the_strongest_pairs_only() -> None:
    names = [f"o{i}" for i in range(42)]
    reply = [Response(f"r{j}", {name: float((i + j) % 3) / 2 for i, name in enumerate(names)}) for j in range(3)]
    dataset = Dataset(tuple(map(Objective, names)), lambda tally: iter([Record(user("p"), tuple(reply))]))
    text = inspect(dataset).text(140)
    assert "the largest 10" in text
    assert "Scores (the first 30; 12 more with --json)" in text
    assert max(map(len, text.splitlines())) <= 140


def test_texts_without_a_prompt_are_no_duplicate_prompts() -> None:
    """A table of rated texts: nothing is said about prompts, which nobody wrote; one that is empty among others is."""
    table = [Record(user(" "), (Response(f"text number {i}", {"kind": float(i % 5)}),)) for i in range(40)]
    given = found(*table)
    assert not {"repeated_prompts", "near_prompts", "empty_prompts"} & set(given)
    assert "imitate" in given["single_replies"].action
    assert (seen(*table).duplicates.prompts, seen(*table).duplicates.records_again) == (0, 0)
    asked = Record(user("why?"), table[0].responses)
    assert "40 of 41" in found(*table, asked)["empty_prompts"].problem


NAMED = re.compile(r"`pluralign ([^`]+)`")


def texts_of(module: ModuleType) -> str:
    """Every text in a module's source, with those that are written one after the other joined."""
    tree = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))
    return "\n".join(
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def commands() -> list[str]:
    return sorted({" ".join(name.split()) for module in (advice, halo) for name in NAMED.findall(texts_of(module))})


def test_flags_stand_in_commands_only() -> None:
    told = [NAMED.sub("", texts_of(module)) for module in (advice, halo)]
    assert [re.findall(r"--\w[\w.-]*", text) for text in told] == [[], []]
    assert len(commands()) >= 8


@pytest.mark.parametrize("command", commands())
def test_every_command_that_is_named_exists_with_its_flags(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The real parsers' help knows each flag; the flags behind `loss:KIND` are those of that loss."""
    words = command.split()
    flags = [word for word in words if word.startswith("--")]
    depth = 2 if words[0] in ("data", "train") else 1
    helps = [words[:depth], *[[*words[:depth], word] for word in words if ":" in word]]
    told = ""
    for asked in helps:
        with contextlib.suppress(SystemExit):
            assert main([*asked, "--help"]) == 0
        told += capsys.readouterr().out
    assert told.startswith("usage: pluralign")
    assert [flag for flag in flags if f"{flag} " not in told and f"{flag}," not in told] == []
