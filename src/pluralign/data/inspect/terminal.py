"""An inspection for a terminal: a few lines, tables, and the advice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from pluralign.data.inspect.inspection import Inspection
    from pluralign.data.inspect.spread import Spread

_MOST_COLUMNS, _MOST_PAIRS, _MOST_ROWS = 8, 10, 30


def rendered(seen: Inspection, width: int) -> str:
    """Everything worth a look, as plain text of this width."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    buffer = StringIO()
    console = Console(file=buffer, width=width)
    for table in tables(seen):
        title, table.title = str(table.title), None
        console.print(Text(title))
        console.print(table)
    advice = seen.advice
    console.print(Text("What to do" if advice else "Nothing to mend was found."))
    for item in advice:
        console.print(Padding(Text(f"- {item}"), (0, 0, 0, 2)))
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())


def tables(seen: Inspection) -> list[Table]:
    """The tables that this inspection has numbers for."""
    found = [_overview(seen)]
    if seen.objectives:
        found.append(_scores(seen))
    if seen.pairs.judged.any():
        found.append(_pairs(seen))
    if len(seen.objectives) > 1:
        found += _matrices(seen)
    if seen.agreement:
        found.append(_agreement(seen))
    if seen.raters.num or seen.raters.groups or seen.raters.group_judgements:
        found.append(_raters(seen))
    return [*found, _texts(seen), _duplicates(seen)]


def _table(title: str, *headings: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, box=SIMPLE_HEAD, show_header=any(headings))
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", overflow="fold")
    return table


def _add(table: Table, *cells: Any) -> None:
    from rich.text import Text

    table.add_row(*(Text(cell if isinstance(cell, str) else _number(cell)) for cell in cells))


def _number(value: float, places: int = 2) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.{places}f}"


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"


def _counted(counts: Mapping[Any, int], most: int = 6) -> str:
    shown = ", ".join(f"{name} {num:,}" for name, num in list(counts.items())[:most])
    return shown + (f" and {len(counts) - most} more" if len(counts) > most else "")


def _overview(seen: Inspection) -> Table:
    counts = seen.counts
    table = _table(seen.file or "records", "", "")
    table.columns[1].justify = "left"
    limit = f" (stopped after {seen.limit:,} records)" if seen.limit is not None else ""
    reasons = "".join(f"\n{num:,} x {kind}" for kind, num in seen.rows.reasons.items())
    examples = "".join(f"\ne.g. {example}" for example in seen.rows.examples)
    rows = f"{seen.rows.read:,} = {seen.rows.kept:,} kept + {seen.rows.rejected:,} rejected{limit}{reasons}{examples}"
    mean = counts.replies / counts.records
    per_prompt = f"{counts.replies:,}, {mean:.2f} per record ({_counted(_by_size(counts.replies_per_prompt))})"
    lines: Iterable[tuple[str, str]] = (
        ("reader", seen.reader),
        ("licence", seen.licence or "not declared"),
        ("source", seen.source or "not declared"),
        ("rows", rows),
        ("records", f"{counts.records:,}, {seen.duplicates.prompts:,} different prompts"),
        ("replies", per_prompt if counts.replies else "none"),
        *((name, _counted(getattr(counts, name))) for name in ("ratings", "comparisons", "rankings", "comments")),
        *((name, _counted(getattr(counts, name))) for name in ("votes", "thumbs", "marks", "languages", "models")),
        ("in extra", _counted(counts.extra, 12)),
    )
    for name, text in lines:
        if text:
            _add(table, name, text)
    return table


def _by_size(counts: Mapping[int, int]) -> dict[str, int]:
    return {f"{size} in": num for size, num in counts.items()}


def _more(num: int) -> str:
    return f" (the first {_MOST_ROWS}; {num - _MOST_ROWS} more with --json)" if num > _MOST_ROWS else ""


def _scores(seen: Inspection) -> Table:
    title = f"Scores{_more(len(seen.objectives))}"
    table = _table(
        title, "objective", "range", "better", "scored", "mean", "deviation", "missing", "abstained", "r with length"
    )
    for objective, spread, r in list(zip(seen.objectives, seen.spreads, seen.length.correlation, strict=True))[
        :_MOST_ROWS
    ]:
        name = f"{objective.name} (safety)" if objective.safety else objective.name
        ends = f"{objective.low:g} to {objective.high:g}"
        shares = (_share(spread.missing), _share(spread.abstained)) if _asked(spread) else ("–", "–")
        _add(table, name, ends, objective.direction, spread.scored, spread.mean, spread.deviation, *shares, float(r))
    return table


def _asked(spread: Spread) -> bool:
    return bool(spread.scored or spread.abstained)


def _pairs(seen: Inspection) -> Table:
    facts = seen.pairs
    used = [k for k in range(len(seen.axes)) if facts.judged[k]]
    title = f"Pairs of replies ({facts.pairs:,}){_more(len(used))}"
    table = _table(title, "objective", "judged", "share of pairs", "tied", "longer wins", "of")
    for k in used[:_MOST_ROWS]:
        judged = int(facts.judged[k])
        shares = (_share(judged / facts.pairs), _share(float(facts.tied[k])), _share(float(facts.longer_wins[k])))
        _add(table, seen.axes[k], judged, *shares, int(facts.by_length[k]))
    return table


def _matrices(seen: Inspection) -> list[Table]:
    found = []
    names = [objective.name for objective in seen.objectives]
    title = "Correlation of scores (signed so that more is better)"
    if not all(math.isnan(value) for row in _without_diagonal(seen.correlation) for value in row):
        found.append(_matrix(title, names, seen.correlation, 2))
    used = [k for k, row in enumerate(seen.pairs.both) if sum(row > 0) > 1]
    if used:
        title = "Conflict: share of pairs, decided on both, where two objectives prefer different replies"
        conflict = [[100 * float(seen.pairs.conflict[i, j]) for j in used] for i in used]
        found.append(_matrix(f"{title} (%)", [seen.axes[k] for k in used], conflict, 1))
    return found


def _without_diagonal(matrix: Any) -> list[list[float]]:
    return [[float(value) for j, value in enumerate(row) if i != j] for i, row in enumerate(matrix)]


def _matrix(title: str, names: Sequence[str], matrix: Any, places: int) -> Table:
    if len(names) > _MOST_COLUMNS:
        return _most(title, names, matrix, places)
    table = _table(title, "", *names)
    for i, name in enumerate(names):
        _add(table, name, *("" if i == j else _number(float(matrix[i][j]), places) for j in range(len(names))))
    return table


def _most(title: str, names: Sequence[str], matrix: Any, places: int) -> Table:
    """Of many objectives only the strongest pairs; the whole matrix is in the JSON and in the pictures."""
    table = _table(f"{title}, the largest {_MOST_PAIRS}", "", "", "")
    pairs = [(float(matrix[i][j]), i, j) for i in range(len(names)) for j in range(i)]
    known = sorted((pair for pair in pairs if not math.isnan(pair[0])), key=lambda pair: -abs(pair[0]))
    for value, i, j in known[:_MOST_PAIRS]:
        _add(table, names[j], names[i], _number(value, places))
    return table


def _agreement(seen: Inspection) -> Table:
    headings = ("about", "of", "units", "same", "alpha", "level", "within groups", "rater shift (sd)")
    table = _table("Agreement where two raters judged the same", *headings)
    shifts = {objective.name: shift for objective, shift in zip(seen.objectives, seen.shifts, strict=True)}
    for item in seen.agreement:
        shift = shifts[item.about].deviation if item.of == "scores" else math.nan
        within = ", ".join(f"{name} {alpha:.2f}" for name, alpha in list(item.within.items())[:6])
        _add(table, item.about, item.of, item.units, _share(item.equal), item.alpha, item.level, within, shift)
    return table


def _raters(seen: Inspection) -> Table:
    who = seen.raters
    table = _table("Raters", "", "")
    table.columns[1].justify = "left"
    per_rater = f"{who.least:,} to {who.most:,}, median {who.median:g}" if who.num else ""
    lines = (
        ("raters", f"{who.num:,} with an id"),
        ("judgements", f"{who.judgements:,} by them, {who.anonymous:,} without an id"),
        ("per rater", per_rater),
        ("groups (raters)", _counted(who.groups)),
        ("groups (judgements)", _counted(who.group_judgements)),
        ("languages (raters)", _counted(who.languages)),
        *((f"{question} (raters)", _counted(answers)) for question, answers in who.demographics.items()),
    )
    for name, text in lines:
        if text:
            _add(table, name, text)
    return table


def _texts(seen: Inspection) -> Table:
    table = _table(
        "Texts (characters)", "", "number", "empty", "shortest", "mean", "median", "95 %", "longest", "of note"
    )
    for name, texts in (("prompts", seen.prompts), ("replies", seen.replies)):
        if texts.num:
            middle = f"{texts.mean:.1f}", f"{texts.median:.0f}", f"{texts.p95:.0f}"
            _add(table, name, texts.num, texts.empty, texts.shortest, *middle, texts.longest, _counted(texts.odd))
    return table


def _duplicates(seen: Inspection) -> Table:
    found = seen.duplicates
    table = _table("Duplicates", "", "exactly", "but for case, signs, space")
    _add(table, "records with an earlier one's prompt", found.records_again, "")
    _add(table, "prompts like another", "", found.prompts - found.prompts_roughly)
    _add(table, "replies twice in a record", found.in_record, "")
    _add(table, "replies twice to a prompt", found.in_prompt, found.near_in_prompt)
    _add(table, "texts that answer several prompts", found.across, found.near_across)
    _add(table, "ids that occur again", found.ids, "")
    return table
