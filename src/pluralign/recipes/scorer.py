"""Scorers by name, as the command line gives them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pluralign.errors import ConfigError
from pluralign.plugins import load_class

if TYPE_CHECKING:
    from pluralign.policy import Policy
    from pluralign.scorers.contract import Scorer


def open_scorer(name: str) -> Scorer:
    """'lab' or module:Class (called without arguments). Raises ConfigError for another name."""
    if name == "lab":
        from pluralign.lab.scoring import ExactScorer

        return ExactScorer()
    if ":" not in name:
        raise ConfigError(f"unknown scorer {name!r}; known is lab (or module:Class of your own)")
    found: Scorer = load_class(name, "")()
    return found


def scorer_name(name: str | None) -> str:
    """The name as a policy keeps it: a folder by its whole path, so that it is found from anywhere."""
    return str(Path(name).resolve()) if name and Path(name).is_dir() else name or ""


def give_judge(policy: Policy) -> Policy:
    """The policy; where it answers by search, with its scorer opened (ConfigError where that cannot be)."""
    from pluralign.steering.search import SearchSteering

    if isinstance(policy.steering, SearchSteering) and policy.steering.scorer:
        policy.steering.choose_by(open_scorer(policy.steering.scorer))
    return policy
