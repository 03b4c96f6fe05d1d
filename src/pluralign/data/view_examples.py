"""Single replies as rows: under a condition that is written into the prompt (SFT), or wanted and unwanted ones (KTO).

`template` says how prompt and condition become the last user turn: a text with {prompt} and {condition}; an empty one
leaves the prompt alone. The condition stands in a column of its own besides.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pluralign.data.condition import Condition, Feedback, Weights, parse
from pluralign.data.conversions.feedback_words import feedback_words
from pluralign.data.conversions.rating_strings import linearise, ordered, quantised, rating_strings
from pluralign.data.conversions.reward_augmented import reward_augmented
from pluralign.data.conversions.reward_prefix import fit, reward_prefixes
from pluralign.data.conversions.unpaired import unpaired
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import Message, Record
from pluralign.data.view_rows import prompt, reply
from pluralign.errors import ConfigError, DataError

Row = dict[str, Any]
Options = Mapping[str, Any]


def rating_string_rows(records: Iterable[Record], objectives: Sequence[Objective], options: Options) -> Iterator[Row]:
    """Rows of `rating_strings`, in the `order` of names that is given; `levels` as there."""
    chosen = ordered(objectives, options["order"])
    for record in records:
        texts = [values for each in record.responses if (values := quantised(each, chosen, options["levels"]))]
        for group, values in zip(rating_strings(record, chosen, options["levels"]), texts, strict=True):
            yield _conditioned(group, linearise(values), options)


def feedback_word_rows(records: Iterable[Record], objectives: Sequence[Objective], options: Options) -> Iterator[Row]:
    """Rows of `feedback_words`; `weights` as a text ("helpful=1"; empty: all alike), the others as there."""
    weights = parse(options["weights"]) if options["weights"] else None
    if weights is not None and not isinstance(weights, Weights):
        raise ConfigError(f"weights are written 'helpful=0.7,brief=0.3', got {options['weights']!r}")
    settings = {name: options[name] for name in ("words", "scope", "ties", "rule")}
    for group in feedback_words(records, objectives, weights, **settings):
        (asked,) = group.conditions
        yield _conditioned(group, asked.text if isinstance(asked, Feedback) else "", options)


def reward_prefix_rows(records: Iterable[Record], objectives: Sequence[Objective], options: Options) -> Iterator[Row]:
    """Rows of `reward_prefixes`, under the statistics of all records, of the objectives and in the `order` given."""
    scale = fit(records, ordered(objectives, options["order"]))
    for record in records:
        for group, text in reward_prefixes(record, scale):
            yield _conditioned(group, text, options)


def reward_augmented_rows(
    records: Iterable[Record], objectives: Sequence[Objective], options: Options
) -> Iterator[Row]:
    """Rows of `reward_augmented`: chosen and rejected under a goal."""
    for record in records:
        for group in reward_augmented(record, objectives):
            for preference in group.preferences:
                text = _plain(group.conditions[preference.condition])
                yield {
                    "prompt": prompt(_written(group.messages, text, options["template"]), options["conversational"]),
                    "chosen": reply(group.responses[preference.chosen], options["conversational"]),
                    "rejected": reply(group.responses[preference.rejected], options["conversational"]),
                    "condition": text,
                    "margin": preference.margin,
                    "id": group.id,
                }


def unpaired_rows(records: Iterable[Record], objectives: Sequence[Objective], options: Options) -> Iterator[Row]:
    """Rows of `unpaired` (prompt, completion, label); the objective is None for an overall judgement."""
    for record in records:
        for example in unpaired(record, objectives, options["source"], options["threshold"]):
            yield {
                "prompt": prompt(record.messages, options["conversational"]),
                "completion": reply(record.responses[example.reply].text, options["conversational"]),
                "label": example.label,
                "objective": example.objective,
                "id": record.id,
            }


def _plain(condition: Condition | None) -> str:
    return "" if condition is None else str(condition)


def _conditioned(group: Group, text: str, options: Options) -> Row:
    return {
        "prompt": prompt(_written(group.messages, text, options["template"]), options["conversational"]),
        "completion": reply(group.responses[0], options["conversational"]),
        "condition": text,
        "id": group.id,
    }


def _written(messages: Sequence[Message], condition: str, template: str) -> tuple[Message, ...]:
    """The dialogue with the condition in its last turn."""
    if not template:
        return tuple(messages)
    if template.count("{prompt}") != 1 or template.count("{condition}") != 1:
        raise ConfigError(f"a template holds {{prompt}} and {{condition}} once each, got {template!r}")
    last = messages[-1]
    if last.role != "user":
        raise DataError(f"a condition is written into the last user turn; this dialogue ends with {last.role}")
    # the condition first: the people's text may itself say {condition}
    before, _, after = template.replace("{condition}", condition).partition("{prompt}")
    return (*messages[:-1], dataclasses.replace(last, content=before + last.content + after))
