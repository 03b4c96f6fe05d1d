"""The record file: header, streaming, skipping, damage."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from data_strategies import OBJECTIVES, records, scored
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.data import jsonl
from pluralign.data.dataset import Tally
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Rating, Record, Response, user
from pluralign.errors import ConfigError, DataError, FormatVersionError, StorageError

ROW = b'{"messages": [{"role": "user", "content": "q"}]}\n'
HEADER = b'{"pluralign": "records", "format_version": 1, "objectives": [{"name": "helpful", "high": 4}]}\n'
SCORED = b'{"messages": [{"role": "user", "content": "q"}], "responses": [{"text": "a", "scores": {"helpful": %s}}]}\n'


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
def test_write_then_read(tmp_path: Path, name: str) -> None:
    given_records = [scored((4, 0, None), (1, 2, 3)), Record(user("سلام 😀\u2028\r\n\x00"), (Response(""),))]
    path = tmp_path / name
    assert jsonl.write(path, iter(given_records), OBJECTIVES, "MIT", "a test") == 2
    assert list(jsonl.read(path)) == given_records
    assert jsonl.read_header(path) == jsonl.Header(OBJECTIVES, "MIT", "a test", 2)
    before = path.read_bytes()
    jsonl.write(path, jsonl.read(path), OBJECTIVES, "MIT", "a test")  # over the file that is being read
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [name]


@given(st.lists(records(), max_size=3))
@settings(max_examples=15)
def test_files_round_trip(tmp_path_factory: pytest.TempPathFactory, given_records: list[Record]) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.jsonl"
    jsonl.write(path, given_records, OBJECTIVES)
    dataset = jsonl.open_dataset(path)
    assert list(dataset) == given_records == list(dataset)
    assert dataset.objectives == OBJECTIVES and dataset.count().kept == len(given_records)


def test_without_a_header_the_objectives_are_inferred(tmp_path: Path) -> None:
    replies = (
        Response("a", {"b": 3.0}, ratings=(Rating({"a": -1.0}),)),
        Response("c", {"b": 5.0, "c": None}),
    )
    record = Record(user("q"), replies, (Comparison(0, 1, "tie", "d"),))
    path = tmp_path / "r.jsonl"
    jsonl.write(path, [record], [Objective(name, low=-9, high=9) for name in "abcd"])
    path.write_bytes(path.read_bytes().split(b"\n", 1)[1])
    header = jsonl.read_header(path)
    assert not header.declared
    assert [(found.name, found.low, found.high) for found in header.objectives] == [
        ("b", 3, 5), ("a", -1, 0), ("c", 0, 1), ("d", 0, 1),
    ]  # fmt: skip
    assert list(jsonl.open_dataset(path)) == [record]


def test_skipping_counts_every_row(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    bad = [b"{broken\n", b"[1]\n", SCORED % b"NaN", SCORED % b"true", SCORED % b"9", b'{"messages": []}\n']
    path.write_bytes(HEADER + ROW + b"\n" + b"".join(bad) + SCORED % b"0")
    tally = Tally()
    assert len(list(jsonl.read(path, "skip", tally))) == 2
    assert (tally.read, tally.kept, tally.rejected) == (8, 2, 6) and tally.reasons.total() == 6
    assert tally.examples[0].startswith(f"{path}:4: not valid JSON") and len(tally.examples) == 5
    assert str(tally).startswith("8 rows: 2 kept, 6 rejected\n  1 x ")
    with pytest.raises(DataError, match=r"r\.jsonl:4: not valid JSON") as caught:
        list(jsonl.read(path))
    assert (caught.value.path, caught.value.line) == (path, 4)
    with pytest.raises(ConfigError, match="'raise' or 'skip'"):
        jsonl.read(path, "ignore")  # type: ignore[arg-type]


def test_reasons_stay_few(tmp_path: Path) -> None:
    tally = Tally()
    for num in range(1000):
        tally.reject(DataError(f"unknown key '{num}' in {num}" if num % 2 else "x" * (num % 100 + 1)))
    assert tally.rejected == tally.reasons.total() == 1000 and len(tally.reasons) <= 51
    assert tally.reasons["unknown key … in …"] == 500


DAMAGED: list[tuple[bytes, str]] = [
    (b"", "is empty"),
    (b"\n \n", "is empty"),
    (ROW + b'{"messages": [{"role": "user", "content": "\xff"}]}', ":2: not UTF-8"),
    (ROW.decode().encode("utf-16"), "is UTF-16 text; convert it"),
    (ROW + b"\xef\xbb\xbf" + ROW, ":2: not valid JSON"),
    (ROW[:-9], ":1: not valid JSON"),
    (ROW + b'"text"', ":2: expected a JSON object, got str"),
    (rb'{"messages": [{"role": "user", "content": "\ud83d"}]}', ":1: a text holds half a character"),
    (b'{"messages": [], "messages": []}', ":1: the key 'messages' occurs twice"),
    (SCORED % b"Infinity", ":1: Infinity is not JSON"),
    (SCORED % b"1e999", ":1: the number 1e999 is too large"),
    (SCORED % (b"9" * 5000), ":1: "),
    (b'{"messages": ' + b"[" * 100_000, ":1: not usable JSON: nested too deeply"),
    (HEADER.replace(b"1,", b"true,", 1) + ROW, "no valid format_version"),
    (HEADER.replace(b"records", b"policy"), "file of kind 'policy'"),
    (HEADER.replace(b'"objectives"', b'"axes"'), "unknown header keys axes"),
    (HEADER.replace(b"helpful", b"very helpful"), ":1: objective name 'very helpful' is not allowed"),
    (HEADER.replace(b"[{", b"[3, {"), ":1: an objective is an object"),
    (HEADER.replace(b", \"objectives\": [{\"name\": \"helpful\", \"high\": 4}]", b""), "objectives must be a list"),
    (HEADER + HEADER, ":2: the record: unknown key 'pluralign'"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "says"), DAMAGED, ids=range(len(DAMAGED)))
def test_damage_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=says):
        list(jsonl.open_dataset(path))


def test_newer_versions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(HEADER.replace(b"1", b"9", 1))
    with pytest.raises(FormatVersionError, match="newer than this pluralign reads"):
        jsonl.read(path)


def test_a_byte_order_mark_and_a_header_alone_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + HEADER + ROW)
    assert len(list(jsonl.read(path))) == 1
    assert jsonl.write(path, [], OBJECTIVES) == 0
    assert list(jsonl.read(path)) == []


def test_a_cut_gzip_stream_is_one_rejected_row_and_the_rows_before_it_stay(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    jsonl.write(path, (scored((num % 5, 0, 0)) for num in range(5000)), OBJECTIVES)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-4], whole[:-8] + bytes(4) + whole[-4:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"r.jsonl.gz:\d+: the compressed stream is damaged or cut off"):
            list(jsonl.read(path))
        tally = Tally()
        kept = list(jsonl.read(path, "skip", tally))
        assert tally.rejected == 1 and tally.read == tally.kept + 1 and len(kept) == tally.kept > 1000


def test_the_ending_may_be_wrong_and_the_file_in_several_parts(tmp_path: Path) -> None:
    for name, content in (
        ("plain.jsonl.gz", HEADER + ROW + ROW),
        ("packed.jsonl", gzip.compress(HEADER + ROW + ROW, mtime=0)),
        ("parts.jsonl.gz", gzip.compress(HEADER, mtime=0) + gzip.compress(ROW, mtime=0) + gzip.compress(ROW, mtime=0)),
        ("b.jsonl.bz2", bz2.compress(HEADER + ROW + ROW)),
        ("x.jsonl.xz", lzma.compress(HEADER + ROW + ROW)),
    ):
        (tmp_path / name).write_bytes(content)
        assert len(list(jsonl.read(tmp_path / name))) == 2
    (tmp_path / "z.jsonl.zst").write_bytes(b"\x28\xb5\x2f\xfd" + b"0" * 20)
    with pytest.raises(DataError, match="zstd -d"):
        jsonl.read(tmp_path / "z.jsonl.zst")


def test_a_line_without_end_is_refused_before_it_fills_memory(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    with gzip.open(path, "wb", 1) as file:
        for _ in range(65):
            file.write(b" " * 2**20)
    with pytest.raises(DataError, match=":1: the line is longer than 64 MiB"):
        jsonl.read(path)


def test_what_is_no_file_is_a_data_error(tmp_path: Path) -> None:
    for path, says in ((tmp_path / "missing.jsonl", "cannot be read"), (tmp_path, "a folder without data files")):
        with pytest.raises(DataError, match=says):
            jsonl.read(path)


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (scored((9, 0, 0)), "record 2 cannot be written: .*range"),
        (Record(user("\ud800")), "record 2 cannot be written: .*surrogate"),
        (Record(user("q"), extra={"x": float("nan")}), "record 2 cannot be written: extra.x must be plain JSON"),
        (Record(user("q"), extra={"x": {1}}), "plain JSON"),
        (Record(()), "messages is empty"),
    ],
)
def test_a_bad_record_leaves_the_old_file(tmp_path: Path, record: Record, says: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(ROW)
    with pytest.raises(DataError, match=says):
        jsonl.write(path, [Record(user("q")), record], OBJECTIVES)
    assert path.read_bytes() == ROW and [file.name for file in tmp_path.iterdir()] == ["r.jsonl"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_storage_error() -> None:
    with pytest.raises(StorageError, match="No space left"):
        jsonl.write("/dev/full", (Record(user("q")) for _ in range(2000)), OBJECTIVES)
    assert Path("/dev/full").is_char_device()


def test_a_file_size_limit_leaves_nothing_behind(tmp_path: Path) -> None:
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "from pluralign.data import jsonl; from pluralign.data.record import Record, user\n"
        "from pluralign.errors import StorageError\n"
        "try: jsonl.write(sys.argv[1], (Record(user('q' * 100)) for _ in range(1000)), [])\n"
        "except StorageError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "r.jsonl"], capture_output=True, text=True, check=True
    )
    assert "File too large" in done.stdout and not list(tmp_path.iterdir())


TOKENS = [b"NaN", b"1e999", b"true", b"null", b"-1", b"[]", b"{}", b'""', b"\\ud800", b"\xff", b"\n", b",", b'"', b"\0"]


def damaged(whole: bytes, rng: random.Random) -> bytes:
    content = whole
    for _ in range(rng.randint(1, 3)):
        start = rng.randint(0, len(content))
        end = min(len(content), start + rng.choice([0, 0, 1, 2, 10, 100, 10_000]))
        put = rng.choice([b"", rng.choice(TOKENS), rng.randbytes(3), content[end : end + 40]])
        content = content[:start] + put + content[end:]
    return content


@pytest.mark.parametrize(("name", "num"), [("r.jsonl", 2000), ("r.jsonl.gz", 1000)])
def test_thousands_of_damaged_files(tmp_path: Path, name: str, num: int) -> None:
    path = tmp_path / name
    rich = Record(
        user("How? 😀"),
        (Response("abc", {"helpful": 1.5, "brief": None}), Response("d", {"helpful": 0.0})),
        (Comparison(0, 1, "first", "helpful", 2.0),),
    )
    jsonl.write(path, [rich, scored((4, 0, 0)), rich], OBJECTIVES, "MIT", "a test")
    whole = path.read_bytes()
    outcomes = {"fine": 0, "refused": 0}
    for seed in range(num):
        path.write_bytes(damaged(whole, random.Random(seed)))
        tally = Tally()
        try:
            kept = list(jsonl.open_dataset(path, "skip").records(tally))
            assert tally.read == tally.kept + tally.rejected and tally.kept == len(kept)
            list(jsonl.open_dataset(path))
            outcomes["fine"] += 1
        except (DataError, FormatVersionError) as error:
            assert str(path) in str(error), seed
            outcomes["refused"] += 1
    assert min(outcomes.values()) > num / 200  # the damage is neither always fatal nor always harmless


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def rows(num: int) -> Iterator[bytes]:
        return (
            json.dumps({"messages": [{"role": "user", "content": f"question {row}"}]}).encode() for row in range(num)
        )

    def peak(num: int) -> int:
        path = tmp_path / f"{num}.jsonl.gz"
        path.write_bytes(gzip.compress(HEADER + b"\n".join(rows(num)), 1))
        tracemalloc.start()
        assert sum(1 for _ in jsonl.open_dataset(path)) == num
        peaked = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peaked

    small = peak(500)
    assert peak(10_000) < small + 200_000
