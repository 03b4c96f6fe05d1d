"""One real server for all tests of the API, with three policies on the lab's base: by weights, by words, by scores."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import openai
import pytest
from served import Served, served

from pluralign import lab
from pluralign.data.condition import Condition, Feedback, Targets, Weights
from pluralign.policy import Policy
from pluralign.serving.settings import ServeSettings
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.scores import PromptScores
from pluralign.steering.prompt.words import PromptWords
from tiny import shake

PRESETS: dict[str, Condition] = {
    "calm": Weights({"helpful": 0.7, "funny": 0.3}),
    "strong": Weights({"helpful": 1.0}, 1.5),
    "kindly": Feedback("kind, and in one sentence"),
    "four": Targets({"funny": 4.0}),
}


def desk() -> Policy:
    """The lab's base; its heads are random, large enough that a condition changes the reply."""
    policy = Policy.from_base(lab.base_path(), PluralSteering(), lab.objectives)
    shake(policy, 0.3)
    return policy


def words() -> Policy:
    """Reads feedback, targets and weights as words before the dialogue."""
    policy = Policy.from_base(lab.base_path(), PromptWords(), lab.objectives)
    shake(policy, 0.05)
    return policy


def scores() -> Policy:
    """Reads target scores, and weights as the scores that they wish for; of each objective it knows 0 to 4."""
    steering = PromptScores()
    policy = Policy.from_base(lab.base_path(), steering, lab.objectives)
    steering.fit(np.array([[0.0] * 6, [4.0] * 6]), lab.objectives)
    shake(policy, 0.05)
    return policy


@pytest.fixture(scope="session")
def server() -> Iterator[Served]:
    """Three models, four presets, at most 8 replies to a request."""
    policies = {"desk": desk(), "words": words(), "scores": scores()}
    with served(policies, PRESETS, ServeSettings(port=0, max_replies=8)) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: Served) -> Iterator[openai.OpenAI]:
    """The real client, which tries nothing twice."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made
