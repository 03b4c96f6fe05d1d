"""The laws of a plural model (methods.md A1, G): one-hot, mixing, the base, permutation, rows apart, base share."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch import nn

from pluralign.data.condition import Feedback, Targets, Weights
from pluralign.data.record import user
from pluralign.data.simplex import draw
from pluralign.errors import ConditionError, ConfigError, ModelError
from pluralign.steering.deltas import Deltas, PluralLinear, SteerState
from pluralign.steering.none import NoSteering
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.weights import PromptWeights
from tiny import K, ids, policy, shake, steered_logits

PLURAL = {
    "head": lambda **o: PluralSteering(rank=4, **o),
    "full head, shared attention": lambda **o: PluralSteering(rank="full", shared_where="attention", **o),
    "attention": lambda **o: PluralSteering(where="attention", rank=3, **o),
    "all": lambda **o: PluralSteering(where="all", rank=2, shared_where="all", shared_rank=2, **o),
    "all, full": lambda **o: PluralSteering(where="all", rank="full", **o),
}
EVERY = {**PLURAL, "prompt": PromptWeights, "prompt, all trained": lambda: PromptWeights(shared_where=None)}
EVERY["none"] = NoSteering


def coefficients(rows: list[list[float]], shared: float = 1.0, base: float = 1.0) -> torch.Tensor:
    return torch.tensor([[*row, shared, base] for row in rows])


def random_coefficients(num_rows: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(num_rows, K + 2, generator=generator)
    rows[:, -1] = 1.0
    return rows


@pytest.mark.parametrize("name", PLURAL)
def test_one_hot_weights_are_that_objectives_change_alone(name):
    steered = policy(PLURAL[name](), shaken=0.1)
    found = [steered_logits(steered, ids(1), coefficients([row])) for row in torch.eye(K).tolist()]
    for kept in range(K):
        alone = policy(PLURAL[name](), shaken=0.1)
        with torch.no_grad():
            for layer in alone.model.modules():
                if isinstance(layer, Deltas) and layer.num == K:
                    for other in {*range(K)} - {kept}:
                        (layer.full if layer.rank is None else layer.up)[other].zero_()
        assert torch.allclose(steered_logits(alone, ids(1), coefficients([[1.0] * K])), found[kept], atol=1e-5)
    assert (found[0] - found[1]).abs().max() > 1e-3


@pytest.mark.parametrize("rank", [None, 1, 3])
@settings(max_examples=30)
@given(shares=st.lists(st.floats(-2, 2, width=32), min_size=K, max_size=K), seed=st.integers(0, 99))
def test_a_mix_of_logits_is_the_mix_of_the_matrices(rank, shares, seed):
    torch.manual_seed(seed)
    deltas = Deltas(K, 5, 7, rank, scale=0.5)
    for change in deltas.full if rank is None else [deltas.up]:
        nn.init.normal_(change)
    inputs, mix = torch.randn(2, 4, 7), torch.tensor(shares)
    assert torch.allclose(deltas(inputs, mix), inputs @ deltas.mixed(mix).T, atol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("parts", [(True, True), (True, False), (False, True)])
def test_the_merged_layer_is_the_mixed_one(rank, bias, parts):
    torch.manual_seed(3)
    made = [
        Deltas(num, 5, 7, rank, scale) if part else None
        for num, scale, part in zip((K, 1), (1.0, 2.0), parts, strict=True)
    ]
    layer = PluralLinear(nn.Linear(7, 5, bias=bias), SteerState(), made[0], made[1])
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    inputs = torch.randn(2, 4, 7)
    for row in torch.randn(4, K + 2):
        weight, offset = layer.merged(row)
        assert torch.allclose(nn.functional.linear(inputs, weight, offset), layer.mix(inputs, row), atol=1e-4)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "prompt, all trained"])  # nothing is added there
def test_untrained_every_condition_is_the_base(name):
    steered = policy(EVERY[name]())
    base = steered.model(input_ids=ids(1), use_cache=False).logits
    for row in draw(np.random.default_rng(0), 12, K):
        logits = steered_logits(steered, ids(1), coefficients([row.tolist()]))
        assert torch.allclose(logits.log_softmax(-1), base.log_softmax(-1), atol=1e-4)


@pytest.mark.parametrize("name", [*PLURAL, "none"])  # what a prompt reads is trained in the embeddings
def test_the_reference_is_still_the_base_after_training(name):
    steered = policy(EVERY[name]())
    assert steered.steering.reference_inside
    base = steered.model(input_ids=ids(2), use_cache=False).logits
    shake(steered)
    assert torch.equal(steered_logits(steered, ids(2), steered.reference_coefficients(2)), base)
    assert torch.equal(steered.model(input_ids=ids(2), use_cache=False).logits, base)  # outside any context too
    if isinstance(steered.steering, PluralSteering):
        assert torch.equal(steered.coefficients([None]), steered.reference_coefficients(1))
        zero = Weights({"kind": 0.0}, strength=0.0)
        assert torch.equal(steered_logits(steered, ids(2), steered.coefficients([zero, zero])), base)


@pytest.mark.parametrize("name", PLURAL)
def test_permuting_objectives_permutes_results(name):
    order = [2, 0, 1]
    one = policy(PLURAL[name](), shaken=0.1)
    other = policy(PLURAL[name](), shaken=0.1, objectives=[one.objectives[place] for place in order])
    with torch.no_grad():
        for layer in other.model.modules():
            if isinstance(layer, Deltas) and layer.num == K:
                for part, tensor in layer.stacked().items():
                    layer.put(part, tensor[order])
    condition = Weights({"kind": 0.6, "brief": 0.3, "funny": 0.1})
    found = [p.logprobs([user("tell me")], ["a joke ."], [condition]) for p in (one, other)]
    assert torch.allclose(found[0], found[1], atol=1e-5)


@pytest.mark.parametrize("name", PLURAL)
def test_a_mixed_batch_is_its_rows_run_alone(name):
    steered = policy(PLURAL[name](), shaken=0.1)
    rows = random_coefficients(4)
    together = steered_logits(steered, ids(4), rows)
    alone = [steered_logits(steered, ids(4)[row : row + 1], rows[row : row + 1]) for row in range(4)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    everyone = steered_logits(steered, ids(4), rows[:1])
    assert torch.allclose(everyone, steered_logits(steered, ids(4), rows[:1].expand(4, -1)), atol=1e-5)


@pytest.mark.parametrize("name", PLURAL)
def test_packed_tokens_take_the_coefficients_that_the_index_names(name):
    steered = policy(PLURAL[name](), shaken=0.1)
    rows = random_coefficients(3)
    index = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 2])[None]
    lengths, tokens = [4, 2, 3], ids(1, 9)
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    with torch.no_grad(), steered.steering.steered(steered.model, rows, index):
        packed = steered.model(input_ids=tokens, position_ids=positions, use_cache=False).logits[0]
    parts = zip(tokens[0].split(lengths), packed.split(lengths), strict=True)
    for row, (part, logits) in enumerate(parts):
        assert torch.allclose(steered_logits(steered, part[None], rows[row : row + 1])[0], logits, atol=1e-5)


def test_an_index_of_another_shape_is_refused():
    steered = policy(PluralSteering(rank=2))
    with pytest.raises(ModelError, match="index"):
        steered_logits(steered, ids(1, 6), random_coefficients(2), torch.zeros(1, 5, dtype=torch.long))


@pytest.mark.parametrize(("rows", "width"), [(2, K + 2), (3, K), (3, K + 3)])
def test_coefficients_that_do_not_fit_are_refused(rows, width):
    steered = policy(PluralSteering(rank=2))
    with pytest.raises(ModelError, match="rows"):
        steered_logits(steered, ids(3), torch.ones(rows, width))


def test_a_second_thread_may_not_steer():
    steered = policy(PluralSteering(rank=2))
    caught: list[BaseException] = []

    def enter() -> None:
        try:
            with steered.steering.steered(steered.model, random_coefficients(1)):
                pass
        except ModelError as error:
            caught.append(error)

    def run() -> None:
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()

    with steered.steering.steered(steered.model, random_coefficients(1)):
        run()
        with steered.steering.steered(steered.model, random_coefficients(1)):  # the same thread may
            pass
        run()
    assert len(caught) == 2 and "thread" in str(caught[0])
    run()
    assert len(caught) == 2  # free again


def test_an_error_inside_frees_the_model():
    steered = policy(PluralSteering(rank=2), shaken=0.1)
    base = steered.model(input_ids=ids(1)).logits
    with pytest.raises(KeyError), steered.steering.steered(steered.model, random_coefficients(1)):
        raise KeyError
    assert torch.equal(steered.model(input_ids=ids(1)).logits, base)


@pytest.mark.parametrize("name", PLURAL)
def test_the_literal_base_share_is_the_same_on_the_simplex_and_only_there(name):
    one, literal = (policy(PLURAL[name](base_share=share), shaken=0.1) for share in ("one", "sum"))

    def found(weights: dict[str, float]) -> list[torch.Tensor]:
        conditions = [Weights(weights)]
        return [steered_logits(p, ids(1), p.coefficients(conditions)) for p in (one, literal)]

    inside = found({"kind": 0.5, "funny": 0.5})
    assert torch.allclose(inside[0], inside[1], atol=1e-4)
    outside = found({"kind": 1.0, "brief": -0.5})
    assert (outside[0] - outside[1]).abs().max() > 1e-2


def test_the_literal_form_is_sum_of_weighted_heads():
    """Σ_j λ_j h W_j with W_j = W_0 + ΔW_j (eq. 3.1), whatever the sum of λ; the trunk's adapter is untouched by it."""
    literal = policy(PluralSteering(rank=4, shared_where="attention", base_share="sum"), shaken=0.1)
    whole = policy(PluralSteering(rank=4, shared_where="attention"), shaken=0.1)
    heads = [steered_logits(whole, ids(1), coefficients([row])) for row in torch.eye(K).tolist()]
    weights = [1.0, -1.0, 0.5]
    condition = Weights(dict(zip(("kind", "brief", "funny"), weights, strict=True)))
    found = steered_logits(literal, ids(1), literal.coefficients([condition]))
    assert torch.allclose(found, sum(w * head for w, head in zip(weights, heads, strict=True)), atol=1e-4)


def test_strength_scales_the_change():
    steered = policy(PluralSteering(rank=4), shaken=0.1)
    base, one, double = (
        steered_logits(steered, ids(1), steered.coefficients([Weights({"kind": 0.25, "brief": 0.75}, strength)]))
        for strength in (0.0, 1.0, 2.0)
    )
    assert torch.allclose(double - base, 2 * (one - base), atol=1e-4)
    shared = PluralSteering(shared_where="attention")
    rows = policy(shared).coefficients([Weights({"kind": 1.0}, 1.5)])
    assert rows.tolist() == [[1.5, 0.0, 0.0, 1.5, 1.0]]


def test_conditions_that_a_steering_cannot_read_are_refused_with_an_example():
    for condition in (Targets({"kind": 1.0}), Feedback("be kind")):
        with pytest.raises(ConditionError, match=r"kind=0\.33"):
            policy(PluralSteering()).coefficients([condition])
        with pytest.raises(ConditionError, match="weights"):
            policy(PromptWeights()).check(condition)
    with pytest.raises(ConditionError, match="not steerable"):
        policy(NoSteering()).coefficients([Weights({"kind": 1.0})])


@pytest.mark.parametrize(
    "options",
    [{"where": "heads"}, {"shared_where": "trunk"}, {"rank": 0}, {"rank": True}, {"rank": "half"}, {"rank": 1.5}],
)
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        policy(PluralSteering(**options))


def test_base_share_out_of_range_is_refused():
    with pytest.raises(ConfigError, match="base_share"):
        PluralSteering(base_share="half")


def test_a_model_is_steered_once():
    steered = policy(PluralSteering())
    with pytest.raises(ModelError, match="already"):
        PluralSteering().attach(steered.model, steered.encoder, steered.objectives)


def test_shapes_in_annotations_are_checked_while_testing():
    with pytest.raises(TypeCheckError):
        Deltas(K, 5, 7, None)(torch.zeros(2, 7), torch.zeros(2, K + 1))
