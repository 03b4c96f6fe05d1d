"""Views: what records look like to a training library, as plain rows; the names that `data convert --to` knows.

A view is `view(records, objectives, options) -> Iterator[row]`. Rows of a view all have the same keys, so that they
also fit into a table. The conversions behind them (`conversions/`) are the mathematics; `view_rows` and
`view_examples` write their groups as rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pluralign.data import view_examples, view_rows
from pluralign.data.conversions.feedback_words import QUALITY
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.errors import ConfigError

Row = dict[str, Any]
Options = Mapping[str, Any]
Rows = Callable[[Iterable[Record], Sequence[Objective], Options], Iterator[Row]]


@dataclass(frozen=True, slots=True)
class View:
    """One view. `defaults` are its options; `passes` says how often it reads the records (2: no one-way iterator)."""

    name: str
    about: str
    paper: str
    rows: Rows
    defaults: Mapping[str, Any] = field(default_factory=dict)
    passes: int = 1

    def __call__(
        self, records: Iterable[Record], objectives: Sequence[Objective], options: Options | None = None
    ) -> Iterator[Row]:
        """The rows, streamed. Options that are given as text are read as the type of their default.

        Raises ConfigError for an unknown option, or for records that cannot be read twice where that is needed.
        """
        if self.passes > 1 and isinstance(records, Iterator):
            raise ConfigError(f"the view {self.name} reads the records twice: give a list or a Dataset, no iterator")
        return self.rows(records, objectives, self._settled(options or {}))

    def _settled(self, options: Options) -> Options:
        unknown = sorted(set(options) - set(self.defaults))
        if unknown:
            allowed = ", ".join(self.defaults) or "none"
            raise ConfigError(f"the view {self.name} has no option {', '.join(unknown)}; allowed are: {allowed}")
        return {
            **self.defaults,
            **{name: read_option(name, value, self.defaults[name]) for name, value in options.items()},
        }


def read_option(name: str, value: Any, default: Any) -> Any:
    """A value as it is, or its text read as the type of the default."""
    if not isinstance(value, str) or isinstance(default, str):
        return value
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[value.lower()]
        if isinstance(default, tuple):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return type(default)(value)
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{name} is a {type(default).__name__} such as {default!r}, got {value!r}") from error


_TALK = {"conversational": True}
_ALL = (
    View(
        "power-set",
        "a pair for each set of objectives on which a reply is better",
        "CMPO, Manyika 2024, eq. 3.2",
        view_rows.power_set_rows,
        {"net_margin": True, **_TALK},
    ),
    View(
        "min-margin",
        "the power set's pairs, those that differ enough on every objective of the set",
        "after the ties of CMPO, Manyika 2024",
        view_rows.min_margin_rows,
        {"least": 0.0, "best_only": True, **_TALK},
    ),
    View(
        "one-hot",
        "a pair for each objective that tells two replies apart",
        "CMPO, Manyika 2024, variant (i); MOD, arXiv 2406.18853",
        view_rows.one_hot_rows,
        _TALK,
    ),
    View(
        "rankings",
        "a pair for each two replies that people ranked",
        "InstructGPT, arXiv 2203.02155",
        view_rows.ranking_rows,
        {"pairs": "all", **_TALK},
    ),
    View(
        "reward-augmented",
        "each pair twice, under the better reply's scores and under the worse one's",
        "RAD, arXiv 2410.08067",
        view_examples.reward_augmented_rows,
        {"template": "{prompt}\n\nAnswer so that it scores {condition}.", **_TALK},
    ),
    View(
        "unpaired",
        "single replies that are wanted or not (source: thumbs, votes, scores, comparisons)",
        "KTO, arXiv 2402.01306",
        view_examples.unpaired_rows,
        {"source": "thumbs", "threshold": 0.5, **_TALK},
    ),
    View(
        "rating-strings",
        "each reply under its ratings as 'helpfulness:4,correctness:3'",
        "SteerLM, arXiv 2310.05344",
        view_examples.rating_string_rows,
        {"order": (), "levels": 0, "template": "{prompt}\n{condition}", **_TALK},
    ),
    View(
        "feedback-words",
        "each reply under the word of its quantile, per prompt or global",
        "ALT, EMNLP 2024; Quark, arXiv 2205.13636",
        view_examples.feedback_word_rows,
        {"weights": "", "words": QUALITY, "scope": "prompt", "ties": "share", "rule": "paper",
         "template": "{condition} input: {prompt}", **_TALK},
        passes=2,
    ),
    View(
        "reward-prefix",
        "each reply under its standardised rewards as '<rm1_score> 0.7'",
        "RiC, arXiv 2402.10207",
        view_examples.reward_prefix_rows,
        {"order": (), "template": "{prompt} {condition}", **_TALK},
        passes=2,
    ),
)  # fmt: skip
_VIEWS = {view.name: view for view in _ALL}


def find(name: str) -> View:
    """The view of this name. Raises ConfigError naming all of them."""
    if name not in _VIEWS:
        raise ConfigError(f"unknown view {name!r}; known are: {', '.join(_VIEWS)}")
    return _VIEWS[name]


def names() -> tuple[str, ...]:
    """The names of all views."""
    return tuple(_VIEWS)
