"""Pools on the disk: replies that were drawn once and scored once, whatever interrupts the drawing or the scoring."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pluralign.data import jsonl, lines, record_json
from pluralign.data.condition import Condition
from pluralign.data.objective import Objective
from pluralign.data.record import Record
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
    with storage_errors(part), part.open("ab") as file, Progress("scoring", len(records), len(done)) as bar:
        for record in scorer.score(records[len(done) :]):
            file.write(lines.dump(record_json.to_json(record)))
            file.flush()
            done.append(record)
            bar.advance()
        os.fsync(file.fileno())
    jsonl.write(path, done, every_objective(objectives, scorer))
    part.unlink()
    return list(jsonl.read(path))


def every_objective(objectives: Sequence[Objective], scorer: Scorer) -> tuple[Objective, ...]:
    """The objectives and what a scorer fills besides."""
    known = {objective.name for objective in objectives}
    return (*objectives, *(objective for objective in scorer.objectives if objective.name not in known))


def without_replies(records: Sequence[Record]) -> list[Record]:
    """Each prompt once, without its replies."""
    found = {record.messages: record for record in reversed(records)}
    return [dataclasses.replace(r, responses=(), comparisons=(), rankings=()) for r in reversed(found.values())]


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
