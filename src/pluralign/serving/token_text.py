"""What a single token is called in log-probabilities, and its bytes.

A token that is text goes by its text, as it reads at its place in the reply; one that is part of a character (of a
byte-level vocabulary, or one with tokens for single bytes) by its bytes, written as `\\xe2\\x82`; one that is no text
by its name in the vocabulary.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, NamedTuple

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class TokenText(NamedTuple):
    """`text` as people read it, and the UTF-8 `data` that it adds to the reply (part of a character, or none)."""

    text: str
    data: bytes


class Speller:
    """Names the tokens of one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._special = frozenset(tokenizer.all_special_ids)
        self._alphabet = _byte_alphabet() if _byte_level(tokenizer) else {}
        self.raw = lru_cache(maxsize=65536)(self._raw)

    def spell(self, token: int, piece: str) -> TokenText:
        """`piece` is what the token adds to the text at its place."""
        data = self.raw(token)
        if data is None:
            return TokenText(piece, piece.encode()) if piece else TokenText(self._name(token), b"")
        try:
            return TokenText(data.decode() or self._name(token), data)
        except UnicodeDecodeError:
            return TokenText("".join(f"\\x{byte:02x}" for byte in data), data)

    def _raw(self, token: int) -> bytes | None:
        """The bytes of a token that stands for bytes, nothing for one that is never written; None: its text has them."""
        if token in self._special:
            return b""
        name = self._name(token)
        single = _BYTE.fullmatch(name)
        if single:
            return bytes([int(single[1], 16)])
        if not self._alphabet:
            return None
        if all(character in self._alphabet for character in name):
            return bytes(self._alphabet[character] for character in name)
        return None  # an added token, which stands for itself

    def _name(self, token: int) -> str:
        """The token's name in the vocabulary; ids beyond it (padding of the head) have none."""
        name = self._tokenizer.convert_ids_to_tokens(token)
        return name if isinstance(name, str) else f"<{token}>"


def _byte_level(tokenizer: Any) -> bool:
    """Whether the vocabulary writes bytes as the letters of GPT-2's alphabet."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.decoder is None:
        return False
    decoder = json.loads(backend.to_str())["decoder"]
    parts = decoder.get("decoders", [decoder])
    return any(part["type"] == "ByteLevel" for part in parts)


def _byte_alphabet() -> dict[str, int]:
    """Letter -> byte: printable bytes stand for themselves, the others for the letters from U+0100 on, in order."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {**{chr(byte): byte for byte in printable}, **{chr(0x100 + n): byte for n, byte in enumerate(others)}}
