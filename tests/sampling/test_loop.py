"""The loop: whoever else joins and leaves, a request gets the reply that Hugging Face's `generate` gives it alone.

In double precision nothing is near enough to a boundary to fall on its other side, so replies are compared outright; in
single precision draws that differ must be at a boundary, and are counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine import CLOSE, Drawn, boundary
from transformers import Gemma2Config, GPT2Config, LogitsProcessorList, MistralConfig, Qwen2Config

import tiny
from pluralign.data.condition import Weights, one_hot
from pluralign.data.record import user
from pluralign.encoding import Encoder
from pluralign.members import members_of
from pluralign.policy import Policy
from pluralign.sampling.engine import Completion, Engine, Request
from pluralign.sampling.loop import Loop
from pluralign.steering.mixture import MixtureSteering
from pluralign.steering.plural import PluralSteering

SIZES = {
    "vocab_size": len(tiny.WORDS), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "initializer_range": 0.3,
    "pad_token_id": 1, "bos_token_id": None, "eos_token_id": 1,
}  # fmt: skip
FAMILIES = {
    "llama": lambda: tiny.config(max_position_embeddings=128),
    "qwen2": lambda: Qwen2Config(**SIZES),
    "window": lambda: MistralConfig(**SIZES, sliding_window=5),
    "both": lambda: Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=2.0, sliding_window=5),
    "places": lambda: GPT2Config(
        vocab_size=len(tiny.WORDS),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=128,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=1,
    ),
}
STEERINGS: Mapping[str, Any] = {
    "low heads": lambda: PluralSteering(rank=2),
    "full heads": lambda: PluralSteering(rank="full", shared_where="all", shared_rank=2),
    "attention": lambda: PluralSteering(where="attention", rank=2),
    "mixture": lambda: MixtureSteering(where="attention", rank=2),
}
ASKED = (None, one_hot("kind"), Weights({"kind": 0.3, "brief": 0.7}), one_hot("funny"))
PROMPTS = ("tell me a joke", "joke now", " ".join(["please tell me a very short and funny joke"] * 5), "a")


def policy(family: str = "llama", steering: str = "attention", double: bool = True) -> Policy:
    made = tiny.model(FAMILIES[family]())
    built = Policy(made.double() if double else made, Encoder(tiny.tokenizer()), STEERINGS[steering](), tiny.OBJECTIVES)
    if double:
        built.model.double()
    tiny.shake(built, 0.2)
    return built


def requests(num: int, **options: Any) -> list[Request]:
    """Of four lengths and four conditions, hot and cold, whole and by nucleus."""
    return [
        Request(
            user(PROMPTS[i % 4]), ASKED[(i // 2) % 4], 100 + i, (1.0, 0.8, 0.0)[i % 3], (1.0, 0.9)[i % 2],
            **{"max_new_tokens": 3 + (5 * i) % 17, **options},
        )
        for i in range(num)
    ]  # fmt: skip


def served(loop: Loop, asked: Sequence[Request], arrivals: Sequence[int]) -> dict[int, Completion]:
    """Requests that arrive at these steps, or as soon as there is room after that."""
    waiting = sorted(range(len(asked)), key=lambda place: arrivals[place])
    places: dict[int, int] = {}
    done: dict[int, Completion] = {}
    step = 0
    while waiting or places:
        while waiting and arrivals[waiting[0]] <= step and loop.has_room(asked[waiting[0]]):
            place = waiting.pop(0)
            places[loop.add(asked[place])] = place
        for drawn in loop.step():
            if drawn.ended:
                done[places.pop(drawn.ticket)] = loop.completion(drawn.ticket)
        step += 1
        assert step < 1000
    return done


def by_generate(built: Policy, request: Request) -> list[int]:
    """Hugging Face's own loop, one request, its own draws."""
    rows = built.encoder.prompt(built.steering.write(request.messages, request.condition))
    prompt = torch.tensor([rows.ids])
    found = built.model.generate(
        prompt,
        steer=built.coefficients([request.condition]),
        max_new_tokens=request.max_new_tokens,
        do_sample=False,
        attention_mask=torch.ones_like(prompt),
        logits_processor=LogitsProcessorList([Drawn(request)] if request.temperature else []),
    )
    return found[0, prompt.shape[1] :].tolist()


@pytest.mark.parametrize(
    ("family", "steering"),
    [*((family, "attention") for family in FAMILIES), ("llama", "low heads"), ("both", "full heads")],
)
def test_whoever_else_is_there_a_reply_is_that_of_hugging_face(family: str, steering: str) -> None:
    built = policy(family, steering)
    asked = requests(8)
    done = served(Loop(built, rows=3, prefix_tokens=512), asked, [i // 2 for i in range(8)])
    for place, request in enumerate(asked):
        assert list(done[place].ids) == by_generate(built, request), (place, request)


@pytest.fixture(scope="module", params=["low heads", "attention", "mixture"])
def built(request: pytest.FixtureRequest) -> Policy:
    return policy(steering=request.param)


@pytest.fixture(scope="module")
def alone(built: Policy) -> list[Completion]:
    return [Engine(built).generate([request])[0] for request in requests(10)]


@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_replies_do_not_depend_on_who_comes_when(built: Policy, alone: list[Completion], data: st.DataObject) -> None:
    arrivals = data.draw(st.lists(st.integers(0, 30), min_size=10, max_size=10), "arrivals")
    rows = data.draw(st.integers(3, 9), "rows")
    tokens = data.draw(st.sampled_from([0, 64, 4096]), "prefix tokens")
    done = served(Loop(built, rows, tokens), requests(10), arrivals)
    for place, wanted in enumerate(alone):
        found = done[place]
        assert (found.ids, found.text, found.finished) == (wanted.ids, wanted.text, wanted.finished)
        assert found.logprob == pytest.approx(wanted.logprob, abs=1e-5)


@pytest.mark.slow
def test_in_single_precision_draws_differ_at_boundaries_only() -> None:
    """At most one in ten thousand, and each where the numbers of both ways stand within 1e-4 of a boundary."""
    made = policy(double=False)
    asked = requests(240, max_new_tokens=30)
    done = served(Loop(made, 16, 1024), asked, [i // 3 for i in range(len(asked))])
    single = [Engine(made).generate([request])[0] for request in asked]
    tokens = sum(len(each.ids) for each in single)
    different = [(r, a, done[i]) for i, (r, a) in enumerate(zip(asked, single, strict=True)) if a.ids != done[i].ids]
    for request, one, other in different:
        assert boundary(made, request, one, other) < CLOSE
    assert tokens > 2000 and len(different) <= max(1, tokens // 10_000)


def test_two_weights_have_two_caches_of_one_prompt() -> None:
    made = policy(steering="attention")
    prompt = user(PROMPTS[2])
    first, second = (Request(prompt, condition, 7, max_new_tokens=4) for condition in ASKED[1:3])
    loop = Loop(made, 4, prefix_tokens=1024)
    prefixes = loop.streams[0].prefixes
    wanted = [Engine(made).generate([request])[0].ids for request in (first, second)]
    length = len(Engine(made).generate([first])[0].prompt_ids)
    known = (length - 1) // 16 * 16
    assert known >= 32
    found = [served(loop, [request], [0])[0].ids for request in (first, second)]
    assert (prefixes.hits, prefixes.misses) == (0, 2 * length) and found == wanted
    found = [served(loop, [request], [0])[0].ids for request in (first, second)]
    assert (prefixes.hits, prefixes.misses) == (2 * known, 4 * length - 2 * known) and found == wanted


def test_steered_heads_share_the_cache_of_a_prompt() -> None:
    made = policy(steering="low heads")
    first, second = (Request(user(PROMPTS[2]), condition, 7, max_new_tokens=4) for condition in ASKED[1:3])
    loop = Loop(made, 4, prefix_tokens=1024)
    wanted = [Engine(made).generate([request])[0].ids for request in (first, second)]
    assert [served(loop, [request], [0])[0].ids for request in (first, second)] == wanted
    assert loop.streams[0].prefixes.hits >= 32


def test_what_was_answered_is_known_when_the_dialogue_goes_on() -> None:
    made = policy()
    loop = Loop(made, 4, prefix_tokens=1024)
    first = Request(user(PROMPTS[2]), ASKED[1], 3, max_new_tokens=20)
    done = served(loop, [first], [0])[0]
    after = Request(
        user(PROMPTS[2]), ASKED[1], 3, max_new_tokens=25, prefix=done.ids[:-1] if done.finished else done.ids
    )
    loop.step()
    again = served(loop, [after], [0])[0]
    assert again.ids == Engine(made).generate([after])[0].ids
    assert loop.streams[0].prefixes.hits > len(done.prompt_ids) // 16 * 16


def test_old_prefixes_go_first() -> None:
    made = policy()
    loop = Loop(made, 4, prefix_tokens=48)
    for words in ("a", "me", "now"):
        served(loop, [Request(user(" ".join([words] * 40)), seed=1, max_new_tokens=2)], [0])
        loop.step()
        assert len(loop.streams[0].prefixes.blocks) <= 3
    hits = loop.streams[0].prefixes.hits
    served(loop, [Request(user(" ".join(["a"] * 40)), seed=1, max_new_tokens=2)], [0])
    assert loop.streams[0].prefixes.hits == hits
    loop.step()
    served(loop, [Request(user(" ".join(["a"] * 40)), seed=1, max_new_tokens=2)], [0])
    assert loop.streams[0].prefixes.hits > hits


def test_who_is_cancelled_leaves_and_nobody_else_notices(built: Policy, alone: list[Completion]) -> None:
    asked = requests(10)
    loop = Loop(built, rows=10 * max(len(members_of(built, condition)) for condition in ASKED))
    tickets = [loop.add(request) for request in asked]
    loop.cancel(tickets[9])
    loop.step()
    loop.cancel(tickets[0])
    loop.cancel(12345)
    done = {}
    while loop.running:
        for drawn in loop.step():
            assert drawn.ticket not in (tickets[0], tickets[9])
            if drawn.ended:
                done[tickets.index(drawn.ticket)] = loop.completion(drawn.ticket)
    assert {place: each.ids for place, each in done.items()} == {place: alone[place].ids for place in range(1, 9)}
    assert loop.step() == [] and loop.free == loop.rows


def test_log_probabilities_of_the_model_itself() -> None:
    made = policy()
    request = Request(user("joke now"), ASKED[2], 3, 0.7, 0.9, 6, top_logprobs=3)
    loop = Loop(made)
    loop.add(request)
    drawn = [each for step in iter(loop.step, []) for each in step]
    prompt = Engine(made).generate([request])[0].prompt_ids
    ids = [*prompt, *(each.token for each in drawn)]
    logits = tiny.steered_logits(made, torch.tensor([ids]), made.coefficients([request.condition]))[0]
    for place, each in enumerate(drawn, len(prompt) - 1):
        own = logits[place].log_softmax(-1)
        assert each.own == pytest.approx(float(own[each.token]), abs=1e-4)
        best = own.topk(3)
        assert [name for name, _ in each.top] == best.indices.tolist()
        assert [value for _, value in each.top] == pytest.approx(best.values.tolist(), abs=1e-4)
        assert each.logprob >= each.own - 1e-3 or each.logprob != each.own
