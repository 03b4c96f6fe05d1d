"""The registry, and the readers of the two real files."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import types
from collections import Counter
from pathlib import Path

import pytest

from pluralign.data import jsonl
from pluralign.data.conversions.explode import explode
from pluralign.data.conversions.power_set import power_set
from pluralign.data.dataset import Dataset
from pluralign.data.halo import halo
from pluralign.data.readers import registry
from pluralign.data.record import Comment, Comparison, Message, Record, user
from pluralign.errors import ConfigError, DataError


def test_readers_are_found_by_file_name_and_imported_late() -> None:
    assert {"jsonl", "trl", "hh_pairs", "critiques"} <= set(registry.reader_names())
    script = (
        "import sys; from pluralign.data.readers import registry; registry.reader_names()\n"
        "print([name for name in sys.modules if name.startswith('pluralign.data.readers.') or name == 'torch'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['pluralign.data.readers.registry']"


@pytest.mark.parametrize("name", ["csv", "registry", "", "no.such:reader", ":x", "json:no_such"])
def test_unknown_readers_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="reader"):
        registry.find(name)


def test_a_reader_outside_the_package(tmp_path: Path) -> None:
    own = types.ModuleType("own_reader")
    dataset = Dataset((), lambda tally: iter([Record(user("q"))]))
    own.reader = types.SimpleNamespace(read=lambda path, on_error: dataset)  # type: ignore[attr-defined]
    sys.modules["own_reader"] = own
    assert registry.read(tmp_path, "own_reader:reader") is dataset
    del sys.modules["own_reader"]


def test_our_files_are_told_from_trl(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    prompt, reply = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
    for row, reader in [
        ({"messages": [prompt]}, "jsonl"),
        ({"messages": [prompt], "responses": [{"text": "a"}]}, "jsonl"),
        ({"messages": [prompt, reply], "responses": []}, "jsonl"),
        ({"messages": [prompt, reply]}, "trl"),
        ({"objective": "helpful", "prompt": "Human: q\n\nAssistant:", "chosen": "a", "rejected": "b"}, "hh_pairs"),
        ({"objective": "helpful", "prompt": "q", "chosen": "a", "rejected": "b"}, "trl"),
    ]:
        path.write_text(json.dumps(row))
        assert registry.recognise(path) == reader
    path.write_text('{"tale": [], "morals": []}')
    with pytest.raises(
        DataError, match=r"(?s)found the columns tale, morals; name the reader.*\n  critiques: prompt, response"
    ):
        registry.read(path)
    path.write_text("")
    with pytest.raises(DataError, match="is empty"):
        registry.read(path)


HH = {
    "objective": "harmless",
    "prompt": "Human: q\n\nAssistant: a\n\nHuman: b\n\nAssistant:",
    "chosen": "c",
    "rejected": "d",
}


def test_hh_pairs_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(HH))
    dataset = registry.read(path)
    (record,) = dataset
    assert record.messages == (*user("q"), Message("assistant", "a"), *user("b"))
    assert [reply.text for reply in record.responses] == ["c", "d"]
    assert record.comparisons == (Comparison(0, 1, "first", "harmless"),)
    assert [(one.name, one.safety) for one in dataset.objectives] == [("helpful", False), ("harmless", True)]
    assert dataset.licence and dataset.source


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"objective": "funny"}, "one of helpful, harmless"),
        ({"chosen": None}, "chosen must be a text"),
        ({"prompt": "Human: q\n\nAssistant: a"}, "last turn is the assistant's"),
        ({"prompt": "q"}, "must begin with 'Human:'"),
        ({"more": 1}, "expected the columns objective, prompt, chosen, rejected, found"),
    ],
)
def test_hh_pairs_say_what_is_wrong(tmp_path: Path, change: dict[str, object], says: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(HH) + "\n" + json.dumps(HH | change))
    with pytest.raises(DataError, match=f":2: .*{says}"):
        list(registry.read(path))


CRITIQUE = {
    "id": 3, "source": "GSM8K", "prompt": "p", "response": "r", "reference": "ref",
    "ratings": {"justified": 2, "relevant": 3}, "error_types": ["Commonsense"], "feedback": ["no", "wrong"], "flags": [],
}  # fmt: skip


def test_critiques_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(CRITIQUE))
    dataset = registry.read(path)
    (record,) = dataset
    (reply,) = record.responses
    assert reply.scores == {"justified": 2.0, "relevant": 3.0} and reply.comments == (Comment("no"), Comment("wrong"))
    assert reply.extra == {"error_types": ["Commonsense"], "flags": []} and record.extra == {"reference": "ref"}
    assert (record.id, record.source, dataset.licence) == ("3", "GSM8K", "CC BY-NC 4.0")
    assert [(one.low, one.high) for one in dataset.objectives] == [(1, 5), (1, 5)]
    for change, says in [
        ({"ratings": {"justified": 6}}, r"range \[1, 5\], got 6"),
        ({"ratings": {"funny": 1}}, "unknown objective 'funny'"),
        ({"feedback": "no"}, "feedback must be a list"),
    ]:
        path.write_text(json.dumps(CRITIQUE | change))
        with pytest.raises(DataError, match=says):
            list(registry.read(path))


def raw_rows(path: Path) -> list[dict[str, object]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.mark.real_data
def test_the_real_pairs(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "hh_pairs" / "pairs.jsonl.gz"
    dataset, rows = registry.read(path), raw_rows(path)
    kept = list(dataset)
    assert dataset.reader == "hh_pairs" and len(kept) == len(rows) == 3455
    counts = Counter(record.comparisons[0].objective for record in kept)
    assert counts == {"helpful": 1741, "harmless": 1714}
    for record, row in zip(kept, rows, strict=True):
        assert [reply.text for reply in record.responses] == [row["chosen"], row["rejected"]]
        assert [turn.role for turn in record.messages[-1:]] == ["user"]
        (single,) = explode(power_set(record, dataset.objectives)[0])
        assert single.responses == (row["chosen"], row["rejected"])
        assert str(single.conditions[0]) == f"{row['objective']}=1"
    jsonl.write(tmp_path / "ours.jsonl.gz", kept[::5], dataset.objectives, dataset.licence, dataset.source)
    assert list(registry.read(tmp_path / "ours.jsonl.gz")) == kept[::5]


@pytest.mark.real_data
def test_the_real_critiques(real_data: Path) -> None:
    path = real_data / "critiques" / "critiques.jsonl.gz"
    dataset, rows = registry.read(path), raw_rows(path)
    assert dataset.reader == "critiques" and dataset.count().kept == len(rows) == 993
    for record, row in zip(dataset, rows, strict=True):
        assert dict(record.responses[0].scores) == row["ratings"]
        assert [comment.text for comment in record.responses[0].comments] == row["feedback"]
    assert 0.3 < halo(dataset, dataset.objectives).mean < 1
