"""Texts that occur more than once: prompts, replies within and across prompts, ids; exactly, or but for small signs.

Texts are compared by 64-bit keys on disk (see `store`); the rough key leaves case, punctuation and white space out.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from pluralign.data.inspect.look import Look, key
from pluralign.data.inspect.store import Store

_SURPLUS = (
    "SELECT count(*), total(num - 1) FROM (SELECT count(*) AS num FROM {table} GROUP BY {columns} HAVING num > 1)"
)
_ACROSS = """SELECT count(*), total(num) FROM
(SELECT count(*) AS num FROM replies GROUP BY reply HAVING count(DISTINCT prompt) > 1)"""
_NEAR_IN_PROMPT = """SELECT count(*), total(num - 1) FROM
(SELECT count(DISTINCT reply) AS num FROM replies GROUP BY prompt_rough, rough HAVING num > 1)"""
_NEAR_ACROSS = """SELECT count(*), total(num) FROM
(SELECT count(*) AS num FROM replies GROUP BY rough
 HAVING count(DISTINCT prompt_rough) > 1 AND count(DISTINCT reply) > 1)"""
_SIGNS = {code: None for code in range(128) if not chr(code).isalnum()}


@dataclass(frozen=True, slots=True)
class Duplicates:
    """`prompts` are different ones, `prompts_roughly` where small signs do not count; the rest is surplus or repeats.

    `repeated_prompts` occur in more than one record (`records_again` records beyond the first of each).
    `in_record`: replies that stand twice in one record; `in_prompt`: the same of all records of a prompt (a table with
    one row per rater has many); `across`: texts that answer more than one prompt, `across_replies` replies in all.
    Variants differ in case, punctuation and white space only: `near_in_prompt` counts those beyond the first of a
    prompt, `near_across` the texts that answer more than one prompt in more than one variant. `ids` occur more than
    once, in `ids_again` records beyond the first. Prompts without words, empty replies and empty ids are left out.
    """

    prompts: int
    prompts_roughly: int
    repeated_prompts: int
    records_again: int
    in_record: int
    in_prompt: int
    near_in_prompt: int
    across: int
    across_replies: int
    near_across: int
    ids: int
    ids_again: int


class Repeats:
    """Writes the keys of texts to the store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.in_record = 0

    def add(self, look: Look) -> None:
        """The texts of one record."""
        record = look.record
        prompt = rough("\n".join(message.content for message in record.messages))
        asked = any(message.content.strip() for message in record.messages)
        keys = (look.prompt, prompt) if asked else (None, None)
        self.store.add("prompts", [(*keys, key(record.id) if record.id else None)])
        told = [(own, response.text) for own, response in zip(look.replies, record.responses, strict=True)]
        rows = [(look.prompt, prompt, own, rough(text)) for own, text in told if text.strip()]
        self.in_record += len(rows) - len({own for _, _, own, _ in rows})
        self.store.add("replies", rows)

    def result(self) -> Duplicates:
        """The counts."""
        prompts, roughly = self.store.one("SELECT count(DISTINCT prompt), count(DISTINCT rough) FROM prompts")
        repeated, again = self._surplus("(SELECT prompt FROM prompts WHERE prompt IS NOT NULL)", "prompt")
        _, in_prompt = self._surplus("replies", "prompt, reply")
        _, near_in_prompt = self._two(_NEAR_IN_PROMPT)
        across, across_replies = self._two(_ACROSS)
        near_across, _ = self._two(_NEAR_ACROSS)
        ids, ids_again = self._surplus("(SELECT id FROM prompts WHERE id IS NOT NULL)", "id")
        return Duplicates(
            prompts, roughly, repeated, again, self.in_record, in_prompt, near_in_prompt,
            across, across_replies, near_across, ids, ids_again,
        )  # fmt: skip

    def _surplus(self, table: str, columns: str) -> tuple[int, int]:
        return self._two(_SURPLUS.format(table=table, columns=columns))

    def _two(self, text: str) -> tuple[int, int]:
        one, two = self.store.one(text)
        return int(one), int(two)


def rough(text: str) -> int:
    """The key of a text without case, punctuation and white space; of the text itself where nothing else is left."""
    if text.isascii():
        return key(text.lower().translate(_SIGNS) or text)
    plain = unicodedata.normalize("NFKC", text).casefold()
    return key("".join(filter(str.isalnum, plain)) or text)
