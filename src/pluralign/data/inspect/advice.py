"""What is wrong with a file of feedback, and what to do about it, in plain words: one rule per problem."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pluralign.data.halo import THRESHOLD

if TYPE_CHECKING:
    from pluralign.data.inspect.inspection import Inspection

MISSING, ABSTAINED, TIED, CEILING = 0.2, 0.1, 0.3, 0.9
"""Shares above which missing scores, abstentions, ties and one value for nearly everything are worth a line."""
LENGTH_WINS, LENGTH_CORRELATION = 0.05, 0.3
"""How far the share of pairs won by the longer reply is from a half, and a score's correlation with length."""
CONFLICT, SHIFT, RELIABLE = 0.2, 0.15, 0.667
"""Share of pairs; of the range; and Krippendorff's least alpha for tentative conclusions."""
GROUPS = 0.1
"""How much larger the alpha within every group must be than that of all raters."""
FEW = 20
"""Fewer pairs, replies or units than this are too few to say anything."""
_SIGNIFICANT = 3.0


@dataclass(frozen=True, slots=True)
class Advice:
    """A problem that was found, and what to do; `kind` is its name for programs."""

    kind: str
    problem: str
    action: str

    def __str__(self) -> str:
        return f"{self.problem}. To do: {self.action}."


def advice(seen: Inspection) -> tuple[Advice, ...]:
    """Every problem found, the gravest first; none where all is well."""
    rules = (_rejected, _nothing, _never_vary, _halo, _ties, _missing, _length, _raters, _agreement, _conflict)
    return tuple(item for rule in (*rules, _duplicates, _texts, _extra, _licence) for item in rule(seen))


def _share(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 or not share else "under 1 %"


def _listed(items: Sequence[str], most: int = 4) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def _rejected(seen: Inspection) -> Iterator[Advice]:
    if seen.rows.rejected:
        problem = f"{seen.rows.rejected} of {seen.rows.read} rows cannot be used ({next(iter(seen.rows.reasons))} ...)"
        yield Advice("rejected", problem, "see the reasons above, mend the rows, or leave them out on purpose")


def _nothing(seen: Inspection) -> Iterator[Advice]:
    counts = seen.counts
    if not counts.replies:
        yield Advice("no_replies", "there are prompts but no replies", "sample replies, then score or annotate them")
        return
    said = (counts.ratings, counts.comparisons, counts.rankings, counts.comments, counts.votes, counts.thumbs)
    if not any(said):
        yield Advice("no_feedback", "nobody said anything about the replies", "score or annotate them, or imitate them")
    if not seen.pairs.pairs:
        problem = "no record has two replies, so there is nothing to compare"
        action = "imitate the good ones (sft), or sample more replies to the same prompts"
        if seen.duplicates.repeated_prompts:
            action = "join the records of a prompt (`pluralign data convert FILE OUT --join`), so that their replies can be compared"
        yield Advice("single_replies", problem, action)


def _never_vary(seen: Inspection) -> Iterator[Advice]:
    names = seen.axes
    flat = [
        f"{names[k]} (always {spread.smallest:g})"
        for k, spread in enumerate(seen.spreads)
        if spread.scored > 1 and spread.smallest == spread.largest
    ]
    if flat:
        problem = f"scores never vary: {_listed(flat)}"
        yield Advice(
            "never_varies",
            problem,
            "leave the objective out (`pluralign train cmpo --objectives NAME ...`), or rate it on a finer scale",
        )
    near = [
        f"{names[k]} ({_share(max(counts) / spread.scored)})"
        for k, spread in enumerate(seen.spreads)
        if spread.scored >= FEW and "values" in spread.histogram
        for counts in [spread.histogram["counts"]]
        if len(counts) > 1 and max(counts) > CEILING * spread.scored
    ]
    if near:
        problem = f"nearly all replies have the same score: {_listed(near)}"
        yield Advice("hardly_varies", problem, "there is little to learn; collect replies that differ on it")


def _halo(seen: Inspection) -> Iterator[Advice]:
    if seen.halo.mean > THRESHOLD:
        left = f" ({seen.ungraded} replies with the lowest mark everywhere left out)" if seen.ungraded else ""
        yield Advice("halo", f"halo{left}", seen.halo.advice)


def _ties(seen: Inspection) -> Iterator[Advice]:
    many = [
        f"{name} ({_share(float(tied))})"
        for name, tied, judged in zip(seen.axes, seen.pairs.tied, seen.pairs.judged, strict=True)
        if judged >= FEW and tied > TIED
    ]
    if many:
        problem = f"many pairs of replies are tied: {_listed(many)}"
        action = (
            "a tie teaches no preference; ask for comparisons, use a finer scale, or train on the margins of scores"
        )
        yield Advice("ties", problem, action)


def _missing(seen: Inspection) -> Iterator[Advice]:
    rated = [(name, spread) for name, spread in zip(seen.axes, seen.spreads, strict=False) if spread.scored]
    missing = [f"{name} ({_share(spread.missing)})" for name, spread in rated if spread.missing > MISSING]
    if missing:
        action = "they stay missing and are never read as 0; score them, collect more, or expect weaker steering there"
        yield Advice("missing", f"scores are missing: {_listed(missing)} of the replies", action)
    declined = [f"{name} ({_share(spread.abstained)})" for name, spread in rated if spread.abstained > ABSTAINED]
    if declined:
        problem = f"raters often declined to say: {_listed(declined)}"
        yield Advice("abstained", problem, "ask whether the question was clear to them; abstentions are not trained on")


def _length(seen: Inspection) -> Iterator[Advice]:
    wins = [
        f"{name} ({_share(float(share))} of {num:.0f} pairs)"
        for name, share, num in zip(seen.axes, seen.pairs.longer_wins, seen.pairs.by_length, strict=True)
        if num >= FEW and abs(share - 0.5) > max(LENGTH_WINS, _SIGNIFICANT * 0.5 / np.sqrt(num))
    ]
    action = (
        "length alone explains part of the judgements; compare a policy with the length-only row of `pluralign evaluate`, "
        "and balance or drop pairs whose lengths differ much"
    )
    if wins:
        yield Advice("length_wins", f"the longer reply wins far from half the pairs: {_listed(wins)}", action)
    scores = [
        f"{name} (r = {r:.2f})"
        for name, r, spread in zip(seen.axes, seen.length.correlation, seen.spreads, strict=False)
        if spread.scored >= FEW and abs(r) > LENGTH_CORRELATION
    ]
    if scores:
        yield Advice("length_scores", f"scores follow the reply's length: {_listed(scores)}", action)


def _raters(seen: Inspection) -> Iterator[Advice]:
    who = seen.raters
    if who.num == 1 and not who.anonymous:
        action = "this is one person's view, fit for a model of their own; ask others before you speak for many"
        yield Advice("one_rater", "everything was said by one rater", action)
        return
    share = who.most / who.judgements if who.judgements else 0.0
    if who.num > 1 and (share > 0.6 or (share >= 0.2 and share * who.num >= 3)):
        problem = f"one of {who.num} raters ({next(iter(who.top))}) gave {_share(share)} of the judgements"
        yield Advice(
            "dominating_rater",
            problem,
            "sample by annotator (`pluralign data sample FILE OUT --num N --by annotator`), or ask more people",
        )
    apart = [
        f"{objective.name} (sd {shift.deviation:.2f})"
        for objective, shift in zip(seen.objectives, seen.shifts, strict=True)
        if shift.raters > 1 and shift.deviation > SHIFT * (objective.high - objective.low)
    ]
    if apart:
        problem = f"raters use the scale differently on the same replies: {_listed(apart)}"
        yield Advice("rater_shift", problem, "standardise each rater's scores before they are averaged")


def _agreement(seen: Inspection) -> Iterator[Advice]:
    low = [
        f"{item.about} ({item.of}, alpha {item.alpha:.2f})"
        for item in seen.agreement
        if item.units >= FEW and item.alpha < RELIABLE
    ]
    if low:
        action = (
            "this is noise or real difference; look whether groups differ, and take one alone (`pluralign data convert "
            "FILE OUT --group NAME`), or train with a noise rate (`pluralign train cmpo loss:cdpo --loss.label-smoothing 0.2`)"
        )
        yield Advice("disagreement", f"raters agree less than {RELIABLE}: {_listed(low)}", action)
    apart = [
        f"{item.about} ({', '.join(f'{name} {alpha:.2f}' for name, alpha in item.within.items())}; all {item.alpha:.2f})"
        for item in seen.agreement
        if len(item.within) > 1 and min(item.within.values()) > item.alpha + GROUPS
    ]
    if apart:
        problem = f"every group agrees more within itself than all together: {_listed(apart)}"
        yield Advice(
            "groups_differ",
            problem,
            "the groups see it differently; train for each of them (`pluralign data convert FILE OUT --group NAME`), not "
            "for the mean",
        )


def _conflict(seen: Inspection) -> Iterator[Advice]:
    share, both = seen.pairs.conflict[:-1, :-1], seen.pairs.both[:-1, :-1]
    if seen.pairs.comparable >= FEW and seen.pairs.mixed > CONFLICT:
        known = np.where((both >= FEW) & ~np.eye(len(both), dtype=bool), np.nan_to_num(share), -1.0)
        i, j = divmod(int(known.argmax()), len(known))
        most = f" (most: {seen.axes[i]} and {seen.axes[j]}, {_share(known[i, j])})" if known[i, j] >= 0 else ""
        problem = f"on {_share(seen.pairs.mixed)} of the pairs judged on several objectives they prefer different replies{most}"
        action = "one model for the average cannot please both; train a steerable one (`pluralign train cmpo`) and ask for the trade-off"
        yield Advice("conflict", problem, action)


def _duplicates(seen: Inspection) -> Iterator[Advice]:
    found = seen.duplicates
    if found.in_record:
        problem = f"replies that stand twice in one record: {found.in_record}"
        yield Advice("duplicate_replies", problem, "drop the copies; a pair of equal replies teaches nothing")
    if found.near_in_prompt:
        problem = f"replies that differ from another of their prompt only in case, signs or white space: {found.near_in_prompt}"
        yield Advice("near_duplicates", problem, "drop them unless these signs are what people judged")
    if found.across and 2 * found.across_replies < seen.counts.replies:  # else they are options to choose from
        problem = f"texts that answer more than one prompt: {found.across} ({found.across_replies} replies)"
        action = "stock replies are learnt by heart; drop them, or keep one, and split by prompt with this in mind"
        yield Advice("duplicates_across", problem, action)
    if found.repeated_prompts:
        problem = (
            f"prompts in several records: {found.repeated_prompts} ({found.records_again} records beyond the first)"
        )
        yield Advice(
            "repeated_prompts",
            problem,
            "split by prompt (`pluralign data split FILE --out FOLDER`), so that none is in two parts",
        )
    if found.prompts_roughly < found.prompts:
        problem = f"prompts that differ from another only in case, signs or white space: {found.prompts - found.prompts_roughly}"
        yield Advice("near_prompts", problem, "a split by prompt may part them; make them equal first")
    if found.ids:
        problem = f"ids that occur more than once: {found.ids} ({found.ids_again} records beyond the first)"
        yield Advice("duplicate_ids", problem, "give every record its own id, or merge what belongs together")


def _texts(seen: Inspection) -> Iterator[Advice]:
    for name, texts in (("prompts", seen.prompts), ("replies", seen.replies)):
        if texts.empty:
            if name == "prompts" and texts.empty == texts.num:
                continue  # a table of rated texts, which were the answer to nothing
            problem = f"empty {name}: {texts.empty} of {texts.num}"
            yield Advice(f"empty_{name}", problem, "drop them, unless saying nothing was judged on purpose")
        odd = {
            kind: num
            for kind, num in texts.odd.items()
            if kind not in ("white space at an end", "right-to-left letters")
        }
        if odd:
            problem = f"odd {name}: " + ", ".join(f"{num} with {kind}" for kind, num in odd.items())
            yield Advice(f"odd_{name}", problem, "look at some; repair the encoding at its source")


def _extra(seen: Inspection) -> Iterator[Advice]:
    if seen.counts.extra:
        problem = f"no field holds {_listed(list(seen.counts.extra), 6)}"
        action = "it is kept in `extra` and not trained on; if some of it is feedback, name its columns (`pluralign data convert FILE OUT --map TARGET=COLUMN`)"
        yield Advice("extra", problem, action)


def _licence(seen: Inspection) -> Iterator[Advice]:
    if not seen.licence:
        problem = "no licence is declared"
        yield Advice("licence", problem, "find out before you publish the data or a model trained on it")
