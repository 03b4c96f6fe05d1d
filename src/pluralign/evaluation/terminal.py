"""The report card as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pluralign.evaluation.rows import KEYS
from pluralign.evaluation.summary import LABELS, ROW_NAMES, number, of_key, sentences

if TYPE_CHECKING:
    from rich.table import Table

    from pluralign.evaluation.report import Report


def card_table(report: Report) -> Table:
    """One line per number: the policy with its interval, and the other rows beside it.

    A report of preference data alone has one line per objective instead.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    # Text that was given to us must not be read as rich's markup.
    table = Table(
        title=_literal(report.title),
        caption=_literal(" ".join(sentences(report.card))),
        caption_justify="left",
        box=SIMPLE_HEAD,
    )
    if report.card.policy.values["gain_mean"] is None and report.preferences:
        return _preferences(report, table)
    table.add_column("", no_wrap=True)
    table.add_column(ROW_NAMES["policy"], justify="right", style="bold", no_wrap=True)
    table.add_column("95 %", justify="right", style="dim", no_wrap=True)
    rows = [name for name in report.card.rows if name != "policy"]
    for name in rows:
        table.add_column(ROW_NAMES[name], justify="right", no_wrap=True)
    for key in KEYS:
        pair = report.card.policy.intervals.get(key)
        ends = "" if pair is None else f"{of_key(key, pair[0])} … {of_key(key, pair[1])}"
        others = [of_key(key, report.card.rows[name].values[key]) for name in rows]
        table.add_row(LABELS[key][0], of_key(key, report.card.policy.values[key]), ends, *others)
    return table


def _preferences(report: Report, table: Table) -> Table:
    for heading in ("objective", "pairs", "accuracy", "implicit reward", "length only"):
        table.add_column(heading, justify="left" if heading == "objective" else "right")
    for row in report.preferences:
        shares = [number(row[key]) for key in ("likelihood", "implicit_reward", "length_only")]
        table.add_row(_literal(row["objective"]), str(row["num_pairs"]), *shares)
    return table


def _literal(text: str) -> str:
    from rich.markup import escape

    return escape(text)
