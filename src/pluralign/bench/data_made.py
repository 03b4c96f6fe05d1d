"""Rated replies in any number, for the bench of data: our record file, and flat rows in the columns of HelpSteer2.

Texts are pieces of one long text of made-up words, about 150 characters a reply; ratings are whole numbers on 0..4.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from pluralign.data import lines

OBJECTIVES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
HIGHEST = 4
REPLIES = 4
"""Replies of a prompt."""
_REPLY, _PROMPT, _TEXT = 150, 80, 1_000_000
_LETTERS = "etaoinshrdlucmfwypvbgk"


def write_records(path: str | Path, responses: int, seed: int = 0) -> int:
    """Write `responses` rated replies, four to a prompt, as our record file; returns the number of prompts."""
    declared = [{"name": name, "low": 0, "high": HIGHEST} for name in OBJECTIVES]
    header = {"pluralign": "records", "format_version": 2, "objectives": declared, "licence": None, "source": "made up"}

    def rows() -> Iterator[bytes]:
        yield lines.dump(header)
        for num, (prompt, replies) in enumerate(_prompts(responses, seed)):
            rated = [{"text": text, "scores": dict(zip(OBJECTIVES, marks, strict=True))} for text, marks in replies]
            yield lines.dump(
                {"messages": [{"role": "user", "content": prompt}], "responses": rated, "id": f"made-{num}"}
            )

    return lines.write(path, rows()) - 1


def write_flat(path: str | Path, responses: int, seed: int = 0) -> int:
    """Write the same replies one to a row, in the columns of HelpSteer2; returns the number of rows."""
    return lines.write(
        path,
        (
            lines.dump({"prompt": prompt, "response": text, **dict(zip(OBJECTIVES, marks, strict=True))})
            for prompt, replies in _prompts(responses, seed)
            for text, marks in replies
        ),
    )


def _prompts(responses: int, seed: int) -> Iterator[tuple[str, list[tuple[str, list[int]]]]]:
    """Prompts with (reply, ratings), whatever is left over in the last one."""
    rng = random.Random(seed)
    text = " ".join("".join(rng.choices(_LETTERS, k=rng.randint(1, 9))) for _ in range(_TEXT // 6))
    for start in range(0, responses, REPLIES):
        replies = []
        for _ in range(min(REPLIES, responses - start)):
            marks = [int(rng.random() * (HIGHEST + 1)) for _ in OBJECTIVES]
            replies.append((_piece(rng, text, _REPLY), marks))
        yield _piece(rng, text, _PROMPT), replies


def _piece(rng: random.Random, text: str, length: int) -> str:
    start = int(rng.random() * (len(text) - 2 * length))
    return text[start : start + length + int(length * (rng.random() - 0.5))]
