"""Pools on the disk: whatever interrupts the scorer, nothing is drawn twice, asked twice or lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import tiny
from pluralign.data.condition import Weights, one_hot
from pluralign.data.objective import Objective
from pluralign.data.record import Message, Record, Response, user
from pluralign.errors import DataError
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding
from pluralign.sampling.pool import rollout, scored, without_replies
from pluralign.steering.plural import PluralSteering

PROMPTS = [
    Record(user(text), id=str(i)) for i, text in enumerate(("tell me a joke", "now", "a very short joke", "please"))
]
ASKED = [one_hot("kind"), None, Weights({"kind": 0.5, "brief": 0.5}), one_hot("funny")]
SHORT = Decoding(max_new_tokens=6)


class WordCount:
    """Scores "brief" by rule and remembers the prompts that it was asked about; fails at the record `fail_at`, once."""

    objectives = (Objective("brief"), Objective("words", high=100))

    def __init__(self, fail_at: int = -1, skip: str = "") -> None:
        self.fail_at, self.skip = fail_at, skip
        self.seen: list[str] = []

    def score(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            if len(self.seen) == self.fail_at:
                self.fail_at = -1
                raise ConnectionError("the judge is away")
            self.seen.append(record.id)
            if record.id == self.skip:
                continue
            replies = (dataclasses.replace(r, scores={"words": float(len(r.text.split()))}) for r in record.responses)
            yield dataclasses.replace(record, responses=tuple(replies))


@pytest.fixture(scope="module")
def policy() -> Policy:
    return tiny.policy(PluralSteering(where="attention", rank=2), shaken=0.2)


def draw(policy: Policy, folder: Path, scorer: WordCount | None, seed: int = 5) -> list[Record]:
    return rollout(folder, policy, PROMPTS, ASKED, scorer, num_each=2, seed=seed, decoding=SHORT)


def test_replies_carry_their_condition_and_scores_and_depend_on_the_seed_alone(tmp_path: Path, policy: Policy) -> None:
    records = draw(policy, tmp_path / "one", WordCount())
    assert [record.id for record in records] == ["0", "1", "2", "3"]
    assert [{reply.condition for reply in record.responses} for record in records] == [{asked} for asked in ASKED]
    assert all(reply.scores == {"words": len(reply.text.split())} for r in records for reply in r.responses)
    assert draw(policy, tmp_path / "two", WordCount()) == records
    assert draw(policy, tmp_path / "three", WordCount(), seed=6) != records


@pytest.mark.parametrize("fail_at", [0, 1, 3])
def test_a_scorer_that_fails_midway_loses_nothing(tmp_path: Path, policy: Policy, fail_at: int) -> None:
    whole = draw(policy, tmp_path / "whole", WordCount())
    scorer = WordCount(fail_at)
    with pytest.raises(ConnectionError):
        draw(policy, tmp_path / "cut", scorer)
    before = (tmp_path / "cut" / "sampled.jsonl").stat().st_mtime_ns
    tiny.shake(policy, 0.3)  # what is drawn already does not depend on the policy any more
    again = draw(policy, tmp_path / "cut", scorer)
    tiny.shake(policy, -0.3)
    assert again == whole
    assert scorer.seen == ["0", "1", "2", "3"]  # nobody was asked twice
    assert (tmp_path / "cut" / "sampled.jsonl").stat().st_mtime_ns == before
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == ["sampled.jsonl", "scored.jsonl"]


@pytest.mark.parametrize("kept", [0, 1, 25, -1])
def test_a_line_that_a_kill_cut_in_half_is_asked_again(tmp_path: Path, policy: Policy, kept: int) -> None:
    """`kept`: bytes of the third line that reached the disk (-1: all but its end of line)."""
    whole = draw(policy, tmp_path / "whole", WordCount())
    with pytest.raises(ConnectionError):
        draw(policy, tmp_path / "cut", WordCount(fail_at=3))
    part = tmp_path / "cut" / "scored.part"
    lines = part.read_bytes().splitlines(keepends=True)
    part.write_bytes(lines[0] + lines[1] + lines[2][: kept if kept >= 0 else len(lines[2]) - 1])
    scorer = WordCount()
    assert draw(policy, tmp_path / "cut", scorer) == whole
    assert scorer.seen == ["2", "3"]


def test_a_finished_pool_is_only_read(tmp_path: Path, policy: Policy) -> None:
    records = draw(policy, tmp_path, WordCount())
    scorer = WordCount(fail_at=0)
    assert draw(policy, tmp_path, scorer) == records
    assert scorer.seen == []


@pytest.mark.parametrize(
    ("skip", "says"), [("2", "something else than record '2'"), ("3", "something else than record '3'")]
)
def test_a_scorer_must_give_every_record_back(tmp_path: Path, policy: Policy, skip: str, says: str) -> None:
    """One that left a record out would give the next ones its scores; what it said before that is kept."""
    scorer = WordCount(skip=skip)
    with pytest.raises(DataError, match=says):
        draw(policy, tmp_path, scorer)
    whole = draw(policy, tmp_path / "whole", WordCount())
    later = WordCount()
    assert draw(policy, tmp_path, later) == whole
    assert later.seen == (["2", "3"] if skip == "2" else ["3"])


def test_without_a_scorer_replies_stay_unscored(tmp_path: Path, policy: Policy) -> None:
    records = draw(policy, tmp_path, None)
    assert all(not reply.scores for record in records for reply in record.responses)
    assert [path.name for path in tmp_path.iterdir()] == ["sampled.jsonl"]


def test_an_absent_score_stays_absent_on_the_disk(tmp_path: Path) -> None:
    class Silent:
        objectives = (Objective("kind"),)

        def score(self, records: Iterable[Record]) -> Iterator[Record]:
            for record in records:
                said = [{"kind": 0.0}, {}, {"kind": None}]
                replies = [dataclasses.replace(r, scores=s) for r, s in zip(record.responses, said, strict=True)]
                yield dataclasses.replace(record, responses=tuple(replies))

    record = Record(user("a joke"), tuple(Response(text) for text in ("good", "nice", "short")))
    (found,) = scored(tmp_path / "scored.jsonl", [record], Silent(), tiny.OBJECTIVES)
    assert [dict(reply.scores) for reply in found.responses] == [{"kind": 0.0}, {}, {"kind": None}]


def test_prompts_once_each_in_their_order_without_replies() -> None:
    asked = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    records = [
        Record(user("one"), (Response("x"),), id="1"),
        Record(asked, (Response("y"),), id="2"),
        Record(user("one"), (Response("z"),), id="3"),
    ]
    assert without_replies(records) == [Record(user("one"), id="1"), Record(asked, id="2")]
