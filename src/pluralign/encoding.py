"""Encoding: the only place where messages, a condition and a response become token ids.

Three laws. (1) Prompt and response are encoded apart, everywhere, so that training, sampling, evaluation and the
server see the same ids. (2) Pieces of the template are read with special tokens, people's text never is
(`split_special_tokens=True`): a user can forge neither an end token nor a steering string. (3) The condition stands
outside the user's turn: a message of role "condition", which only a steering writes, opens the system turn (between
the steering's bracket tokens where it has any).

A chat template is applied to sentinels in place of the texts; what stands between the sentinels are its pieces.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from pluralign.data.check import ROLES
from pluralign.data.record import Message
from pluralign.errors import ConfigError, DataError, ModelError

CONDITION = "condition"
PROMPT_SEGMENT, CONDITION_SEGMENT = 0, 1

TEMPLATES = {
    "plain": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
    "dialogue": (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }}"
        "{% else %}\n\n{{ 'Human' if m['role'] == 'user' else 'Assistant' }}: {{ m['content'] }}{% endif %}"
        "{% endfor %}\n\nAssistant:"
    ),
    "thesis": (
        "{% for m in messages %}{% if m['role'] == 'assistant' %}<extra_id_1>Assistant\n{{ m['content'] }}\n"
        "{% else %}<extra_id_0>{{ 'System' if m['role'] == 'system' else 'User' }}\n{{ m['content'] }}\n{% endif %}"
        "{% endfor %}<extra_id_1>Assistant{{ '\n' }}"
    ),
}
"""Templates for models without one: 'plain' is {prompt}{response}; 'thesis' is the CMPO thesis' (methods.md A1).

Where a template's marks are ordinary words ('dialogue': "Human:"), a text that holds them cannot be told from a turn.
"""

_Roles = tuple[tuple[str, str], ...]
_SENTINEL = re.compile("\ue000(\\d+)\ue001")
KEPT_TURNS, KEPT_LETTERS = 64, 8192
"""Dialogues up to this size are kept encoded, for they come back, and of longer ones the last few: a server's memory is
not for the longest of strangers."""
_READING = threading.Lock()
"""Whether special tokens are split is a switch of the tokenizer, not of the call: two threads must not read at once."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids of a prompt and, for each, its segment (0 prompt, 1 condition)."""

    ids: tuple[int, ...]
    segments: tuple[int, ...]


class Encoder:
    """Tokenizer + template + length limit.

    `template` is None (the tokenizer's own chat template, else 'plain'), a name in TEMPLATES, or a jinja text.
    `brackets` enclose a condition; `marks` are the tokens that stand for themselves in one, by their text: a steering
    sets both before anything is encoded. `max_length` counts prompt and response tokens together. `truncate='left'` cuts the prompt from the left (never
    the begin token, the condition or the response); 'reject' refuses what does not fit.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: str | None = None,
        max_length: int | None = None,
        truncate: Literal["left", "reject"] = "left",
    ) -> None:
        if truncate not in ("left", "reject"):
            raise ConfigError(f"truncate is 'left' or 'reject', got {truncate!r}")
        if max_length is not None and max_length < 2:
            raise ConfigError(f"max_length must be at least 2 tokens, got {max_length}")
        if tokenizer.eos_token_id is None:
            raise ModelError("the tokenizer has no end token (eos_token); set one in its tokenizer_config.json")
        self.tokenizer, self.max_length, self.truncate = tokenizer, max_length, truncate
        self.template = template
        self.end_id: int = tokenizer.eos_token_id
        self.brackets: tuple[int, int] | None = None
        self.marks: dict[str, int] = {}
        special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
        self._forbidden = (special | set(tokenizer.all_special_ids)) - {tokenizer.unk_token_id}
        self._plain = _decodes_plainly(tokenizer)
        self.template_text = self._template_text()
        self._start = self._start_ids()
        self._pieces = lru_cache(maxsize=256)(self._read_pieces)
        self._template_ids = lru_cache(maxsize=256)(self._read_template)
        self._dialogue = lru_cache(maxsize=4096)(self._encode_dialogue)  # a prompt comes back with each of its replies
        self._long_dialogue = lru_cache(maxsize=4)(self._encode_dialogue)

    def _template_text(self) -> str:
        if self.template is None:
            return self.tokenizer.get_chat_template() if self.tokenizer.chat_template else TEMPLATES["plain"]
        if self.template in TEMPLATES:
            return TEMPLATES[self.template]
        if "{" not in self.template:
            raise ConfigError(f"unknown template {self.template!r}; allowed: {sorted(TEMPLATES)} or a jinja text")
        return self.template

    def _start_ids(self) -> list[int]:
        """The begin token, where the tokenizer prepends one and the template does not write it itself."""
        begin = self.tokenizer.bos_token_id
        writes_it = "bos_token" in self.template_text or (self.tokenizer.bos_token or "\0") in self.template_text
        if begin is None or writes_it:
            return []
        return [begin] if self.tokenizer("a").input_ids[:1] == [begin] else []

    def config(self) -> dict[str, Any]:
        """What a policy folder keeps to rebuild this encoder beside its tokenizer."""
        return {"template": self.template, "max_length": self.max_length, "truncate": self.truncate}

    def chat_template(self) -> str:
        """The template for programs that only know a tokenizer's chat template: it writes the begin token itself."""
        return ("{{ bos_token }}" if self._start else "") + self.template_text

    @property
    def condition_ids(self) -> tuple[int, ...]:
        """The tokens that only a condition holds: no reply has them."""
        return (*(self.brackets or ()), *self.marks.values())

    def text_ids(self, text: str) -> list[int]:
        """Ids of a person's text: special tokens in it are spelled out as plain text."""
        with _READING:
            ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False).input_ids
        forbidden = self._forbidden.union(self.condition_ids)
        if forbidden.isdisjoint(ids):
            return list(ids)
        # A vocabulary of whole words may hold "</s>" as a word of its own: unknown here, or left out.
        unknown = [] if self.tokenizer.unk_token_id is None else [self.tokenizer.unk_token_id]
        return [kept for number in ids for kept in (unknown if number in forbidden else [number])]

    def prompt(self, messages: Sequence[Message]) -> Prompt:
        """Ids of a dialogue up to where the assistant answers, at least one. ModelError if the template refuses it."""
        told = tuple(messages)
        if len(told) > KEPT_TURNS or sum(len(message.content) for message in told) > KEPT_LETTERS:
            return self._long_dialogue(told, self.brackets)
        return self._dialogue(told, self.brackets)

    def _encode_dialogue(self, messages: tuple[Message, ...], brackets: tuple[int, int] | None) -> Prompt:
        roles, texts = _merge_condition(messages)
        ids: list[int] = list(self._start)
        segments = [PROMPT_SEGMENT] * len(ids)
        for piece in self._template_pieces(roles, bool(texts) and texts[0].role == CONDITION):
            found = _SENTINEL.fullmatch(piece)
            new, segment = (
                self._slot(texts[int(found[1])]) if found else (list(self._template_ids(piece)), PROMPT_SEGMENT)
            )
            ids += new
            segments += [segment] * len(new)
        if not ids:  # the first token of a response needs one to be predicted from
            begin = self.tokenizer.bos_token_id
            ids, segments = [self.end_id if begin is None else begin], [PROMPT_SEGMENT]
        return Prompt(tuple(ids), tuple(segments))

    def _slot(self, message: Message) -> tuple[list[int], int]:
        if message.role != CONDITION:
            return self.text_ids(message.content), PROMPT_SEGMENT
        ids = self._condition_ids(message.content)
        if self.brackets:
            ids = [self.brackets[0], *ids, self.brackets[1]]
        return ids, CONDITION_SEGMENT

    def _condition_ids(self, text: str) -> list[int]:
        """Ids of a condition's text: marks are one token each, what stands between them is text."""
        if not self.marks:
            return self.text_ids(text)
        parts = re.split("(" + "|".join(map(re.escape, self.marks)) + ")", text)
        return [number for part in parts for number in self._part_ids(part)]

    def _part_ids(self, part: str) -> list[int]:
        return [self.marks[part]] if part in self.marks else self.text_ids(part.strip()) if part.strip() else []

    def _read_template(self, piece: str) -> tuple[int, ...]:
        with _READING:
            return tuple(self.tokenizer(piece, add_special_tokens=False).input_ids)

    def _template_pieces(self, roles: _Roles, condition: bool) -> list[str]:
        """The template's fixed pieces and the sentinels of the texts, in order (cached per sequence of roles).

        `condition`: the first turn is (or begins with) a condition. Where the template has no place for a system turn
        that is nothing but the condition, the condition follows the begin token.
        """
        return (self._pieces if len(roles) <= KEPT_TURNS else self._read_pieces)(roles, condition)

    def _read_pieces(self, roles: _Roles, condition: bool) -> list[str]:
        try:
            return self._split(roles)
        except ModelError:
            if not condition or not _SENTINEL.fullmatch(roles[0][1]):
                raise
            return self._after_begin(roles[0][1], self._split(roles[1:]))

    def _after_begin(self, condition: str, pieces: list[str]) -> list[str]:
        begin = self.tokenizer.bos_token or ""
        if not begin or not pieces[0].startswith(begin):
            return [condition, *pieces]
        return [piece for piece in (begin, condition, pieces[0][len(begin) :]) if piece] + pieces[1:]

    def _split(self, roles: _Roles) -> list[str]:
        rendered = self._render([{"role": role, "content": content} for role, content in roles])
        pieces = [piece for piece in re.split("(\ue000\\d+\ue001)", rendered) if piece]
        found = sorted(int(match[1]) for match in map(_SENTINEL.fullmatch, pieces) if match)
        asked = sorted(int(number) for _, content in roles for number in _SENTINEL.findall(content))
        if found != asked:
            raise ModelError(
                f"the chat template drops or repeats a turn of the roles {[role for role, _ in roles]}; "
                "use --template with one that writes each turn once"
            )
        return pieces

    def _render(self, turns: list[dict[str, str]]) -> str:
        try:
            return self.tokenizer.apply_chat_template(
                turns, chat_template=self.template_text, tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # jinja templates raise whatever their authors chose
            roles = [turn["role"] for turn in turns]
            raise ModelError(f"the chat template refuses the roles {roles}: {error}; use --template") from error

    def response(self, text: str, finished: bool = True) -> list[int]:
        """Ids of a reply, with the end token unless it was cut off (`finished=False`)."""
        return self.text_ids(text) + ([self.end_id] if finished else [])

    def fit(self, prompt: Prompt, response_length: int) -> Prompt | None:
        """The prompt, cut from the left where needed to leave room for the response; None if it cannot fit."""
        if self.max_length is None or len(prompt.ids) + response_length <= self.max_length:
            return prompt
        room = self.max_length - response_length
        first = len(self._start) or int(prompt.ids[0] == self.tokenizer.bos_token_id)  # some templates write it
        protected = [i for i, segment in enumerate(prompt.segments) if segment == CONDITION_SEGMENT or i < first]
        if self.truncate == "reject" or room < len(protected) + 1:
            return None
        cuttable = [i for i in range(len(prompt.ids)) if i not in set(protected)]
        kept = sorted(protected + cuttable[len(cuttable) - (room - len(protected)) :])
        return Prompt(tuple(prompt.ids[i] for i in kept), tuple(prompt.segments[i] for i in kept))

    def pair(
        self, messages: Sequence[Message], response: str, finished: bool = True
    ) -> tuple[list[int], list[int]] | None:
        """(prompt ids, response ids) for training and scoring; None where they do not fit (the caller counts)."""
        answer = self.response(response, finished)
        prompt = self.fit(self.prompt(messages), len(answer))
        return None if prompt is None else (list(prompt.ids), answer)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of response ids, special tokens left out."""
        if self._plain:
            return self.tokenizer.backend_tokenizer.decode(list(ids), skip_special_tokens=True)
        return self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)


def _decodes_plainly(tokenizer: Any) -> bool:
    """Whether `decode` is nothing but the backend's, behind tests of its argument that take as long (a server counts)."""
    from transformers import PreTrainedTokenizerFast

    plain = PreTrainedTokenizerFast
    return isinstance(tokenizer, plain) and (type(tokenizer).decode, type(tokenizer)._decode) == (
        plain.decode,
        plain._decode,
    )


def _merge_condition(messages: Sequence[Message]) -> tuple[_Roles, list[Message]]:
    """Roles with sentinel contents, and the messages they stand for; a condition joins the system turn.

    Raises DataError for a role that is none: templates write roles between special tokens.
    """
    for number, message in enumerate(messages):
        if message.role not in ROLES and (message.role != CONDITION or number > 0):
            raise DataError(f"messages[{number}].role must be one of {', '.join(ROLES)}, got {message.role!r:.80}")
    roles: list[tuple[str, str]] = []
    for number, message in enumerate(messages):
        mark = f"\ue000{number}\ue001"
        after_condition = number > 0 and messages[number - 1].role == CONDITION
        if message.role == "system" and after_condition:
            roles[-1] = ("system", roles[-1][1] + "\n\n" + mark)
        else:
            roles.append(("system" if message.role == CONDITION else message.role, mark))
    return tuple(roles), list(messages)
