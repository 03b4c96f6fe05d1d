"""Vector steering: the residual stream moves by the weighted vectors, exactly; files, refusals, laws of A22."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import Gemma2Config, GPT2Config

import tiny
from pluralign.data.condition import Targets, Weights, one_hot
from pluralign.data.record import user
from pluralign.encoding import Encoder
from pluralign.errors import ConditionError, ConfigError, ModelError
from pluralign.layer_states import layer_means, layer_states
from pluralign.logprobs import sequence_logprobs
from pluralign.policy import Policy
from pluralign.sampling.engine import Engine, Request
from pluralign.steering.vectors import VectorSteering


def steered(layers: tuple[int, ...] = (0,), **options: int) -> Policy:
    return tiny.policy(VectorSteering(layers), num_hidden_layers=3, **options)


def states(policy: Policy, condition: Weights | None, layers: tuple[int, ...]) -> torch.Tensor:
    ids = tiny.ids(1, 6)
    rows = policy.coefficients([condition])
    return layer_states(policy, ids, torch.ones_like(ids, dtype=torch.bool), rows, layers)


def put(policy: Policy, seed: int = 3) -> torch.Tensor:
    """Random vectors [K, d] after every chosen block."""
    (name, *_) = policy.steering_state()
    vectors = torch.randn(tiny.K, 32, generator=torch.Generator().manual_seed(seed))
    policy.load_steering_state(dict.fromkeys(policy.steering_state(), vectors))
    assert name
    return vectors


def test_hidden_states_move_by_the_weighted_vectors() -> None:
    policy = steered((1,))
    vectors = put(policy)
    weights = Weights({"kind": 0.25, "funny": 0.75}, strength=2.0)
    moved = states(policy, weights, (0, 1)) - states(policy, None, (0, 1))
    assert torch.equal(moved[:, 0], torch.zeros(6, 32))
    assert torch.allclose(moved[:, 1], (0.5 * vectors[0] + 1.5 * vectors[2]).expand(6, 32), atol=1e-5)


def test_zero_is_the_reference_and_untrained_is_the_base() -> None:
    policy = steered()
    prompts, replies = [user("tell me a joke")] * 2, ["good joke"] * 2
    base = policy.logprobs(prompts, replies)
    assert torch.allclose(policy.logprobs(prompts, replies, [one_hot("kind")] * 2), base, atol=1e-6)
    put(policy)
    assert torch.allclose(policy.logprobs(prompts, replies, [Weights({"kind": 1.0}, 0.0)] * 2), base, atol=1e-6)
    assert (policy.logprobs(prompts, replies, [one_hot("kind")] * 2) - base).abs().max() > 1e-3


def test_swapped_pairs_flip_the_direction_and_means_are_means() -> None:
    policy = steered((0, 1))
    pairs = [((2, 3), (4, 5, 6)), ((2, 3), (7, 8))]
    means = layer_means(policy, pairs, policy.reference_coefficients(2), (0, 1))
    ids = torch.tensor([[2, 3, 7, 8]])
    whole = layer_states(
        policy, ids, torch.tensor([[False, False, True, True]]), policy.reference_coefficients(1), (0, 1)
    )
    assert torch.allclose(means[1], whole.mean(0), atol=1e-6)
    swapped = layer_means(policy, pairs[::-1], policy.reference_coefficients(2), (0, 1))
    assert torch.allclose(means[0] - means[1], -(swapped[0] - swapped[1]), atol=1e-6)


def test_a_folder_keeps_the_vectors_and_the_engine_uses_them(tmp_path: Path) -> None:
    policy = steered((0, 2))
    put(policy)
    again = Policy.load(policy.save(tmp_path / "policy"))
    assert again.steering.config() == {"layers": (0, 2)}
    asked = [Request(user("tell me"), Weights({"kind": 1.0}), seed, max_new_tokens=6) for seed in range(4)]
    replies = Engine(policy).generate(asked)
    assert [c.ids for c in replies] == [c.ids for c in Engine(again).generate(asked)]
    pairs = [(completion.prompt_ids, completion.ids) for completion in replies]
    rows = policy.coefficients([one_hot("kind")] * len(pairs))[:, None]
    drawn = [completion.logprob for completion in replies]
    assert sequence_logprobs(policy, pairs, rows)[:, 0].tolist() == pytest.approx(drawn, abs=1e-3)


def test_default_blocks_are_in_the_middle() -> None:
    policy = tiny.policy(VectorSteering(), num_hidden_layers=10)
    assert policy.steering.layers == (3, 4, 5)  # type: ignore[attr-defined]
    assert tiny.policy(VectorSteering()).steering.layers == (1,)  # type: ignore[attr-defined]


def test_what_cannot_be_is_refused() -> None:
    policy = steered()
    with pytest.raises(ModelError, match="hidden states"):
        policy.merge(one_hot("kind"))
    with pytest.raises(ConditionError, match="steered by weights"):
        policy.check(Targets({"kind": 0.5}))
    with pytest.raises(ConfigError, match="3 blocks"):
        steered((3,))
    with pytest.raises(ConfigError, match="from 0"):
        VectorSteering((-1,))


def test_families() -> None:
    """GPT-2's blocks take vectors; Gemma-2's put a norm behind their last layer, which is found out."""
    gpt = GPT2Config(vocab_size=len(tiny.WORDS), n_embd=32, n_layer=2, n_head=4, n_positions=64, eos_token_id=1)
    made = Policy(tiny.model(gpt), Encoder(tiny.tokenizer()), VectorSteering((0,)), tiny.OBJECTIVES)
    vectors = put(made)
    moved = states(made, one_hot("brief"), (0,)) - states(made, None, (0,))
    assert torch.allclose(moved[:, 0], vectors[1].expand(6, 32), atol=1e-4)
    gemma = Gemma2Config(
        vocab_size=len(tiny.WORDS), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, head_dim=8, max_position_embeddings=64, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    with pytest.raises(ModelError, match="norm"):
        Policy(tiny.model(gemma), Encoder(tiny.tokenizer()), VectorSteering((0,)), tiny.OBJECTIVES)


def test_the_last_block_too_moves_by_the_vector_alone() -> None:
    """Its states are those before the final norm."""
    policy = steered((2,))
    vectors = put(policy)
    moved = states(policy, one_hot("brief"), (2,)) - states(policy, None, (2,))
    assert torch.allclose(moved[:, 0], vectors[1].expand(6, 32), atol=1e-4)
    with pytest.raises(ConfigError, match="3 blocks"):
        states(policy, None, (3,))
