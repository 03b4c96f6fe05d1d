"""Poles in the prompt: the words by hand, equal shares, and what is refused."""

from __future__ import annotations

import pytest

import tiny
from pluralign.data.condition import Condition, Targets, Weights
from pluralign.data.record import user
from pluralign.errors import ConditionError, ConfigError
from pluralign.steering.prompt.poles import PromptPoles

CHOSEN = Weights({"kind": 0.2, "funny": -0.8}, 1.5)


def test_chosen_poles_are_listed_and_no_others() -> None:
    policy = tiny.policy(PromptPoles(high="very {}", low="no {}"))
    assert policy.steering.write(user("joke"), CHOSEN)[0].content == "very kind, no funny"
    assert tiny.policy(PromptPoles()).steering.write(user("joke"), CHOSEN)[0].content == "kind high, funny low"
    assert policy.steering.write(user("joke"), None) == user("joke")


def test_sizes_do_not_count_and_the_strength_is_guidance() -> None:
    steering = PromptPoles()
    found = steering.translate(CHOSEN, tiny.OBJECTIVES)
    assert found == Weights({"kind": 0.5, "funny": -0.5}, 1.5)
    assert steering.translate(found, tiny.OBJECTIVES) == found
    assert [share for _, share in steering.members(found)] == [1.5, -0.5]


@pytest.mark.parametrize("condition", [Targets({"kind": 1.0}), Weights({"kind": 0.0})])
def test_what_names_no_pole_is_refused(condition: Condition) -> None:
    with pytest.raises(ConditionError, match="end"):
        PromptPoles().translate(condition, tiny.OBJECTIVES)


def test_settings_act_or_raise() -> None:
    for wrong in ({"high": "high"}, {"low": "{} {}"}, {"high": "{}", "low": "{}"}):
        with pytest.raises(ConfigError, match="different words"):
            PromptPoles(**wrong)  # type: ignore[arg-type]
