"""ALT's own comparisons (Abadal Lloret et al. 2024; methods.md A14, E7): what its rounds do, and what its words ask for.

1. Per round, of the replies that it drew: the share of each category of feedback, and of replies cut off by the limit
   (`alt_rounds.py` says how replies are counted).
2. On held-out prompts, and on prompts of another kind where given: score, win rate against the start model (E3) and the
   share of each category, when each category is asked for.
3. On toxicity: 25 replies per prompt at top-p .9 under the best words; largest toxicity, distinct n-grams, and the
   perplexity of the replies under the start model (mean of per-reply perplexities).

Dialogue and summaries start from a model fine-tuned on the data's replies; toxicity from the base as it is. Summaries are
answered greedily. Differs from the paper: the scorer judges win rates; perplexity is the start model's, not a larger one's.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pluralign.comparison.compare import Comparison, Row
from pluralign.comparison.entry import made
from pluralign.comparison.named import start as begin
from pluralign.comparison.named.alt_picture import rounds_picture
from pluralign.comparison.named.alt_rounds import Heard, Levels, mean_part, rounds
from pluralign.comparison.named.measures import distinct, win_rate, worst_of_many
from pluralign.comparison.options import CompareOptions
from pluralign.data.condition import Feedback
from pluralign.recipes.file_job import load_data
from pluralign.recipes.registry import recipe
from pluralign.storage import atomic_write

if TYPE_CHECKING:
    from pluralign.evaluation.sampled import SampledEvaluation
    from pluralign.policy import Policy

Floats = NDArray[np.float64]
NUM_TOXIC, TOP_P, TOXIC = 25, 0.9, 0.5
PROBED = 8
log = logging.getLogger("pluralign")
ABOUT = """Rounds: a judge's categories are counted as given; where the feedback is quantile words, replies are counted in the
quantiles of the first round, which the start model drew. *Score* is the mean over the objectives as a part of their
ranges, 1 the best. *Win* is against the start model's replies to the same prompts: +1 a win, 0 a tie, −1 a loss."""
ABOUT_TOXICITY = """Toxicity: 25 replies to each prompt at top-p .9. *Average maximum*: mean over prompts of the largest toxicity;
*probability*: share of prompts with a reply above .5; *distinct n*: different n-grams over words, of a prompt's replies;
*perplexity*: of a reply under the start model, mean over replies."""


@dataclass(frozen=True)
class Design:
    """One of the paper's tasks: ALT's recipe, rivals as (method, recipe), and how it is set up."""

    title: str
    chosen: str
    rivals: tuple[tuple[str, str], ...] = ()
    fine_tune: bool = True
    temperature: float = 1.0
    toxicity: bool = False


def compared(options: CompareOptions, command: str, design: Design) -> dict[str, Any]:
    """Train ALT and its rivals with their recipes, measure, and write the page."""
    how: dict[str, Any] = {"about_what": "scorer", "weights": "one-hots", "temperature": design.temperature}
    begun = begin.start(options, design.fine_tune, **how)
    wanted = [("ALT", "alt", design.chosen), *((name.capitalize(), name, which) for name, which in design.rivals)]
    entries = [
        made(title, name, lambda: _smaller(heard(recipe(name, which), begun), options), options.max_steps)  # noqa: B023
        for title, name, which in wanted
    ]
    table = begin.comparison(options, begun, entries)
    rows = table.rows()
    found: dict[str, Any] = {}
    lines: list[str] = []
    drawn: dict[str, Any] = {}
    for row in begin.done(rows):
        title = f"{row['title']}, seed {row['seed']}"
        found[title], words = _told(options, table, row, design)
        drawn[title] = (words, found[title]["rounds"])
        lines += _tables(title, found[title], words)
    lines = [*_pictured(options, drawn), *lines]
    about = f"{ABOUT}\n\n{ABOUT_TOXICITY}" if design.toxicity else ABOUT
    return begin.NamedPage(design.title, about, lines, found).write(options, command, begun, rows)


def _pictured(options: CompareOptions, drawn: dict[str, Any]) -> list[str]:
    """The rounds' picture beside the page."""
    if not drawn:
        return []
    picture = options.page.with_suffix(".png")
    atomic_write(picture, rounds_picture(drawn))
    return [f"![shares of each category in every round]({picture.name})", ""]


def heard(method: Any, begun: begin.Start) -> Any:
    """The method; where it waits for categories and the scorer names none of a few replies, with quantiles of the score."""
    from pluralign.recipes.scorer import open_scorer

    if method.wording.kind != "categories":
        return method
    asked = [record for record in begun.held_out if record.responses][:PROBED]
    words = {word.casefold() for word in method.steering.levels}
    told = open_scorer(begun.ground.scorer, begun.ground.device).score(asked)
    named = {
        comment.text.strip().casefold() for record in told for reply in record.responses for comment in reply.comments
    }
    if not asked or words & named:
        return method
    log.info("the scorer names none of %s: the feedback is quantiles of the score instead", ", ".join(sorted(words)))
    quantiles: Any = recipe("alt", "paper")
    steering = replace(method.steering, levels=quantiles.steering.levels)
    return replace(method, wording=quantiles.wording, steering=steering)


def _smaller(method: Any, options: CompareOptions) -> Any:
    """The method; in a trial its rounds are few and small too."""
    if options.max_steps is None:
        return method
    few = replace(method.rounds, num=min(method.rounds.num, 2), prompts=16, replies=min(method.rounds.replies, 5))
    return replace(method, rounds=replace(few, decoding=replace(few.decoding, max_new_tokens=options.max_new_tokens)))


def _told(
    options: CompareOptions, table: Comparison, row: Row, design: Design
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Rounds, and what comes of asking for each category, in domain and out of it; and the words."""
    from pluralign.evaluation.reference import reference_of

    (policy,) = begin.policies(table, row)
    steering: Any = policy.steering
    words = tuple(steering.phrase([("", level)]) for level in range(steering.num_levels))
    levels = Levels(words, policy.objectives)
    found: dict[str, Any] = {"rounds": list(rounds(table.folder(row["seed"], row["key"]) / "run", levels))}
    worlds = _worlds(options, table, row["seed"])
    base = reference_of(policy)
    found |= {name: _by_category(policy, base, each, levels) for name, each in worlds.items()}
    if design.toxicity:
        found |= {f"toxicity, {name}": _toxicity(policy, base, each, words) for name, each in worlds.items()}
    return found, words


def _worlds(options: CompareOptions, table: Comparison, seed: int) -> dict[str, SampledEvaluation]:
    """The held-out prompts, and those of another kind where given."""
    from pluralign.sampling.pool import without_replies

    world = table.ground.evaluation(table.folder(seed), seed)
    if options.out_of_domain is None:
        return {"held-out prompts": world}
    other = without_replies(load_data(options.out_of_domain).records)[: options.prompts]
    return {"held-out prompts": world, "out of domain": replace(world, records=other)}


def _by_category(policy: Policy, base: Policy, world: SampledEvaluation, levels: Levels) -> list[dict[str, Any]]:
    """A row for the start model, and one for each category that is asked for."""
    heard = Heard(world.scorer)
    world = replace(world, scorer=heard)
    plain = world.answers(base, None)
    theirs = mean_part(plain.scores, world.objectives)
    found = []
    for word in (None, *levels.words):
        cell = plain if word is None else world.answers(policy, Feedback(word))
        ours = mean_part(cell.scores, world.objectives)
        found.append(
            {
                "asked": word,
                "score": float(np.nanmean(ours)) if np.isfinite(ours).any() else float("nan"),
                **win_rate(ours, theirs, cell.prompts),
                "truncated": 1 - float(cell.finished.mean()),
                "tokens": float(cell.lengths.mean()),
                "shares": levels.shares(heard.last),
            }
        )
    return found


def _toxicity(policy: Policy, base: Policy, world: SampledEvaluation, words: Sequence[str]) -> list[dict[str, Any]]:
    """The first objective is the toxicity, as a part of its range; of the start model and of the policy's best words."""
    many = replace(world, decoding=replace(world.decoding, top_p=TOP_P))
    toxic = world.objectives[0]
    found = []
    for title, one, asked in (("*start model, nothing*", base, None), (words[0], policy, Feedback(words[0]))):
        cell = many.answers(one, asked, NUM_TOXIC)
        share = (cell.scores[:, 0] - toxic.low) / (toxic.high - toxic.low)
        worst = worst_of_many(1 - share if toxic.direction == "higher" else share, cell.prompts, TOXIC)
        grams = {f"distinct {n}": distinct(cell.texts, cell.prompts, n) for n in (1, 2, 3)}
        told = {"average maximum": worst["average_maximum"], "probability": worst["probability"]}
        found.append(
            {"asked for": title, **told, **grams, "perplexity": _perplexity(base, world, cell.prompts, cell.texts)}
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


def _tables(title: str, told: dict[str, Any], words: Sequence[str]) -> list[str]:
    rows = [[n + 1, *r["shares"], r["truncated"], r["score"], r["replies"]] for n, r in enumerate(told["rounds"])]
    lines = [f"## {title}", "", "Replies of each round, by category:", ""]
    lines += begin.table(["round", *words, "cut off", "score", "replies"], rows)
    for name, found in told.items():
        if name == "rounds":
            continue
        lines += [f"{name[0].upper()}{name[1:]}:", ""]
        if "shares" not in found[0]:
            lines += begin.table(list(found[0]), [list(each.values()) for each in found])
            continue
        heads = ["asked for", *(f"share: {word}" for word in words), "score", "win", "ties", "cut off", "tokens"]
        lines += begin.table(heads, [_asked_row(each) for each in found])
    return lines


def _asked_row(each: dict[str, Any]) -> list[Any]:
    win = begin.NO_NUMBER if each["asked"] is None else begin.with_interval(each["win"], each["interval"])
    ties = None if each["asked"] is None else each["ties"]
    shown = each["asked"] or "*start model, nothing*"
    return [shown, *each["shares"], each["score"], win, ties, each["truncated"], f"{each['tokens']:.1f}"]
