"""A colour per objective that colour-blind people can tell apart (Okabe & Ito 2008), in light and in dark."""

from __future__ import annotations

LIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5C3E", "#555B66")
DARK = ("#4C96DE", "#F07F34", "#2FBF95", "#E39CC4", "#F2B93B", "#9ADAF8", "#B89A7C", "#A5ABB6")

# The same hues, dark enough to be read as text on white.
TEXT = ("#005E93", "#B34E00", "#007A59", "#A6527F", "#8F6200", "#2276AB", "#5F4730", "#3D424B")


def colour(place: int) -> str:
    """The light colour of the objective at `place`; they repeat after eight (labels tell them apart)."""
    return LIGHT[place % len(LIGHT)]


def text_colour(place: int) -> str:
    """The colour of the objective at `place` for words."""
    return TEXT[place % len(TEXT)]


def variables(colours: tuple[str, ...]) -> str:
    """The colours as CSS variables --c0, --c1 ..."""
    return " ".join(f"--c{place}: {value};" for place, value in enumerate(colours))
