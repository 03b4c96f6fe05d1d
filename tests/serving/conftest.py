"""One real server for all tests of the API: the lab's base with shaken heads ("desk"), and a policy that reads words."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from served import Served, served

from pluralign import lab
from pluralign.data.condition import Condition, Feedback, Weights
from pluralign.policy import Policy
from pluralign.serving.settings import ServeSettings
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.words import PromptWords
from tiny import shake

PRESETS: dict[str, Condition] = {
    "calm": Weights({"helpful": 0.7, "funny": 0.3}),
    "strong": Weights({"helpful": 1.0}, 1.5),
    "kindly": Feedback("kind, and in one sentence"),
}


def desk() -> Policy:
    """The lab's base; its heads are random, large enough that a condition changes the reply."""
    policy = Policy.from_base(lab.base_path(), PluralSteering(), lab.objectives)
    shake(policy, 0.3)
    return policy


def words() -> Policy:
    """Reads feedback, targets and weights as words before the dialogue."""
    policy = Policy.from_base(lab.base_path(), PromptWords(), lab.objectives)
    shake(policy, 0.02)
    return policy


@pytest.fixture(scope="session")
def server() -> Iterator[Served]:
    """Two models, three presets, at most 8 replies to a request."""
    with served({"desk": desk(), "words": words()}, PRESETS, ServeSettings(port=0, max_replies=8)) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: Served) -> Iterator[openai.OpenAI]:
    """The real client, which tries nothing twice."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made
