"""The report as one self-contained page: no request leaves it, and every text that came from outside is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

from pluralign.data.objective import Objective
from pluralign.evaluation import charts, page_tables
from pluralign.evaluation.palette import DARK, LIGHT, variables
from pluralign.evaluation.plots import finest
from pluralign.evaluation.summary import number, sentences

if TYPE_CHECKING:
    from pluralign.evaluation.report import Report


def page(report: Report) -> str:
    """The whole HTML document."""
    folder = files("pluralign.evaluation")
    style = Template((folder / "report.css").read_text(encoding="utf-8"))
    template = Template((folder / "report.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(report.title),
        style=style.substitute(light=variables(LIGHT), dark=variables(DARK)),
        lead=_lead(report),
        body="\n".join(part for part in _sections(report) if part),
    )


def _lead(report: Report) -> str:
    said = sentences(report.card)
    if said:
        return f'<p class="lead">{escape(said[0])}</p><p>{escape(" ".join(said[1:]))}</p>'
    reason = report.card.policy.reasons.get("gain_mean", "nothing was scored")
    return f'<p class="lead">Steerability was not measured: {escape(reason)}.</p>'


def _sections(report: Report) -> list[str]:
    tables, objectives = report.card.tables, report.objectives
    scored = report.card.policy.values["gain_mean"] is not None
    return [
        _asking(tables["per_objective"], objectives) if scored else "",
        page_tables.card(report.card) if scored else "",
        page_tables.preferences(report.preferences) if report.preferences else "",
        _fronts(tables["sweeps"], objectives) if tables["sweeps"] else "",
        _sweeps(tables["sweeps"], objectives) if tables["sweeps"] else "",
        page_tables.cross(tables["cross_matrix"], objectives) if len(objectives) > 1 and scored else "",
        _replies(report.replies, objectives) if report.replies else "",
        page_tables.weights(tables["per_weight"], objectives) if scored else "",
        page_tables.method(report),
    ]


def _asking(rows: Sequence[Mapping[str, Any]], objectives: Sequence[Objective]) -> str:
    """One track per objective: the base, the policy when asked, the optimum when asked."""
    tracks = [_track(row, objectives[place], place) for place, row in enumerate(rows)]
    key = _key(
        ("diamond", "base"),
        ("disc", "asked for this alone"),
        *((("ring", "exact optimum"),) if "optimum" in rows[0] else ()),
    )
    return (
        '<section><h2>What asking does</h2><p class="note">Mean score on each objective when nothing is asked, and '
        f"when only that objective is asked for. The whisker is the 95 % interval.</p>{key}"
        f'<div class="tracks">{"".join(tracks)}</div></section>'
    )


def _track(row: Mapping[str, Any], objective: Objective, place: int) -> str:
    axis = charts.Axis(objective.low, objective.high, 0.0, 100.0)
    base, asked = axis(row["base"]), axis(row["asked"])
    pair = row["intervals"]["asked"]
    marks = [
        f'<i class="rise" style="left:{min(base, asked)}%;width:{abs(asked - base):.1f}%"></i>',
        f'<i class="diamond" style="left:{base}%"></i>',
        "" if pair is None else f'<i class="whisker" style="left:{axis(pair[0])}%;width:{axis(pair[1]) - axis(pair[0]):.1f}%"></i>',
        f'<i class="ring" style="left:{axis(row["optimum"]["asked"])}%"></i>' if "optimum" in row else "",
        f'<i class="disc" style="left:{asked}%"></i>',
    ]  # fmt: skip
    said = f"{objective.name}: base {number(row['base'])}, asked {number(row['asked'])}"
    return (
        f'<div class="track" style="--hue:{charts.hue(place)}" title="{escape(said)}">'
        f'<b class="name">{escape(objective.name)}</b>'
        f'<span class="end">{charts.tick(objective.low)}</span><span class="line">{"".join(marks)}</span>'
        f'<span class="end">{charts.tick(objective.high)}</span>'
        f'<span class="gain">{number(row["gain"], sign=True)}</span></div>'
    )


def _key(*marks: tuple[str, str]) -> str:
    items = "".join(f'<span><i class="{kind}"></i>{escape(words)}</span>' for kind, words in marks)
    return f'<p class="key">{items}</p>'


def _fronts(sweeps: Sequence[Mapping[str, Any]], objectives: Sequence[Objective]) -> str:
    panels = "".join(f"<figure>{charts.front(sweep, objectives)}</figure>" for sweep in sweeps)
    best = (("solid", "exact optimum, β = .25"), ("dashed", "optimum nearer the base, β = .5"))
    known = best if "optimum" in sweeps[0] else ()
    return (
        '<section><h2>Fronts</h2><p class="note">Each panel trades one objective for another. The dark line is one '
        "model asked for weights between the two; its coloured ends are asked for one of them alone. Up and right is "
        f'better.</p>{_key(("diamond", "base"), ("stroke", "this policy"), *known)}<div class="fronts">{panels}</div></section>'
    )


def _sweeps(sweeps: Sequence[Mapping[str, Any]], objectives: Sequence[Objective]) -> str:
    panels = "".join(f"<figure>{charts.sweep_chart(sweep, objectives)}</figure>" for sweep in finest(sweeps))
    dashed = (
        " Dashed: the exact optimum (β = .25), which need not be monotone itself." if "optimum" in sweeps[0] else ""
    )
    return (
        '<section><h2>Sweeps</h2><p class="note">Both scores while the weight moves from one objective to the other. '
        f'Bands are 95 % intervals.{dashed}</p><div class="sweeps">{panels}</div></section>'
    )


def _replies(prompts: Sequence[Mapping[str, Any]], objectives: Sequence[Objective]) -> str:
    names = ", ".join(page_tables.name_of(objective.name, place) for place, objective in enumerate(objectives))
    parts = []
    for item in prompts:
        cards = "".join(_reply(reply, objectives) for reply in item["replies"])
        parts.append(f'<h3 class="prompt">{escape(item["prompt"])}</h3><div class="replies">{cards}</div>')
    return (
        '<section><h2>Replies under each weight</h2><p class="note">The first reply drawn, never the best one. Bars '
        f"are its scores, from the left: {names}; what was asked for stands out.</p>{''.join(parts)}</section>"
    )


def _reply(reply: Mapping[str, Any], objectives: Sequence[Objective]) -> str:
    weights = reply["weights"] or {}
    alone = [place for place, objective in enumerate(objectives) if weights.get(objective.name) == 1.0]
    style = f' style="--hue:{charts.hue(alone[0])}"' if alone else ""
    bars = "".join(_bar(reply["scores"], objective, place, weights) for place, objective in enumerate(objectives))
    flaws = [
        words
        for bad, words in ((reply["fluent"] is False, "not well formed"), (not reply["finished"], "cut off"))
        if bad
    ]
    flaw = f'<small class="flaw">{", ".join(flaws)}</small>' if flaws else ""
    return (
        f"<article{style}><h4>{escape(reply['label'])}{flaw}</h4><p>{escape(reply['text'])}</p>"
        f'<div class="bars">{bars}</div></article>'
    )


def _bar(scores: Mapping[str, Any], objective: Objective, place: int, weights: Mapping[str, float]) -> str:
    score = scores.get(objective.name)
    height = 0.0 if score is None else charts.Axis(objective.low, objective.high, 0.0, 100.0)(score)
    asked = ' class="asked"' if weights.get(objective.name, 0.0) > 0 else ""
    said = f"{objective.name} {'not known' if score is None else charts.tick(score)}"
    return (
        f'<span{asked} style="--hue:{charts.hue(place)}" title="{escape(said)}"><i><em style="height:{height}%"></em></i>'
        f"<small>{'–' if score is None else charts.tick(round(score, 2))}</small></span>"
    )
