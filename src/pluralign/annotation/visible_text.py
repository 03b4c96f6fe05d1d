"""Texts of strangers on a terminal: whatever could drive it is shown as a sign instead.

Escape sequences, other control characters, line and paragraph separators and the marks that turn the reading direction
round are made visible; letters of every script, right-to-left ones too, stay as they are.
"""

from __future__ import annotations

import re

_TURNS = "\u202a-\u202e\u2066-\u2069"  # embeddings, overrides and isolates: they reach beyond their own text
_UNSAFE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029{_TURNS}\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with signs for what would not print: ␛ for escape, <U+202E> for a mark. Line feeds and tabs stay."""
    return _UNSAFE.sub(_sign, text.replace("\r\n", "\n"))


def _sign(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)  # the control pictures of Unicode
    return "\u2421" if code == 0x7F else f"<U+{code:04X}>"
