"""A word-level fast tokenizer that reads and writes ordinary English.

Reading lower-cases and splits words, punctuation and single digits. Writing attaches punctuation, gives a capital
to the first letter of every sentence and to "I", and closes up numbers, so that decode(encode(text)) == text for
every prompt and every grammatical reply. The chat template puts an optional system turn (the place of a condition's
text) before the user's turn; the assistant's turn ends with <eos>.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pluralign.lab.lexicon import sentences, topics, world
from pluralign.lab.prompt_set import prompt_text

if TYPE_CHECKING:
    from tokenizers.decoders import Decoder
    from transformers import PreTrainedTokenizerFast

SYSTEM, USER, ASSISTANT = ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
UNKNOWN, PAD, BEGIN, END = "<unk>", "<pad>", "<bos>", "<eos>"
SPECIAL = (PAD, BEGIN, END, UNKNOWN, *ROLES)
CONTEXT = 192
_TOKEN = re.compile(r"[a-z]+|[^\sa-z]")
CHAT_TEMPLATE = (
    "{{ '<bos>' }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "{{ '<|assistant|>' }}{% generation %}{{ message['content'] + '<eos>' }}{% endgeneration %}"
    "{% elif message['role'] in ['system', 'user'] %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% else %}{{ raise_exception('the lab knows the roles system, user and assistant') }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def _texts() -> Iterator[str]:
    for topic in topics():
        yield from (prompt_text(topic, template) for template in range(len(world()["prompts"])))
        yield from (sentence.text for sentence in sentences(topic))
    words = world()["condition_words"]
    for group in ("signs", "objectives", "levels", "qualities", "frames"):
        yield from words[group]


def vocabulary() -> list[str]:
    """Every token in the order of its id: special, spare, signs and digits, words (alphabetical)."""
    tokens = {token for text in _texts() for token in _TOKEN.findall(text.lower())} | set(string.digits)
    words = sorted(token for token in tokens if token.isalpha())
    signs = sorted(token for token in tokens if not token.isalpha())
    return [*SPECIAL, *spare_tokens(), *signs, *words]


def spare_tokens() -> list[str]:
    """Tokens without a meaning yet, for methods that add their own."""
    return [f"<spare{number}>" for number in range(world()["num_spare_tokens"])]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The lab's tokenizer; deterministic."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    identifiers = {token: number for number, token in enumerate(vocabulary())}
    tokenizer = Tokenizer(models.WordLevel(identifiers, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(),
        pre_tokenizers.Punctuation("isolated"),
        pre_tokenizers.Digits(individual_digits=True),
    ])  # fmt: skip
    tokenizer.decoder = _decoder()
    make: Any = PreTrainedTokenizerFast
    built: PreTrainedTokenizerFast = make(
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN, pad_token=PAD, bos_token=BEGIN, eos_token=END,
        additional_special_tokens=[*ROLES, *spare_tokens()],
        chat_template=CHAT_TEMPLATE, model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False, padding_side="left",
    )  # fmt: skip
    return built


def _decoder() -> Decoder:
    from tokenizers import Regex, decoders

    def rewrite(pattern: str, replacement: str) -> Decoder:
        return decoders.Replace(Regex(pattern), replacement)

    capitals = [rewrite(rf"(?<=\A|[.!?] ){letter}", letter.upper()) for letter in string.ascii_lowercase]
    steps: list[Decoder] = [
        decoders.WordPiece(prefix="##", cleanup=False),  # puts a space before every token but the first
        decoders.Fuse(),
        rewrite(r" (?=[.,!?:;%)\]])|(?<=[(\[]) ", ""),
        rewrite(r"(?<=\d) (?=\d)|(?<=\d\.) (?=\d)", ""),
        rewrite(r" (?==)|(?<=[=@]) ", ""),
        rewrite(r"(?<==-|: -|, -) (?=\d)", ""),
        *capitals,
        rewrite(r"\bi\b", "I"),
    ]
    return decoders.Sequence(steps)
