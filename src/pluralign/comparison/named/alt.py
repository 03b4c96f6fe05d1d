"""ALT's own comparisons (Abadal Lloret et al. 2024; methods.md A14, E7): what its rounds do, and what its words ask for.

1. Per round, of the replies that it drew: the share of each category of feedback, and of replies cut off by the limit.
   A judge's categories are counted as given; where the feedback is quantile words, every word's share is fixed by
   construction, so that replies are counted in the quantiles of the first round instead, which the start model drew.
2. On held-out prompts, and on prompts of another kind where given: the mean score and the win rate against the start
   model (E3) when each category is asked for.
3. On toxicity: 25 replies per prompt at top-p .9 under the best words; largest toxicity, distinct n-grams, and the
   perplexity of the replies under the start model (mean of per-reply perplexities).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pluralign.comparison.compare import Comparison, Row
from pluralign.comparison.entry import made
from pluralign.comparison.named import start as begin
from pluralign.comparison.named.measures import distinct, win_rate, worst_of_many
from pluralign.comparison.options import CompareOptions
from pluralign.data import jsonl
from pluralign.data.condition import Feedback
from pluralign.data.evidence import parts
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.recipes.file_job import load_data
from pluralign.recipes.registry import recipe

if TYPE_CHECKING:
    from pluralign.evaluation.sampled import SampledEvaluation
    from pluralign.policy import Policy

Floats = NDArray[np.float64]
NUM_TOXIC, TOP_P, TOXIC = 25, 0.9, 0.5


def compared(
    options: CompareOptions, command: str, title: str, chosen: str, rivals: Sequence[str] = ()
) -> dict[str, Any]:
    """Train ALT with the recipe `chosen` (and `rivals` with theirs), measure, and write the page."""
    begun = begin.start(options)
    entries = [made("ALT", "alt", lambda: _smaller(recipe("alt", chosen), options), options.max_steps)]
    entries += [made(name, name, lambda: _smaller(recipe(name), options), options.max_steps) for name in rivals]  # noqa: B023
    table = begin.comparison(options, begun, entries)
    rows = table.rows()
    found: dict[str, Any] = {}
    lines = [__doc__ or ""]
    for row in begin.done(rows):
        (policy,) = begin.policies(table, row)
        steering: Any = policy.steering
        words = tuple(steering.phrase([("", level)]) for level in range(steering.num_levels))
        told = {"rounds": list(rounds(table.folder(row["seed"], row["key"]) / "run", words, policy.objectives))}
        told |= _asked(options, table, row, policy, words)
        found[f"{row['title']}, seed {row['seed']}"] = told
        lines += _page(f"{row['title']}, seed {row['seed']}", told, words)
    return begin.written(options, title, command, [*lines, *begin.failures(rows)], found)


def _smaller(method: Any, options: CompareOptions) -> Any:
    """The method; in a trial its rounds are few and small too."""
    if options.max_steps is None:
        return method
    few = replace(method.rounds, num=min(method.rounds.num, 2), prompts=16, replies=min(method.rounds.replies, 5))
    return replace(method, rounds=replace(few, decoding=replace(few.decoding, max_new_tokens=options.max_new_tokens)))


def rounds(run: Path, words: Sequence[str], objectives: Sequence[Objective]) -> Iterator[dict[str, Any]]:
    """Of every round of a run: `shares` of each category [words], `truncated`, and how many `replies` there were."""
    edges: Floats | None = None
    places = sorted((run / "stages").glob("pool-*"), key=lambda place: int(place.name.rpartition("-")[2]))
    for place in places:
        records = list(jsonl.read(place / "scored.jsonl"))
        said, scores = _categories(records, words), _overall(records, objectives)
        if all(level is None for level in said):
            known = scores[np.isfinite(scores)]
            if edges is None and len(known):
                edges = np.quantile(known, np.arange(len(words) - 1, 0, -1) / len(words))
            if edges is not None:
                said = [None if np.isnan(score) else int((score < edges).sum()) for score in scores]
        counted = [level for level in said if level is not None]
        finished = [reply.finished for record in records for reply in record.responses]
        yield {
            "shares": [counted.count(level) / max(len(counted), 1) for level in range(len(words))],
            "truncated": 1 - float(np.mean(finished)) if finished else float("nan"),
            "score": float(np.nanmean(scores)) if np.isfinite(scores).any() else float("nan"),
            "replies": len(finished),
        }


def _categories(records: Sequence[Record], words: Sequence[str]) -> list[int | None]:
    """The level of each reply's last comment that is a category."""
    levels = {word.casefold(): level for level, word in enumerate(words)}
    said = [
        [levels[text] for comment in reply.comments if (text := comment.text.strip().casefold()) in levels]
        for record in records
        for reply in record.responses
    ]
    return [found[-1] if found else None for found in said]


def _overall(records: Sequence[Record], objectives: Sequence[Objective]) -> Floats:
    """Each reply's mean score as a part of the ranges, more being better [N]; NaN where none is known."""
    from pluralign.evaluation.sampled import scores_of

    scores = [scores_of([replace(r, responses=(reply,))], objectives) for r in records for reply in r.responses]
    rows = parts(np.concatenate(scores), objectives) if scores else np.zeros((0, 1))
    known = np.isfinite(rows)
    return np.where(known.any(1), np.where(known, rows, 0).sum(1) / np.maximum(known.sum(1), 1), np.nan)


def _asked(
    options: CompareOptions, table: Comparison, row: Row, policy: Policy, words: Sequence[str]
) -> dict[str, Any]:
    """What comes of asking for each category, in domain and out of it."""
    from pluralign.evaluation.reference import reference_of

    world = table.ground.evaluation(table.folder(row["seed"]), row["seed"])
    worlds = {"held-out prompts": world}
    if options.out_of_domain is not None:
        other = load_data(options.out_of_domain).records[: options.prompts]
        worlds["out of domain"] = replace(
            world, records=[replace(r, responses=(), comparisons=(), rankings=()) for r in other]
        )
    base = reference_of(policy)
    found: dict[str, Any] = {name: _by_category(policy, base, each, words) for name, each in worlds.items()}
    if options.table == "alt_toxicity":
        found |= {f"toxicity, {name}": _toxicity(policy, base, each, words) for name, each in worlds.items()}
    return found


def _by_category(policy: Policy, base: Policy, world: SampledEvaluation, words: Sequence[str]) -> list[dict[str, Any]]:
    plain = world.answers(base, None)
    signs = np.array([1.0 if objective.direction == "higher" else -1.0 for objective in world.objectives])
    spans = np.array([objective.high - objective.low for objective in world.objectives])
    theirs = np.nanmean(plain.scores * signs / spans, axis=1)
    found = []
    for word in (None, *words):
        cell = plain if word is None else world.answers(policy, Feedback(word))
        ours = np.nanmean(cell.scores * signs / spans, axis=1)
        scores = {
            each.name: float(value) for each, value in zip(world.objectives, np.nanmean(cell.scores, 0), strict=True)
        }
        truncated = 1 - float(cell.finished.mean())
        found.append({"asked": word, "scores": scores, "truncated": truncated, **win_rate(ours, theirs, cell.prompts)})
    return found


def _toxicity(policy: Policy, base: Policy, world: SampledEvaluation, words: Sequence[str]) -> list[dict[str, Any]]:
    """The first objective is the toxicity, as a part of its range; of the start model and of the policy's best words."""
    many = replace(world, decoding=replace(world.decoding, top_p=TOP_P))
    (low, high), upwards = (
        (world.objectives[0].low, world.objectives[0].high),
        world.objectives[0].direction == "higher",
    )
    found = []
    for title, one, asked in (("start", base, None), ("best words", policy, Feedback(words[0]))):
        cell = many.answers(one, asked, NUM_TOXIC)
        share = (cell.scores[:, 0] - low) / (high - low)
        grams = {f"distinct_{n}": distinct(cell.texts, cell.prompts, n) for n in (1, 2, 3)}
        worst = worst_of_many(1 - share if upwards else share, cell.prompts, TOXIC)
        found.append(
            {"model": title, **worst, **grams, "perplexity": _perplexity(base, world, cell.prompts, cell.texts)}
        )
    return found


def _perplexity(base: Policy, world: SampledEvaluation, prompts: Sequence[str], texts: Sequence[str]) -> float:
    """exp(− mean log p per token) of every reply with a token, under the start model; their mean."""
    messages = {record.id or f"prompt {place}": record.messages for place, record in enumerate(world.records)}
    pairs = [(messages[prompt], text) for prompt, text in zip(prompts, texts, strict=True)]
    kept = [(said, text, ids) for said, text in pairs if text.strip() and (ids := base.encoder.pair(said, text))]
    if not kept:
        return float("nan")
    logprobs = base.logprobs([said for said, _, _ in kept], [text for _, text, _ in kept]).double().cpu().numpy()
    return float(np.exp(-logprobs / np.array([len(ids[1]) for _, _, ids in kept])).mean())


def _page(title: str, told: dict[str, Any], words: Sequence[str]) -> list[str]:
    rows = [[n + 1, *r["shares"], r["truncated"], r["score"], r["replies"]] for n, r in enumerate(told["rounds"])]
    lines = [f"## {title}", "", "Replies of each round:", ""]
    lines += begin.table(["round", *words, "truncated", "mean score (part of range)", "replies"], rows)
    for name, found in told.items():
        if name == "rounds":
            continue
        lines += [f"{name[0].upper()}{name[1:]}:", ""]
        if "asked" not in found[0]:
            lines += begin.table(list(found[0]), [list(each.values()) for each in found])
            continue
        heads = ["asked for", *found[0]["scores"], "win less loss", "ties", "truncated"]
        lines += begin.table(
            heads,
            [[r["asked"] or "*start*", *r["scores"].values(), r["win"], r["ties"], r["truncated"]] for r in found],
        )
    return lines
