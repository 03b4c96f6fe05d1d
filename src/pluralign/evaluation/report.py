"""Report: a frozen value of one evaluation that renders itself as JSON, as a page, as pictures and as a table.

The schema of `report.json` is in docs/report.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pluralign import storage
from pluralign.data.objective import Objective, unique
from pluralign.errors import DataError
from pluralign.evaluation.card import Card, report_card
from pluralign.evaluation.replies import shown_replies
from pluralign.evaluation.rows import plain
from pluralign.evaluation.samples import Samples
from pluralign.evaluation.utility import Yardstick

if TYPE_CHECKING:
    from rich.table import Table

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Report:
    """One evaluation.

    `replies`: sample replies side by side; `preferences`: accuracy per objective on preference data
    (`accuracy.accuracy_table`); `about`: what was evaluated and how (model, method, seeds, sizes, command ...), any
    JSON-able values, shown as they are.
    """

    title: str
    objectives: tuple[Objective, ...]
    card: Card
    replies: Sequence[Mapping[str, Any]] = ()
    preferences: Sequence[Mapping[str, Any]] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The content of report.json: plain values, no NaN."""
        found: dict[str, Any] = plain(
            {
                "format_version": FORMAT_VERSION,
                "title": self.title,
                **self.card.to_json(),
                "objectives": [objective.to_json() for objective in self.objectives],
                "preferences": list(self.preferences),
                "replies": list(self.replies),
                "about": dict(self.about),
            }
        )
        return found

    @classmethod
    def from_json(cls, value: Any, path: str | Path = "report.json") -> Report:
        """The inverse of `to_json`. FormatVersionError for a newer file; DataError names what is wrong, and where."""
        if not isinstance(value, Mapping):
            raise DataError(f"a report is an object, got {type(value).__name__}", path=path)
        storage.check_format_version(value.get("format_version"), FORMAT_VERSION, path)
        kinds = {"title": str, "objectives": list, "preferences": list, "replies": list, "about": Mapping}
        for name, kind in kinds.items():
            if not isinstance(value.get(name), kind):
                raise DataError(f"{name} must be a {kind.__name__}, got {value.get(name)!r}", path=path)
        try:
            objectives = unique([Objective.from_json(item) for item in value["objectives"]])
            card = Card.from_json(value)
        except DataError as error:
            raise DataError(error.reason, path=path) from error
        return cls(value["title"], objectives, card, value["replies"], value["preferences"], value["about"])

    @classmethod
    def load(cls, path: str | Path) -> Report:
        """Read a report.json, or the folder that holds it."""
        file = Path(path) / "report.json" if Path(path).is_dir() else Path(path)
        return cls.from_json(storage.read_json(file), file)

    def write(self, folder: str | Path) -> list[Path]:
        """Write report.json, report.html and the pictures into `folder`, each whole or not at all; their paths."""
        from pluralign.evaluation import page, plots

        target = Path(folder)
        # The numbers first: drawing takes longer, and a place that cannot be written shows at once.
        storage.write_json(target / "report.json", self.to_json())
        files: dict[str, str | bytes] = {"report.html": page.page(self), **plots.pictures(self)}
        for name, content in files.items():
            storage.atomic_write(target / name, content)
        return [target / name for name in ("report.json", *files)]

    def table(self) -> Table:
        """The card for a terminal (rich)."""
        from pluralign.evaluation.terminal import card_table

        return card_table(self)


def report(
    samples: Samples,
    title: str,
    yardstick: Yardstick | None = None,
    about: Mapping[str, Any] | None = None,
    preferences: Sequence[Mapping[str, Any]] = (),
    resamples: int = 500,
    seed: int = 0,
) -> Report:
    """Compute a report from samples: the card (see `card.report_card`) and a few sample replies."""
    card = report_card(samples, yardstick, resamples, seed)
    settings = {**(about or {}), "bootstrap_resamples": resamples, "bootstrap_seed": seed}
    return Report(title, samples.objectives, card, shown_replies(samples), preferences, settings)
