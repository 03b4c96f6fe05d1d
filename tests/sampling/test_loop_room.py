"""The room that a loop takes: bounded, given back, and refused where there is none."""

from __future__ import annotations

import math

import pytest
from test_loop import ASKED, PROMPTS, SIZES, policy, served
from transformers import FalconH1Config

import tiny
from pluralign.data.condition import Bounds, Condition, Weights
from pluralign.data.record import user
from pluralign.encoding import Encoder
from pluralign.errors import ConditionError, ConfigError, ModelError
from pluralign.policy import Policy
from pluralign.sampling.engine import Engine, Request
from pluralign.sampling.loop import Loop
from pluralign.steering.plural import PluralSteering


def test_room_is_bounded() -> None:
    made = policy(steering="mixture")
    many = Request(user("a joke"), ASKED[2], max_new_tokens=4)
    loop = Loop(made, rows=3)
    assert loop.check(many) == 2 and loop.has_room(many)
    loop.add(many)
    assert not loop.has_room(many) and loop.free == 1
    with pytest.raises(ConfigError, match="no room: 1 of 3 rows are free"):
        loop.add(many)
    with pytest.raises(ConfigError, match="2 members answer this request, more than the 1 rows"):
        Loop(made, rows=1).check(many)
    small = Loop(policy(), rows=8, cache_tokens=40)
    short, long = (Request(user("a"), max_new_tokens=num) for num in (5, 30))
    small.add(long)
    assert not small.has_room(short)  # two rows as long as the longest would be more than 40 tokens
    with pytest.raises(
        ModelError, match="more than the cache of 40 tokens; shorten the prompt or lower max_new_tokens"
    ):
        small.check(Request(user("a"), max_new_tokens=60))
    for wrong in ({"rows": 0}, {"cache_tokens": 0}, {"prefix_tokens": -1}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            Loop(made, **wrong)


def test_a_burst_gives_its_memory_back() -> None:
    made = policy()
    loop = Loop(made, 16)
    slots = loop.streams[0].slots
    slots.many = 40
    served(loop, [Request(user(PROMPTS[2]), seed=i, max_new_tokens=60) for i in range(8)], [3 * i for i in range(8)])
    assert slots.layers[0].keys.shape[2] > 40
    loop.step()
    done = served(loop, [Request(user("a"), seed=1, max_new_tokens=3)], [0])
    assert slots.layers[0].keys.shape[2] == 32
    assert done[0].ids == Engine(made).generate([Request(user("a"), seed=1, max_new_tokens=3)])[0].ids


def test_a_server_that_never_rests_moves_its_places_down() -> None:
    """Rows overlap for ever, so the clock never starts again; buffers stay within twice what the longest row needs."""
    made = policy()
    loop = Loop(made, 2)
    asked = [Request(user("a"), seed=i, max_new_tokens=24) for i in range(8)]
    done = served(loop, asked, [12 * i for i in range(8)])
    assert loop.streams[0].slots.layers[0].keys.shape[2] <= 64
    assert [done[i].ids for i in range(8)] == [each.ids for each in Engine(made, 1).generate(asked)]


def test_models_with_another_state_are_refused() -> None:
    sizes = {**SIZES, "mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8}
    made = Policy(
        tiny.model(FalconH1Config(**sizes)), Encoder(tiny.tokenizer()), PluralSteering(rank=2), tiny.OBJECTIVES
    )
    with pytest.raises(ModelError, match="falcon_h1 keeps a state besides keys and values"):
        Loop(made)


def test_a_condition_out_of_bounds_never_joins() -> None:
    loop = Loop(policy())
    wrong: Condition = Weights({"kind": 2.0})
    for ask in (loop.check, loop.add):
        with pytest.raises(ConditionError, match="kind"):
            ask(Request(user("a"), wrong))
    assert loop.running == 0 and loop.free == loop.rows


def test_numbers_that_overflow_stay_with_their_request() -> None:
    made = policy(double=False)
    made.bounds = Bounds(allow_extrapolation=True)
    poison = Request(user(PROMPTS[2]), Weights({"kind": 1e30}), seed=1, max_new_tokens=3)
    asked = [Request(user(words), ASKED[1], seed=2, max_new_tokens=9) for words in (PROMPTS[2], "a")]
    loop = Loop(made, 2, prefix_tokens=1024)
    tickets = [loop.add(poison), loop.add(asked[0])]
    drawn = loop.step()
    assert [math.isfinite(each.logprob) for each in drawn] == [False, True]
    loop.cancel(tickets[0])
    loop.step()
    loop.add(asked[1])
    found = []
    while loop.running:
        found += [loop.completion(each.ticket).ids for each in loop.step() if each.ended]
    assert sorted(found) == sorted(Engine(made).generate([each])[0].ids for each in asked)
    loop.step()
    assert all(
        tensor.isfinite().all()
        for block in loop.streams[0].prefixes.blocks.values()
        for pair in block
        for tensor in pair
    )
