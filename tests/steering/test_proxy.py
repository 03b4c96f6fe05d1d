"""Proxies: a big model and small ones, each read by itself and summed by hand; what they say token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from pluralign.data.condition import Bounds, Condition, Targets, Weights, one_hot
from pluralign.data.record import Record, Response, user
from pluralign.encoding import Encoder
from pluralign.errors import ConditionError, ConfigError, ModelError
from pluralign.policy import Policy
from pluralign.sampling.engine import Engine, Request
from pluralign.sampling.on_policy import log_ratios
from pluralign.steering.mixture import MixtureSteering
from pluralign.steering.none import NoSteering
from pluralign.steering.plausible import plausible
from pluralign.steering.proxy import ProxySteering

PROMPTS = [user("tell me a joke"), user("please tell me a very short joke now"), user("a joke")]
REPLIES = ["good and funny", "nice", "very very short and helpful joke"]
ASKED = Weights({"kind": 0.5, "brief": 0.2, "funny": 0.3})
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}


def small(shaken: float = 0.3, template: str | None = None, **options: Any) -> Policy:
    """Another architecture than the big one's, with a change per objective."""
    steering = MixtureSteering(where="attention", rank=2)
    encoder = Encoder(tiny.tokenizer(), template)
    made = Policy(tiny.model(tiny.config(**{**SMALL, **options}), seed=5), encoder, steering, tiny.OBJECTIVES)
    tiny.shake(made, shaken)
    return made


def policy(helper: Policy | None = None, **options: Any) -> Policy:
    made = tiny.policy(ProxySteering(**options))
    made.assist(helper or small())
    made.bounds = Bounds(allow_extrapolation=True)
    return made


def logits(made: Policy, condition: Condition | None, prompt: int, reply: int) -> Tensor:
    """[T, V] at the reply's tokens, by one model's own forward pass."""
    ids, response = made.encoder.pair(PROMPTS[prompt], REPLIES[reply]) or ([], [])
    row = tiny.steered_logits(made, torch.tensor([ids + response]), made.coefficients([condition]))
    return row[0, len(ids) - 1 : -1]


def summed(made: Policy, weights: dict[str, float], amount: float, prompt: int, reply: int) -> Tensor:
    helper = made.helpers[0]
    total = logits(made, None, prompt, reply)
    for name, weight in weights.items():
        total = total + amount * weight * (logits(helper, one_hot(name), prompt, reply) - logits(helper, None, prompt, reply))  # fmt: skip
    return total


def chosen(made: Policy, scores: Tensor, reply: int) -> float:
    response = made.encoder.response(REPLIES[reply])
    return float(scores.log_softmax(-1)[torch.arange(len(response)), torch.tensor(response)].sum())


@pytest.mark.parametrize(("amount", "strength"), [(1.0, 1.0), (0.7, 2.0), (-0.5, 1.0)])
def test_log_probabilities_are_the_sum_written_out(amount: float, strength: float) -> None:
    made = policy(amount=amount)
    asked = [Weights(dict(ASKED.values), strength), None, Weights({"kind": 1.0, "funny": -0.5}, strength)]
    found = made.logprobs(PROMPTS, REPLIES, asked)
    for place, condition in enumerate(asked):
        values = {} if condition is None else dict(condition.values)
        own = summed(made, values, amount * strength, place, place)
        assert float(found[place]) == pytest.approx(chosen(made, own, place), abs=1e-4)


def test_nothing_added_is_the_big_model() -> None:
    """a = 0, strength 0, or small models that tuning left alone (methods.md A18)."""
    big = policy(amount=0.0).logprobs(PROMPTS, REPLIES, [None] * 3)
    assert torch.equal(policy(amount=0.0).logprobs(PROMPTS, REPLIES, [ASKED] * 3), big)
    assert torch.equal(policy().logprobs(PROMPTS, REPLIES, [Weights(dict(ASKED.values), 0.0)] * 3), big)
    untuned = policy(small(shaken=0.0)).logprobs(PROMPTS, REPLIES, [ASKED] * 3)
    assert torch.allclose(untuned, big, atol=1e-4)
    assert not torch.allclose(policy().logprobs(PROMPTS, REPLIES, [ASKED] * 3), big, atol=1e-2)


def test_a_constant_changes_nothing() -> None:
    """Logits of any member, moved all alike (methods.md A18); and the sum itself, by hand."""
    made = policy()
    rows = torch.tensor([[0.2, -1.0, 0.4], [1.0, 2.0, 0.0], [0.1, 0.0, 0.5]])
    shifted = rows + torch.tensor([[3.0], [-2.0], [7.0]])
    shares, owners = torch.tensor([1.0, 0.6, -0.6]), torch.zeros(3, dtype=torch.long)
    one, two = (made.steering.combine(each.log_softmax(-1), shares, owners, 1).log_softmax(-1) for each in (rows, shifted))  # fmt: skip
    assert torch.allclose(one, two, atol=1e-6)
    expected = (rows[0] + 0.6 * (rows[1] - rows[2])).log_softmax(-1)
    assert torch.allclose(one[0], expected, atol=1e-6)


def test_models_tuned_elsewhere_stand_behind_their_base() -> None:
    """Separate models: the untuned one first, one per objective behind it; equal to the changes of one model."""
    holder = small()
    plain = [Policy(holder.merge(c), Encoder(tiny.tokenizer()), NoSteering(shared_where=None), tiny.OBJECTIVES)
             for c in (None, *(one_hot(each.name) for each in tiny.OBJECTIVES))]  # fmt: skip
    apart = tiny.policy(ProxySteering(separate=True))
    apart.assist(*plain)
    together = policy(holder)
    values = [made.logprobs(PROMPTS, REPLIES, [ASKED, one_hot("brief"), None]) for made in (apart, together)]
    assert torch.allclose(*values, atol=1e-4)


def requests(num: int = 24, temperature: float = 1.0) -> list[Request]:
    conditions = [ASKED, one_hot("brief"), None, Weights({"kind": 0.5, "brief": 0.5})]
    return [
        Request(PROMPTS[i % 3], conditions[i % 4], 10 + i, temperature, max_new_tokens=4 + 4 * (i % 5))
        for i in range(num)
    ]


@pytest.mark.parametrize(
    ("options", "plausibility"), [({}, 0.1), ({"template": "dialogue"}, 0.0), ({"vocab_size": 40}, 0.0)], ids=str
)
def test_replies_are_drawn_from_the_sum(options: dict[str, Any], plausibility: float) -> None:
    """Whoever shares its batch, and whatever the small model's template and the padding of its vocabulary: a reply and
    its log-probability are functions of its request, and the log-probability is that of `log_ratios`."""
    made = policy(small(**options), plausibility=plausibility)
    asked = requests()
    together = Engine(made).generate(asked)
    apart = Engine(made, batch_size=3).generate(asked[::-1])[::-1]
    assert [done.ids for done in together] == [done.ids for done in apart]
    finished = [
        place for place, done in enumerate(together)
        if done.finished and made.encoder.response(done.text) == list(done.ids)  # what a text is written as
    ]  # fmt: skip
    messages, texts = [asked[place].messages for place in finished], [together[place].text for place in finished]
    conditions = [asked[place].condition for place in finished]
    drawn = torch.tensor([together[place].logprob for place in finished]).float()
    assert finished and torch.allclose(made.logprobs(messages, texts, conditions), drawn, atol=1e-3)
    replies = [Response(text, condition=each) for text, each in zip(texts, conditions, strict=True)]
    records = [Record(said, (reply,)) for said, reply in zip(messages, replies, strict=True)]
    base = made.logprobs(messages, texts)
    assert torch.allclose(torch.tensor(log_ratios(made, records))[:, 0].float() + base, drawn, atol=1e-3)


def test_greedy_is_the_best_token_of_the_sum() -> None:
    made = policy()
    done = Engine(made).generate([Request(PROMPTS[0], one_hot("kind"), temperature=0.0, max_new_tokens=6)])[0]
    ids = list(done.prompt_ids)
    for token in done.ids:
        big, tuned, untuned = (
            tiny.steered_logits(each, torch.tensor([ids]), each.coefficients([condition]))[0, -1]
            for each, condition in ((made, None), (made.helpers[0], one_hot("kind")), (made.helpers[0], None))
        )
        assert int((big + tuned - untuned).argmax()) == token
        ids.append(token)


def test_only_what_the_big_model_finds_plausible_is_said() -> None:
    """Probabilities .5, .3, .2 with κ = .5: what is below .25 is out, whatever the others say; not where one is alone."""
    big = torch.tensor([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]).log()
    helper = torch.tensor([[0.0, 1.0, 99.0]])
    rows, owners = torch.cat([big, helper]), torch.tensor([0, 1, 0])
    scores = torch.zeros(2, 3).index_add(0, owners, rows)
    found = plausible(scores, rows, owners, 0.5)
    assert torch.equal(found[0], torch.tensor([scores[0, 0], scores[0, 1], -torch.inf]))
    assert torch.equal(found[1], scores[1]) and torch.equal(plausible(scores, rows, owners, 0.0), scores)
    made = policy(plausibility=1.0, amount=5.0)
    done = Engine(made).generate([Request(PROMPTS[0], ASKED, seed=3, max_new_tokens=6)])[0]
    greedy = Engine(made).generate([Request(PROMPTS[0], None, temperature=0.0, max_new_tokens=6)])[0]
    assert done.ids == greedy.ids and done.logprob == 0.0  # κ = 1 leaves the likeliest token alone


def test_a_folder_keeps_all_models(tmp_path: Path) -> None:
    made = policy(amount=0.8, plausibility=0.05)
    again = Policy.load(made.save(tmp_path / "policy"))
    assert again.steering == made.steering and len(again.helpers) == 1
    for condition in (ASKED, None):
        assert torch.equal(*(each.logprobs(PROMPTS, REPLIES, [condition] * 3) for each in (made, again)))
    made.save(tmp_path / "policy", overwrite=True)
    (tmp_path / "policy" / "helpers" / "0").rename(tmp_path / "policy" / "helpers" / "3")
    with pytest.raises(ModelError, match="incomplete: it has 3"):
        Policy.load(tmp_path / "policy")


def test_other_vocabularies_are_refused() -> None:
    words = tiny.tokenizer()
    words.add_tokens(["sparkle"])
    ends = tiny.tokenizer()
    ends.eos_token = "now"
    for tokenizer, says in ((words, "1 tokens differ, e.g. .'sparkle'."), (ends, "end differently")):
        model = tiny.model(tiny.config(vocab_size=40))
        other = Policy(model, Encoder(tokenizer), NoSteering(shared_where=None), tiny.OBJECTIVES)
        with pytest.raises(ModelError, match=says):
            tiny.policy(ProxySteering()).assist(other)
    narrow = Policy(tiny.model(tiny.config(vocab_size=8)), Encoder(tiny.tokenizer()), NoSteering(), tiny.OBJECTIVES)
    with pytest.raises(ModelError, match="fewer rows"):
        tiny.policy(ProxySteering()).assist(narrow)


def test_what_a_proxy_cannot_do_is_refused_with_a_reason() -> None:
    made = policy()
    with pytest.raises(ConditionError, match="several models together"):
        made.coefficients([ASKED])
    with pytest.raises(ModelError, match="no single model's weights"):
        made.merge(ASKED)
    assert made.merge(None) is not None
    with pytest.raises(ConditionError, match="small models are weighted"):
        made.check(Targets({"kind": 1.0}))
    with pytest.raises(ModelError, match="they are not here"):
        tiny.policy(ProxySteering()).logprobs(PROMPTS[:1], REPLIES[:1], [ASKED])
    with pytest.raises(ConditionError, match="not steered"):
        made.model(input_ids=tiny.ids(1), steer=torch.ones(1, 3))
    for options in ({"plausibility": 1.5}, {"amount": float("nan")}):
        with pytest.raises(ConfigError):
            ProxySteering(**options)
