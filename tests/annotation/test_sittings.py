"""Whole sittings on real files and a real pseudo-terminal: resumed, by several people, beside what was there before."""

from __future__ import annotations

import io
import os
import pty
import resource
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from pluralign.annotation.ask import Sitting, Wishes, ask
from pluralign.annotation.desk import Desk, Replies, folder_of
from pluralign.annotation.events import Rated
from pluralign.annotation.journal import Header, Journal, path_of, read
from pluralign.annotation.screen import Screen
from pluralign.data import jsonl
from pluralign.data.dataset import Dataset
from pluralign.data.objective import Objective
from pluralign.data.readers import registry
from pluralign.data.record import Comparison, Rater, Rating, Record, Response, user
from pluralign.data_api import forget
from pluralign.errors import ConfigError, DataError, PluralignError, StorageError

KIND = Objective("kind", low=1, high=5)
BEFORE = Rating({"kind": 2.0}, Rater("bob"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three records of two replies; bob rated the first."""
    records = [
        Record(user(f"Q{num}"), (Response("x", ratings=(BEFORE,) if num == 0 else ()), Response("y")), id=str(num))
        for num in range(3)
    ]
    jsonl.write(tmp_path / "source.jsonl", records, (KIND,), "CC0-1.0", "made up")
    return tmp_path / "source.jsonl"


def sit(source: Path, keys: str, out: str = "mine.jsonl", replies: Replies | None = None, **wishes: object) -> Sitting:
    """One sitting whose keys come through a pipe."""
    given, keyboard = os.pipe()
    os.write(keyboard, keys.encode())
    os.close(keyboard)
    screen = Screen(Console(file=io.StringIO(), width=60))
    try:
        return ask(
            source.parent / out,
            str(source),
            lambda: registry.read(source),
            Wishes(**wishes),
            replies,
            given,
            screen,  # type: ignore[arg-type]
        )
    finally:
        os.close(given)


def result(source: Path, out: str = "mine.jsonl") -> list[Record]:
    return list(jsonl.read(source.parent / out))


def test_ratings_are_added_and_nothing_is_lost(source: Path) -> None:
    done = sit(source, "54", mode="rate", group="cooks")
    me = Rater("me", "cooks")
    first, *rest = result(source)
    assert first.responses[0].ratings == (BEFORE, Rating({"kind": 5.0}, me))
    assert first.responses[1].ratings == (Rating({"kind": 4.0}, me),)
    assert rest == list(jsonl.read(source))[1:]
    assert (done.answered, done.questions, done.annotators, done.unasked) == (2, 6, 1, 0)
    header = jsonl.read_header(source.parent / "mine.jsonl")
    assert (header.objectives, header.licence, header.source) == ((KIND,), "CC0-1.0", "made up")


def test_stopping_anywhere_gives_the_same_file(source: Path) -> None:
    keys = "5c fine\n4k3u12"
    sit(source, keys, "whole.jsonl", mode="rate")
    for cut in (1, 7, 8, 9, 10, 11):  # at 7 the comment lacks its Enter, which the end of the keys stands for
        out = f"cut{cut}.jsonl"
        sit(source, keys[:cut], out, mode="rate")
        sit(source, keys[cut:], out)  # the settings are those of the first sitting
        assert (source.parent / out).read_bytes() == (source.parent / "whole.jsonl").read_bytes()


def test_an_answer_of_yesterday_is_taken_back(source: Path) -> None:
    sit(source, "ab", mode="compare")
    sit(source, "uu=")
    assert [[said.outcome for said in record.comparisons] for record in result(source)] == [["tie"], [], []]


def test_several_people_in_one_file(source: Path) -> None:
    sit(source, "===", annotator="ann", mode="compare")
    done = sit(source, "35", annotator="../cät", mode="rate", objectives="brief:0-9")
    first = result(source)[0]
    assert done.annotators == 2
    assert first.comparisons == (Comparison(0, 1, "tie", "kind", None, Rater("ann")),)
    assert [rating.rater.id for reply in first.responses for rating in reply.ratings if rating.rater] == ["bob", "../cät", "../cät"]  # fmt: skip
    assert [o.name for o in jsonl.read_header(source.parent / "mine.jsonl").objectives] == ["kind", "brief"]
    assert {path.parent for path in source.parent.rglob("*.journal.jsonl")} == {folder_of(source.parent / "mine.jsonl")}
    with pytest.raises(ConfigError, match="another range"):
        sit(source, "1", annotator="eve", mode="rate", objectives="brief:1-2")


def test_the_place_on_the_screen_is_turned_back(source: Path) -> None:
    """Whoever always presses a chooses what stood in the first place on the screen; the record says which reply it was."""
    outcomes = {}
    for seed in range(4):
        sit(source, "aaa", f"{seed}.jsonl", mode="compare", seed=seed)
        events = read(path_of(folder_of(source.parent / f"{seed}.jsonl"), "me"))[1]
        found = [record.comparisons[0].outcome for record in result(source, f"{seed}.jsonl")]
        assert found == ["second" if event.swapped else "first" for event in events]  # type: ignore[union-attr]
        outcomes[seed] = tuple(found)
    assert len(set(outcomes.values())) > 1


@pytest.mark.parametrize("changed", [{"mode": "rate"}, {"seed": 3}, {"group": "cooks"}, {"objectives": "new"}])
def test_settings_cannot_change_half_way(source: Path, changed: dict[str, object]) -> None:
    sit(source, "a", mode="compare")
    with pytest.raises(ConfigError, match=f"began .* with another {next(iter(changed))}"):
        sit(source, "a", **changed)
    assert sit(source, "a", objectives="kind", seed=0, mode="compare").answered == 2


def test_the_source_may_not_change_but_its_feedback_may(source: Path) -> None:
    sit(source, "a")
    forget(source, "bob")
    assert sit(source, "a").answered == 2
    assert result(source)[0].responses[0].ratings == (BEFORE,)  # the copy is that of the beginning
    jsonl.write(source, [Record(user("another"), (Response("x"), Response("y")))], (KIND,))
    with pytest.raises(DataError, match="has other prompts or replies"):
        sit(source, "a")


def test_files_of_others_are_never_overwritten(source: Path) -> None:
    out = source.parent / "mine.jsonl"
    out.write_text("mine")
    with pytest.raises(StorageError, match="exists already"):
        sit(source, "a")
    out.unlink()
    sit(source, "a")
    out.write_text(out.read_text() + "\n")
    with pytest.raises(StorageError, match="changed by something else"):
        sit(source, "a")
    out.unlink()
    assert sit(source, "").answered == 1  # made again from the journal


def test_forgetting_takes_the_journal_too(source: Path) -> None:
    sit(source, "===", annotator="zoe", mode="compare")
    sit(source, "==", annotator="eve", mode="compare")
    found = forget(source.parent / "mine.jsonl", "zoe")
    assert (found.removed, found.touched) == ({"comparisons": 3}, 3)
    assert sit(source, "=", annotator="eve").annotators == 1
    assert "zoe" not in "".join(
        path.read_text() for path in source.parent.rglob("*") if path.is_file() and path != source
    )
    forget(source.parent / "mine.jsonl", "bob")
    sit(source, "", annotator="eve")
    assert result(source)[0].responses[0].ratings == ()


def test_prompts_without_replies_are_filled_once(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("one\ntwo\n")
    with pytest.raises(ConfigError, match="--policy MODEL"):
        sit(prompts, "", "none.jsonl")
    calls = []

    def fill(records: object) -> object:
        calls.append(1)
        for record in records:  # type: ignore[attr-defined]
            yield Record(record.messages, (Response("x"), Response("y")))

    drawn = Replies("model, seed 0", fill)  # type: ignore[arg-type]
    sit(prompts, "=", replies=drawn)
    assert sit(prompts, "=", replies=drawn).answered == 2
    assert (len(calls), [len(record.responses) for record in result(prompts)]) == (1, [2, 2])
    with pytest.raises(ConfigError, match="drawn from model, seed 0, not other"):
        sit(prompts, "=", replies=Replies("other", fill))  # type: ignore[arg-type]


def test_a_line_that_a_crash_cut_off_is_dropped(source: Path) -> None:
    sit(source, "54", mode="rate")
    path = path_of(folder_of(source.parent / "mine.jsonl"), "me")
    with path.open("ab") as file:
        file.write(b'{"event": "rated", "question": 2, "sco')
    assert sit(source, "3").answered == 3
    assert path.read_bytes().count(b"\n") == 4


@pytest.mark.parametrize(
    "row", ['{"event": "rated"}', '{"event": "x"}', "[]", '{"event": "rated", "question": 5, "score": 1}']
)
def test_a_damaged_journal_is_named(source: Path, row: str) -> None:
    sit(source, "5", mode="rate")
    path = path_of(folder_of(source.parent / "mine.jsonl"), "me")
    with path.open("a") as file:
        file.write(row + "\n")
    with pytest.raises(PluralignError, match=r"journal\.jsonl:3|answers question 5"):
        sit(source, "5")


def test_one_terminal_at_a_time_for_each_person(source: Path) -> None:
    sit(source, "5", mode="rate")
    path = path_of(folder_of(source.parent / "mine.jsonl"), "me")
    with Journal(path, Header("me", None, "rate", (KIND,), 0)):
        with pytest.raises(StorageError, match="another terminal"):
            sit(source, "5")
        with pytest.raises(StorageError, match="another terminal"):
            forget(source.parent / "mine.jsonl", "me")
        assert sit(source, "5", annotator="ann", mode="rate").annotators == 2


def test_a_full_disk_loses_no_answer_that_was_taken(source: Path) -> None:
    """The file may grow by five bytes only: half of the line is written, and taken away again."""
    path = source.parent / "me.journal.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(path, Header("me", None, "rate", (KIND,), 0)) as book:
        before = path.read_bytes()
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5, limits[1]))
        try:
            with pytest.raises(StorageError, match="too large"):
                book.append(Rated(0, 1.0))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.read_bytes() == before
        book.append(Rated(0, 2.0))
    assert read(path)[1] == [Rated(0, 2.0)]


def test_records_are_found_in_a_copy_of_any_size(source: Path) -> None:
    sit(source, "a")
    desk = Desk(source.parent / "mine.jsonl")
    assert [desk.record(number).id for number in (2, 0, 1)] == ["2", "0", "1"]
    assert list(desk.replies) == [2, 2, 2]
    desk.close()


def test_a_real_terminal_is_read_key_by_key_and_put_back(source: Path) -> None:
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    os.write(ours, b"5\x1b[A4\x1b[200~11\x1b[201~c\x1b[200~one\rtwo\x1b[201~\rq")  # typed ahead: an arrow, two pastes
    reading: Callable[[], Dataset] = lambda: registry.read(source)  # noqa: E731
    screen = Screen(Console(file=io.StringIO(), width=60))
    done = ask(source.parent / "mine.jsonl", str(source), reading, Wishes(mode="rate"), None, theirs, screen)
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)
    assert (done.answered, done.comments) == (2, 1)
    assert [comment.text for comment in result(source)[1].responses[0].comments] == ["one\ntwo"]


def test_answers_that_training_will_not_use_are_counted(tmp_path: Path) -> None:
    """The source scores `kind` of both replies of the first record and of one of the second; `brief` nowhere."""
    scored = [({"kind": 1.0}, {"kind": 2.0}), ({"kind": 1.0}, {}), ({}, {})]
    records = [
        Record(user(f"Q{num}"), (Response("x", one), Response("y", two)), id=str(num))
        for num, (one, two) in enumerate(scored)
    ]
    source = tmp_path / "source.jsonl"
    jsonl.write(source, records, (KIND,))
    rated = sit(source, "55" * 6, "rated.jsonl", mode="rate", objectives="kind,brief:1-5")
    assert (rated.answered, rated.unused) == (12, {"kind": 3})
    compared = sit(source, "ab" * 3, "compared.jsonl", mode="compare", objectives="kind,brief")
    assert (compared.answered, compared.unused) == (6, {"kind": 1})
    assert sit(source, "555", "few.jsonl", mode="rate", objectives="brief:1-5").unused == {}
