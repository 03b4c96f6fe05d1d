"""PKU-SafeRLHF, BeaverTails, HH-RLHF and RewardBench, by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hub_rows import BEAVER, BENCH, HH, SAFE, Row, lay

from pluralign.data.evidence import evidence
from pluralign.data.readers import registry
from pluralign.data.record import Comparison, Message, Response, user
from pluralign.errors import DataError


def test_safe_rlhf_has_two_judgements_and_scores_of_safety(tmp_path: Path) -> None:
    dataset = registry.read(lay(tmp_path / "r.jsonl", SAFE))
    (record,) = dataset
    assert record.comparisons == (Comparison(0, 1, "second", "helpful"), Comparison(0, 1, "first", "harmless"))
    assert record.responses == (
        Response("No.", {"safe": 1, "severity": 0}, model="Alpaca3-8B", extra={"harm_category": {"Violence": False}}),
        Response("So.", {"safe": 0, "severity": 2}, model="Alpaca-7B", extra={"harm_category": {"Violence": True}}),
    )
    assert record.extra == {"prompt_source": "Alpaca3-8B"} and record.messages == user("How?")
    # [helpful, harmless, safe, severity]: the first reply loses on help and wins on all of safety, 2 steps less severe
    assert evidence(record, dataset.objectives).verdict[0, 1].tolist() == [-1, 1, 1, 1]
    assert evidence(record, dataset.objectives).size[0, 1].tolist()[2:] == [1, 2]
    assert {one.name for one in dataset.objectives if one.safety} == {"harmless", "safe", "severity"}
    assert dataset.licence == "CC BY-NC 4.0" and dataset.reader == "pku_saferlhf"


def test_safe_rlhf_of_old_from_a_table_without_types(tmp_path: Path) -> None:
    columns = [
        column for column in SAFE if "harm" not in column and "severity" not in column and "source" not in column
    ]
    path = tmp_path / "r.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, extrasaction="ignore")
        table.writeheader()
        table.writerow(SAFE | {"safer_response_id": None, "is_response_1_safe": ""})
    (record,) = registry.read(path)
    assert record.responses == (Response("No.", {"safe": 1}), Response("So."))
    assert record.comparisons == (Comparison(0, 1, "second", "helpful"),)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"better_response_id": 2}, "better_response_id must be 0 or 1, the place of a reply, got 2"),
        ({"safer_response_id": True}, "safer_response_id must be a finite number, got True"),
        ({"is_response_0_safe": 1}, "is_response_0_safe must be true or false, got 1"),
        ({"response_1_severity_level": 4}, r"severity must be in the objective's range \[0, 3\], got 4"),
        ({"response_0": None}, "response_0 must be a text"),
    ],
)
def test_bad_rows_of_safe_rlhf(tmp_path: Path, change: Row, says: str) -> None:
    with pytest.raises(DataError, match=f":2: .*{says}"):
        list(registry.read(lay(tmp_path / "r.jsonl", SAFE, SAFE | change)))


def test_beavertails(tmp_path: Path) -> None:
    other = BEAVER | {"response": "Do not.", "is_safe": "True", "category": {"self_harm": None, "new,kind": True}}
    dataset = registry.read(lay(tmp_path / "r.jsonl", BEAVER, BEAVER | {"prompt": "Else?"}, other))
    elsewhere, record = dataset
    found = {"safe": 0, "animal_abuse": 0, "financial_crime_property_crime_theft": 1, "self_harm": 0}
    assert record.responses == (
        Response("So.", found),
        Response("Do not.", {"safe": 1}, extra={"category": {"new,kind": True}}),
    )
    assert (elsewhere.messages, len(elsewhere.responses)) == (user("Else?"), 1)
    assert len(dataset.objectives) == 15 and all(one.safety for one in dataset.objectives)
    assert [one.direction for one in dataset.objectives] == ["higher", *["lower"] * 14]
    for change, says in [
        ({"category": "theft"}, "category must be an object"),
        ({"is_safe": 0}, "true or false, got 0"),
    ]:
        with pytest.raises(DataError, match=f":1: .*{says}"):
            list(registry.read(lay(tmp_path / "r.jsonl", BEAVER | change), "beavertails"))


def test_whole_dialogues(tmp_path: Path) -> None:
    dataset = registry.read(lay(tmp_path / "r.jsonl", HH))
    (record,) = dataset
    assert record.messages == (*user("a"), Message("assistant", "b"), *user("c"))
    assert record.responses == (Response("yes"), Response("no"))
    assert record.comparisons == (Comparison(0, 1, "first"),) and dataset.objectives == ()


@pytest.mark.parametrize(
    ("name", "objective"),
    [
        ("harmless-base/test.jsonl", "harmless"),
        ("helpful-online/train.jsonl", "helpful"),
        ("a/Helpful_train.jsonl", "helpful"),
        ("helpful/harmless.jsonl", None),
        ("helpful/a/b.jsonl", None),
    ],
)
def test_the_objective_of_a_file_is_in_its_name(tmp_path: Path, name: str, objective: str | None) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    dataset = registry.read(lay(tmp_path / name, HH))
    assert [one.name for one in dataset.objectives] == ([objective] if objective else [])
    assert [record.comparisons[0].objective for record in dataset] == [objective]


def test_dialogues_that_part_early_keep_all_that_follows(tmp_path: Path) -> None:
    row = {
        "chosen": "\n\nHuman: a\n\nAssistant: x\n\nHuman: c\n\nAssistant: d",
        "rejected": "\n\nHuman: a\n\nAssistant: y",
    }
    (record,) = registry.read(lay(tmp_path / "r.jsonl", row))
    assert record.messages == user("a")
    assert record.responses == (Response("x\n\nHuman: c\n\nAssistant: d", extra={"turns": 3}), Response("y"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rejected": "\n\nHuman: b\n\nAssistant: no"}, "share a dialogue up to an 'Assistant:'|no common prompt"),
        ({"rejected": "\n\nHuman: a quite other question\n\nAssistant: no"}, "share|no common prompt"),
        ({"chosen": ["a"]}, "chosen must be a text"),
    ],
)
def test_bad_dialogues(tmp_path: Path, change: Row, says: str) -> None:
    path = lay(tmp_path / "r.jsonl", HH, HH | change)
    with pytest.raises(DataError, match=f":2: .*({says})"):
        list(registry.read(path))
    assert registry.read(path, on_error="skip").count().rejected == 1


def test_reward_bench(tmp_path: Path) -> None:
    dataset = registry.read(lay(tmp_path / "r.jsonl", BENCH, BENCH | {"id": "18", "chosen_model": None, "note": 1}))
    first, second = dataset
    assert first.responses == (Response("4", model="human"), Response("5", model="unknown"))
    assert (first.id, first.extra) == ("17", {"subset": "math-prm"})
    assert (second.id, second.responses[0].model, second.extra) == ("18", None, {"subset": "math-prm", "note": 1})
    assert first.comparisons == (Comparison(0, 1, "first"),) and dataset.licence == "ODC-BY"
    for change, says in [({"id": True}, "id must be a number or a text"), ({"subset": None}, "subset must be a text")]:
        with pytest.raises(DataError, match=f":2: .*{says}"):
            list(registry.read(lay(tmp_path / "r.jsonl", BENCH, BENCH | change)))
