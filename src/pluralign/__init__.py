"""pluralign: steerable, pluralistic alignment of language models.

The names below are the public ones; they are imported when first used, so that `import pluralign` stays instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pluralign.api import TrainOptions, evaluate, load_data, load_policy, recipe, sample, score, train
    from pluralign.data.condition import Feedback, Targets, Weights
    from pluralign.data.objective import Objective
    from pluralign.data.record import Message, Record, Response
    from pluralign.policy import Policy
    from pluralign.recipes.scorer import open_scorer
    from pluralign.reward_model import RewardModel

_HOMES = {
    "TrainOptions": "api",
    "evaluate": "api",
    "load_data": "api",
    "load_policy": "api",
    "open_scorer": "recipes.scorer",
    "recipe": "api",
    "sample": "api",
    "score": "api",
    "train": "api",
    "Feedback": "data.condition",
    "Targets": "data.condition",
    "Weights": "data.condition",
    "Objective": "data.objective",
    "Message": "data.record",
    "Record": "data.record",
    "Response": "data.record",
    "Policy": "policy",
    "RewardModel": "reward_model",
}

__all__ = [
    "Feedback",
    "Message",
    "Objective",
    "Policy",
    "Record",
    "Response",
    "RewardModel",
    "Targets",
    "TrainOptions",
    "Weights",
    "__version__",
    "evaluate",
    "load_data",
    "load_policy",
    "open_scorer",
    "recipe",
    "sample",
    "score",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pluralign' has no attribute {name!r}")
    return getattr(import_module(f"pluralign.{_HOMES[name]}"), name)
