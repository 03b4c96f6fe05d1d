"""Which words of a column mean the first, the second, or neither: labels of pairs and thumbs, in everybody's own code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pluralign.data.strict import fail
from pluralign.errors import ConfigError, DataError

Side = Literal["first", "second", "tie", "abstain"]
_DECLINED = {"n/a", "na", "none", "nan", "null", "-", ""}
_TIES = {"tie", "tied", "draw", "both", "equal", "same", "neither", "both_bad", "tie (bothbad)"}
_PAIRS = [
    *(("0", "1"), ("1", "2"), ("a", "b"), ("first", "second"), ("left", "right"), ("model_a", "model_b")),
    *(("response_a", "response_b"), ("response_1", "response_2"), ("response_0", "response_1")),
]
_THUMBS = [
    *(("1", "0"), ("true", "false"), ("up", "down"), ("yes", "no"), ("like", "dislike"), ("1", "-1"), ("👍", "👎")),
    *(("good", "bad"), ("positive", "negative"), ("thumbs_up", "thumbs_down"), ("thumbs up", "thumbs down")),
]


@dataclass(frozen=True, slots=True)
class Codes:
    """The words for either side, and one more for neither, all in small letters."""

    first: str
    second: str
    neither: str | None = None

    def side(self, value: Any, where: str) -> Side:
        """What a cell says; DataError for a word that is none of them."""
        word = spelled(value)
        if word in (self.first, self.second):
            return "first" if word == self.first else "second"
        if word == self.neither or (self.neither is None and word in _TIES):
            return "tie"
        if word in _DECLINED:
            return "abstain"
        neither = f" ({self.neither!r})" if self.neither else ""
        return fail(where, f"{self.first!r}, {self.second!r} or a tie{neither}", value)


def spelled(value: Any) -> str:
    """A cell as its word: booleans as true and false, 1.0 as 1, texts in small letters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:g}"
    return str(value).strip().lower()


def given(target: str, options: Sequence[str]) -> Codes:
    """The codes that stand in brackets: `[first:second]` or `[first:second:neither]`."""
    words = [option.lower() for option in options]
    if len(words) not in (2, 3) or len(set(words)) != len(words) or not all(words):
        raise ConfigError(
            f"--map: {target}[{':'.join(options)}] must name two or three different words: first:second:neither"
        )
    return Codes(*words)


def found(target: str, words: Iterable[str], own: Sequence[str] = ()) -> Codes:
    """The codes of a column by all the words in it. Raises DataError where they could mean more than one thing.

    `own` are names for the two sides that go before all others: the columns of the two replies.
    """
    pairs = _THUMBS if target == "thumb" else _PAIRS
    said = set(words) - _DECLINED - _TIES
    own_pair = [tuple(name.lower() for name in own)] if len(own) == 2 else []
    fitting = [pair for pair in (*own_pair, *pairs) if said <= set(pair)]
    if own_pair and fitting[:1] == own_pair:
        return Codes(*own_pair[0])
    if len({tuple(word in pair[:1] for word in sorted(said)) for pair in fitting}) == 1:
        return Codes(*fitting[0])
    shown = ", ".join(sorted(said)[:8]) or "(none)"
    side = "UP:DOWN" if target == "thumb" else "FIRST:SECOND"
    raise DataError(
        f"the words {shown} do not tell which side is meant; say it in --map: {target}[{side}:NEITHER]=COLUMN"
    )
