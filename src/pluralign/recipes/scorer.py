"""Scorers by name, as the command line gives them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pluralign.errors import ConfigError, RunError
from pluralign.plugins import load_class

if TYPE_CHECKING:
    from pluralign.policy import Policy
    from pluralign.scorers.contract import Scorer


def open_scorer(name: str, device: str = "cpu") -> Scorer:
    """A scorer by its name, on a device:

        lab               the exact rules of the lab's six objectives
        FOLDER            a reward model, or the run that trained it
        judge:FILE.json   a language model as a judge (docs/scorers.md), or judge:key=value,key=value
        module:Class      of your own, called without arguments

    Raises ConfigError for another name, and what the reward model or the judge raises.
    """
    if name == "lab":
        from pluralign.lab.scoring import ExactScorer

        return ExactScorer()
    if name.startswith("judge:"):
        from pluralign.recipes.judge_file import open_judge

        return open_judge(name.removeprefix("judge:"), device)
    if Path(name).is_dir():
        return _reward_model(Path(name), device)
    if ":" not in name:
        raise ConfigError(
            f"unknown scorer {name!r}: there is no such folder; write lab, a reward model's folder, judge:FILE.json, or "
            "module:Class of your own"
        )
    found: Scorer = load_class(name, "")()
    return found


def _reward_model(folder: Path, device: str) -> Scorer:
    from pluralign.reward_model import RewardModel

    inner = folder / RewardModel.folder_name
    if (folder / "run.json").is_file() and not inner.is_dir():
        raise RunError(
            f"the run in {folder} has no reward model: it is not finished (continue it with --resume), or of another method"
        )
    return RewardModel.load(inner if inner.is_dir() else folder, device=device)


def scorer_name(name: str | None) -> str:
    """The name as a policy keeps it: a folder or a judge's file by its whole path, so that it is found from anywhere."""
    if not name or name == "lab":
        return name or ""
    kind = "judge:" if name.startswith("judge:") else ""
    path = Path(name.removeprefix(kind))
    return f"{kind}{path.resolve()}" if path.exists() else name


def give_judge(policy: Policy) -> Policy:
    """The policy; where it answers by search, with its scorer opened (ConfigError where that cannot be)."""
    from pluralign.steering.search import SearchSteering

    if isinstance(policy.steering, SearchSteering) and policy.steering.scorer:
        policy.steering.choose_by(open_scorer(policy.steering.scorer, str(policy.device)))
    return policy
