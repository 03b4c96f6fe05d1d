"""From records to the rows of a TRL dataset: the inverse of trl_read, and a count of what TRL has no column for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from pluralign.data.record import Comparison, Record
from pluralign.data.trl_columns import CORE, NOTES
from pluralign.data.trl_read import STEP_LABEL, STEP_SEPARATOR
from pluralign.errors import DataError

Row = dict[str, Any]


class Writer:
    """Rows of one format; `left_out` counts, by kind, what was in the records and is in no row."""

    def __init__(self, name: str, conversational: bool) -> None:
        self.name, self.conversational = name, conversational
        self.left_out: Counter[str] = Counter()
        self._of_record: dict[str, Callable[[Record], Iterator[Row]]] = {
            "language_modeling": self._language_modeling,
            "prompt_only": self._prompt_only,
            "prompt_completion": self._prompt_completion,
            "preference": self._preference,
            "preference_implicit": self._preference,
            "unpaired_preference": self._unpaired,
            "stepwise_supervision": self._stepwise,
        }

    def rows(self, record: Record) -> Iterator[Row]:
        """The rows of one record, none if it has nothing of this kind. Raises DataError for several prompt turns
        in the standard format."""
        self._note(record)
        extra = {key: value for key, value in record.extra.items() if key not in CORE and key != NOTES}
        extra = extra | ({"id": record.id} if record.id else {})
        num = 0
        for row in self._of_record[self.name](record):
            num += 1
            yield row | {key: value for key, value in extra.items() if key not in row}
        if not num:
            self.left_out[f"record without anything for {self.name}"] += 1

    def _note(self, record: Record) -> None:
        lost = {f"extra column {key}": 1 for key in record.extra if key in CORE}
        lost |= {"ranking": len(record.rankings)}
        if not self.name.startswith("preference"):
            lost |= {"comparison": len(record.comparisons)}
        for response in record.responses:
            lost_here = {
                "score": len(response.scores),
                "rating": len(response.ratings),
                "comment": len(response.comments),
                "condition": int(response.condition is not None),
                "thumb": int(response.thumb is not None and self.name != "unpaired_preference"),
                "span": 0 if self.name == "stepwise_supervision" else len(response.spans),
                "reply": int(self.name == "prompt_only"),
                "extra of a response": int(bool(response.extra)),
            }
            self.left_out.update({kind: num for kind, num in lost_here.items() if num})
        self.left_out.update({kind: num for kind, num in lost.items() if num})

    def _language_modeling(self, record: Record) -> Iterator[Row]:
        if not self.conversational:
            yield from ({"text": _prompt(record) + response.text} for response in record.responses)
        elif not record.responses:
            yield {"messages": _turns(record)}
        for place in range(len(record.responses) if self.conversational else 0):
            yield {"messages": [*_turns(record), _reply(record, place)]}

    def _prompt_only(self, record: Record) -> Iterator[Row]:
        yield {"prompt": _turns(record) if self.conversational else _prompt(record)}

    def _prompt_completion(self, record: Record) -> Iterator[Row]:
        yield from (self._prompted(record, {"completion": place}) for place in range(len(record.responses)))

    def _preference(self, record: Record) -> Iterator[Row]:
        for comparison in record.comparisons:
            if comparison.outcome in ("tie", "abstain"):
                self.left_out[f"comparison with outcome {comparison.outcome}"] += 1
                continue
            pair = (comparison.first, comparison.second)
            chosen, rejected = pair if comparison.outcome == "first" else pair[::-1]
            yield self._prompted(record, {"chosen": chosen, "rejected": rejected}) | _judgement(comparison)

    def _unpaired(self, record: Record) -> Iterator[Row]:
        for place, response in enumerate(record.responses):
            if response.thumb is not None:
                yield self._prompted(record, {"completion": place}) | {"label": response.thumb == "up"}

    def _stepwise(self, record: Record) -> Iterator[Row]:
        for response in record.responses:
            steps = [span for span in response.spans if span.label == STEP_LABEL]
            texts = [response.text[span.start : span.end] for span in steps]
            if steps and STEP_SEPARATOR.join(texts) == response.text:
                labels = [None if span.score is None else span.score > 0.5 for span in steps]
                yield next(self._prompt_only(record)) | {"completions": texts, "labels": labels}

    def _prompted(self, record: Record, replies: dict[str, int]) -> Row:
        """The prompt column (unless implicit) and one column per reply, by the reply's place in the record."""
        implicit = self.name == "preference_implicit"
        if not self.conversational:
            before = _prompt(record) if implicit else ""
            texts: Row = {column: before + record.responses[place].text for column, place in replies.items()}
            return texts if implicit else {"prompt": _prompt(record)} | texts
        turns = _turns(record)
        noted = _notes(record).get("prompt_turns")
        num = 0 if implicit else noted if isinstance(noted, int) else len(turns)
        row: Row = {} if implicit else {"prompt": turns[:num]}
        return row | {column: [*turns[num:], _reply(record, place)] for column, place in replies.items()}


def _prompt(record: Record) -> str:
    if len(record.messages) != 1 or record.messages[0].role != "user":
        raise DataError(
            f"the standard (text) format holds one user turn, this prompt has {len(record.messages)} turns; "
            "write it with conversational=True"
        )
    return record.messages[0].content


def _notes(record: Record) -> dict[str, Any]:
    notes = record.extra.get(NOTES)
    return notes if isinstance(notes, dict) else {}


def _turns(record: Record) -> list[Row]:
    if _notes(record).get("no_prompt"):
        return []
    return [_turn(record, place, message.role, message.content) for place, message in enumerate(record.messages)]


def _reply(record: Record, place: int) -> Row:
    return _turn(record, len(record.messages) + place, "assistant", record.responses[place].text)


def _turn(record: Record, place: int, role: str, content: str) -> Row:
    fields = _notes(record).get("fields")
    further = fields.get(str(place)) if isinstance(fields, dict) else None
    return {"role": role, "content": content} | (further if isinstance(further, dict) else {})


def _judgement(comparison: Comparison) -> Row:
    objective = {} if comparison.objective is None else {"objective": comparison.objective}
    return objective | ({} if comparison.strength is None else {"margin": comparison.strength})
