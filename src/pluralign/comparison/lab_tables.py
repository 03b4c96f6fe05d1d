"""The two tables of rows that stand on one ground: methods side by side, and CMPO's mechanisms by losses."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, Literal

from pluralign.comparison.compare import Comparison
from pluralign.comparison.entry import Entry, entries_of, made
from pluralign.comparison.ground import FileGround, LabGround
from pluralign.comparison.options import CompareOptions
from pluralign.comparison.publish import Publication
from pluralign.errors import ConfigError

TRIAL = "A trial: every training was cut to {} steps, so that the numbers say nothing about the methods."
MECHANISMS = (
    "The best cell within the budget is bold; preference-only rows are given comparisons of the same replies, no score."
)


def publish(options: CompareOptions, command: str) -> dict[str, Any]:
    """Do the rows and write the page. Raises ConfigError for options that do not go together."""
    lab = options.data is None
    if not lab:
        options.needs_data()
    if options.table == "mechanism_loss":
        if not lab:
            raise ConfigError("mechanism_loss is a table of the lab; leave --data out")
        entries, title, notes = list(mechanism_loss(options.max_steps)), "Mechanisms and losses of CMPO", [MECHANISMS]
    else:
        entries, title, notes = entries_of(options.methods, lab, options.max_steps), "Methods side by side", []
    keys = [entry.key for entry in entries]
    baseline = options.baseline or next((key for key in ("cmpo", "head-regression") if key in keys), "")
    if options.max_steps is not None:
        notes.append(TRIAL.format(options.max_steps))
    comparison = Comparison(
        entries=tuple(entries),
        ground=_ground(options),
        work=options.work,
        seeds=tuple(range(options.seeds)),
        budget=options.budget,
        jobs=options.jobs,
        again=options.again,
    )
    where = {"comparison": comparison, "page": options.page, "title": title, "command": command}
    return Publication(**where, baseline=baseline, notes=tuple(notes)).publish()  # type: ignore[arg-type]


def _ground(options: CompareOptions) -> LabGround | FileGround:
    if options.data is None:
        first, other = options.replies or (8, 4)
        return LabGround(pool=options.pool, split=options.split, one_hot_each=first, other_each=other)
    first, other = options.replies or (2, 1)
    return FileGround(
        data=str(options.data),
        model=options.model,
        scorer=options.scorer or "",
        reader=options.reader,
        prompts=options.prompts,
        one_hot_each=first,
        other_each=other,
        max_new_tokens=options.max_new_tokens,
        device=options.device,
    )


Where = Literal["head", "attention", "all"]
STEPS: dict[Where, int] = {"head": 300, "attention": 100, "all": 70}
RATES: dict[Where, float] = {"head": 5e-3, "attention": 3e-3, "all": 2e-3}
LOSSES = ("cDPO", "regression", "preference-only")


def mechanism_loss(max_steps: int | None = None) -> Iterator[Entry]:
    """Nine rows: where the objectives' changes stand, by what is learnt.

    cDPO learns who is better under drawn weights, and the regression by how much, both from ratings; preference-only is
    what the default does with comparisons (a linear reward model, then the regression). Equal budget: a step below the
    head costs several times one of the head, whose trunk is frozen and read once, so these cells have fewer steps. Each
    mechanism has a learning rate of its own.
    """
    for where, loss in product(STEPS, LOSSES):
        raters: Any = "comparisons" if loss == "preference-only" else "noisy"
        yield made(f"{where}, {loss}", "cmpo", lambda: _cell(where, loss), max_steps=max_steps, raters=raters)  # noqa: B023


def _cell(where: Where, loss: str) -> Any:
    from pluralign.losses.dpo import CDPO
    from pluralign.losses.regression import Regression
    from pluralign.methods.cmpo import Cmpo
    from pluralign.steering.plural import PluralSteering
    from pluralign.training.optim import Optim

    return Cmpo(
        loss=CDPO(beta=0.25, label_smoothing=0.1) if loss == "cDPO" else Regression(tau=0.2),
        optim=Optim(steps=STEPS[where], lr=3e-4, head_lr=RATES[where], weight_decay=0.5),
        steering=PluralSteering(where=where),
    )
