"""Shapes written in annotations, checked at run time: the first calls of every test.

A check costs more than the tiny product that it watches. A wrong shape shows at the first calls of a path; a training of
a thousand steps goes the same way a thousand times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beartype import beartype
from jaxtyping import config

LIMIT = 500
"""checks of arguments or results in a test (a forward pass of the tiny model has up to 80)"""
_told = {"checks": 0}


def begin() -> None:
    """The next test is checked from its first call."""
    _told["checks"] = 0
    config.update("jaxtyping_disable", False)


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Beartype's check, which ends all checks of a test when there were enough of them."""
    strict = beartype(function)

    def check(*args: Any, **named: Any) -> Any:
        _told["checks"] += 1
        if _told["checks"] >= LIMIT:
            config.update("jaxtyping_disable", True)
        return strict(*args, **named)

    return check
