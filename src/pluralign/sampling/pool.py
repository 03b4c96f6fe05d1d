"""Pools on the disk: replies that were drawn once and scored once, whatever interrupts the drawing or the scoring."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pluralign.data import jsonl, lines, record_json
from pluralign.data.condition import Condition
from pluralign.data.objective import Objective
from pluralign.data.record import Message, Record
from pluralign.errors import DataError
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding, as_response, complete
from pluralign.storage import storage_errors
from pluralign.training.progress import Progress

if TYPE_CHECKING:
    from pluralign.scorers.contract import Scorer


def rollout(
    folder: Path,
    policy: Policy,
    prompts: Sequence[Record],
    conditions: Sequence[Condition | None],
    scorer: Scorer | None,
    num_each: int = 1,
    seed: int = 0,
    decoding: Decoding | None = None,
) -> list[Record]:
    """`num_each` replies of the policy to each prompt under its condition, scored; one record per prompt.

    `folder` keeps sampled.jsonl and scored.jsonl, so that a run which goes on draws nothing twice and asks the scorer
    nothing twice. Replies that the prompts' records had are left out.
    """

    def draw() -> list[Record]:
        replies = complete(policy, prompts, conditions, num_each, seed, decoding)
        return [
            Record(record.messages, tuple(as_response(reply, condition) for reply in drawn), id=record.id)
            for record, condition, drawn in zip(prompts, conditions, replies, strict=True)
        ]

    sampled = kept(folder / "sampled.jsonl", draw, policy.objectives)
    return sampled if scorer is None else scored(folder / "scored.jsonl", sampled, scorer, policy.objectives)


def kept(path: Path, make: Callable[[], list[Record]], objectives: Sequence[Objective]) -> list[Record]:
    """The records of the file, which is made where there is none."""
    if not path.exists():
        jsonl.write(path, make(), objectives)
    return list(jsonl.read(path))


def scored(path: Path, records: Sequence[Record], scorer: Scorer, objectives: Sequence[Objective]) -> list[Record]:
    """The records with the scorer's feedback, kept in the file; what a failed or killed scoring has done is not repeated."""
    if path.exists():
        return list(jsonl.read(path))
    part = path.with_suffix(".part")
    done = _whole_lines(part)
    with storage_errors(part):
        file = part.open("ab")
    rest = records[len(done) :]
    with file, Progress("scoring", len(records), len(done)) as bar:
        for asked, given in zip_longest(rest, scorer.score(rest)):  # its errors are its own, and no full disk
            done.append(_checked(asked, given))
            _append(file, part, done[-1])
            bar.advance()
    jsonl.write(path, done, every_objective(objectives, scorer))
    part.unlink()
    return list(jsonl.read(path))


def _checked(asked: Record | None, given: Record | None) -> Record:
    """What the scorer gave back; DataError unless it is about what it was asked."""
    if asked is None or given is None or _texts(asked) != _texts(given):
        what = "more records than it was given" if asked is None else f"something else than record {asked.id!r}"
        raise DataError(
            f"the scorer gave back {what}; it must yield every record, in order, also those that it cannot score"
        )
    return given


def _texts(record: Record) -> tuple[object, ...]:
    return record.messages, [reply.text for reply in record.responses]


def _append(file: BinaryIO, path: Path, record: Record) -> None:
    """A line that a kill of this process does not lose."""
    with storage_errors(path):
        file.write(lines.dump(record_json.to_json(record)))
        file.flush()


def every_objective(objectives: Sequence[Objective], scorer: Scorer) -> tuple[Objective, ...]:
    """The objectives and what a scorer fills besides."""
    known = {objective.name for objective in objectives}
    return (*objectives, *(objective for objective in scorer.objectives if objective.name not in known))


def without_replies(records: Sequence[Record]) -> list[Record]:
    """Each prompt once, without its replies."""
    found: dict[tuple[Message, ...], Record] = {}
    for record in records:
        found.setdefault(record.messages, record)
    return [dataclasses.replace(r, responses=(), comparisons=(), rankings=()) for r in found.values()]


def _whole_lines(part: Path) -> list[Record]:
    """What an earlier process scored; a line that it did not finish is cut off."""
    if not part.exists():
        part.parent.mkdir(parents=True, exist_ok=True)
        return []
    content = part.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        with part.open("r+b") as file:
            file.truncate(end)
    return [record_json.from_json(json.loads(line)) for line in content[:end].splitlines()]
