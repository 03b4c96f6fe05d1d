"""What the benchmark of the server serves and compares with: real folders, `generate`, and what rounding may decide."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bench_shapes import TINY

from pluralign.bench.serve import Settings
from pluralign.bench.serve_load import Ask
from pluralign.bench.serve_models import LAB, World, objective_names
from pluralign.bench.serve_naive import Alone, Naive, margin
from pluralign.data.condition import Weights
from pluralign.data.record import user
from pluralign.errors import ConfigError
from pluralign.sampling.draws import uniforms
from pluralign.sampling.engine import Engine, Request

SMALL = World("small", "a tiny Llama", TINY, 5, 6, temperature=0.5)


def test_asks_are_their_own_and_repeatable() -> None:
    for world in (LAB, SMALL):
        asks = world.asks(30, steered=True, seed=1)
        assert asks == world.asks(30, steered=True, seed=1) != world.asks(30, steered=True, seed=2)
        assert len({tuple((ask.weights or {}).values()) for ask in asks}) == 30
        assert all(
            min(ask.weights.values()) > 0 and sum(ask.weights.values()) == pytest.approx(1)
            for ask in asks
            if ask.weights
        )
        assert all(set(ask.weights or {}) == set(objective_names()) for ask in asks)
        assert {ask.weights for ask in world.asks(3, steered=False)} == {None}
    assert [len(ask.prompt.split()) for ask in SMALL.asks(2, steered=False)] == [5, 5]


def test_generate_gives_what_the_engine_gives_a_batch(tmp_path: Path) -> None:
    naive = Naive.load(SMALL.write("plural", tmp_path / "plural"))
    asks = [*SMALL.asks(3, steered=True), *SMALL.asks(3, steered=False), Ask("w5 w9", None, 0, 6, temperature=0.0)]
    requests = [
        Request(user(a.prompt), a.weights and Weights(dict(a.weights)), a.seed << 32, a.temperature, max_new_tokens=6)
        for a in asks
    ]
    batch = Engine(naive.policy).generate(requests)
    told = [naive.reply(ask) for ask in asks]
    assert [each.ids for each in told] == [each.ids for each in batch]
    assert [each.text for each in told] == [each.text for each in batch]
    steered, plain = asks[0], Ask(asks[0].prompt, None, asks[0].seed, 6, asks[0].temperature)
    assert any(naive.reply(a).ids != naive.reply(b).ids for a, b in [(steered, plain)] + [
        (ask, Ask(ask.prompt, None, ask.seed, 6, ask.temperature)) for ask in asks[1:3]
    ]), "the weights change the text, or steered against unsteered compares nothing"  # fmt: skip


def test_a_mixture_is_answered_by_its_members(tmp_path: Path) -> None:
    alone = Alone.load(SMALL.write("mixture", tmp_path / "mixture"))
    [ask] = SMALL.asks(1, steered=True)
    told = alone.reply(ask)
    assert len(alone.policy.steering.members(Weights(dict(ask.weights or {})))) == len(objective_names())
    words = told.ids[:-1] if told.ids[-1] == 1 else told.ids  # 1 ends a reply
    assert told.text == " ".join(f"w{number}" for number in words) and 1 <= len(told.ids) <= 6


def test_the_margin_of_a_draw_by_hand() -> None:
    number = float(uniforms(7 << 32, 3)[2])  # of the third token
    token, rest = divmod(4 * number, 1)  # four equal shares
    expected = min(rest, 1 - rest) / 4
    assert margin(torch.zeros(1, 4), Ask("p", None, 7, 8), 2, int(token)) == pytest.approx(expected, abs=1e-6)
    greedy = Ask("p", None, 7, 8, temperature=0.0)
    assert margin(torch.tensor([[1.0, 3.0, 2.5]]), greedy, 0, 1) == pytest.approx(0.5)


def test_another_reply_is_not_excused(tmp_path: Path) -> None:
    naive = Naive.load(SMALL.write("plural", tmp_path / "plural"))
    asks = SMALL.asks(20, steered=True, seed=3)
    told = [naive.reply(ask) for ask in asks]
    excused = [
        naive.near_boundary(ask, own, other.text)
        for ask, own, other in zip(asks, told, told[1:] + told[:1], strict=True)
    ]
    assert excused.count(True) <= 2  # a number falls so near a boundary once in a hundred, with few words


def test_settings_refuse_what_cannot_be() -> None:
    for wrong in ({"models": ("gpt",)}, {"models": ()}, {"repeats": 0}, {"soak_seconds": 0.0}, {"threads": 0}):
        with pytest.raises(ConfigError, match=r"models are some|at least 1|above 0"):
            Settings(**wrong)  # type: ignore[arg-type]
