"""The engine: a reply is a function of its request alone, equal to Hugging Face's `generate`, with exact log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2Config, LogitsProcessor, LogitsProcessorList

import tiny
from pluralign import lab
from pluralign.data.condition import Weights
from pluralign.data.record import Record, Response, user
from pluralign.encoding import Encoder
from pluralign.errors import ConditionError, ConfigError, ModelError
from pluralign.logprobs import sequence_logprobs
from pluralign.policy import Policy
from pluralign.sampling.draws import distribution, draw, uniforms
from pluralign.sampling.engine import Completion, Engine, Request
from pluralign.sampling.local import Decoding, complete, sample
from pluralign.steering.plural import PluralSteering

CLOSE = 1e-4
"""Logits move by about 1e-5 with padding and batch size: a draw this near to a boundary may fall on either side."""
ASKED = (None, Weights({"kind": 1.0}), Weights({"kind": 0.3, "brief": 0.7}), Weights({"funny": 1.0}, strength=2.0))
PROMPTS = ("tell me a joke", "joke now", "please tell me a very short and funny joke", "a")


@pytest.fixture(scope="module", params=["llama", "lab"])
def policy(request: pytest.FixtureRequest) -> Policy:
    if request.param == "llama":
        return tiny.policy(PluralSteering(where="attention", rank=2), shaken=0.1)
    made = Policy.from_base(lab.base_path("base"), PluralSteering(rank=4), tiny.OBJECTIVES)
    tiny.shake(made, 0.05)
    return made


def requests(num: int = 12, temperature: float = 1.0, top_p: float = 1.0) -> list[Request]:
    return [
        Request(user(PROMPTS[i % 4]), ASKED[(i // 2) % 4], 100 + i, temperature, top_p, 4 + i % 6) for i in range(num)
    ]


def boundary(policy: Policy, request: Request, done: Completion, other: Completion) -> float:
    """How near the first differing draw was to a boundary: the distance of u from the cumulative distribution."""
    place = next(i for i, (a, b) in enumerate(zip(done.ids, other.ids, strict=False)) if a != b)
    input_ids = torch.tensor([[*done.prompt_ids, *done.ids[:place]]])
    logits = tiny.steered_logits(policy, input_ids, policy.coefficients([request.condition]))[:, -1]
    if request.temperature == 0:
        top = logits[0].topk(2).values
        return float(top[0] - top[1])
    rows = distribution(logits, torch.tensor([request.temperature]), torch.tensor([request.top_p]))
    ends = rows[0].double().exp().cumsum(-1)
    return float((ends - float(uniforms(request.seed, place + 1)[place])).abs().min())


def check_same(policy: Policy, asked: Sequence[Request], one: Sequence[Completion], two: Sequence[Completion]) -> None:
    different = [(r, a, b) for r, a, b in zip(asked, one, two, strict=True) if a.ids != b.ids]
    assert len(different) <= len(asked) // 10
    for request, done, other in different:
        assert boundary(policy, request, done, other) < CLOSE
    for done, other in zip(one, two, strict=True):
        if done.ids == other.ids:
            assert (done.text, done.finished) == (other.text, other.finished)
            assert done.logprob == pytest.approx(other.logprob, abs=2e-3)


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 0.8), (0.0, 1.0)])
def test_a_reply_does_not_depend_on_its_batch(policy: Policy, temperature: float, top_p: float) -> None:
    asked = requests(temperature=temperature, top_p=top_p)
    together = Engine(policy).generate(asked)
    check_same(policy, asked, together, [Engine(policy).generate([request])[0] for request in asked])
    check_same(policy, asked, together, Engine(policy, batch_size=4).generate(asked[::-1])[::-1])
    assert len({done.ids for done in together}) > 4


def test_greedy_is_that_of_hugging_face(policy: Policy) -> None:
    for request in requests(4, temperature=0.0):
        done = Engine(policy).generate([request])[0]
        prompt = torch.tensor([done.prompt_ids])
        found = policy.model.generate(
            prompt,
            steer=policy.coefficients([request.condition]),
            max_new_tokens=request.max_new_tokens,
            do_sample=False,
            attention_mask=torch.ones_like(prompt),
        )
        assert tuple(found[0, prompt.shape[1] :].tolist()) == done.ids


class Drawn(LogitsProcessor):
    """Leaves one token to choose: the one our inverse cumulative distribution draws."""

    def __init__(self, request: Request) -> None:
        self.request, self.uniforms, self.step = request, uniforms(request.seed, request.max_new_tokens), 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        rows = distribution(scores, torch.tensor([self.request.temperature]), torch.tensor([self.request.top_p]))
        token = draw(rows, torch.tensor([self.uniforms[self.step]]))
        self.step += 1
        return torch.full_like(scores, -torch.inf).scatter(1, token[:, None], 0.0)


def test_sampling_is_that_of_hugging_face(policy: Policy) -> None:
    for request in requests(4, temperature=0.9, top_p=0.9):
        done = Engine(policy).generate([request])[0]
        prompt = torch.tensor([done.prompt_ids])
        found = policy.model.generate(
            prompt,
            steer=policy.coefficients([request.condition]),
            max_new_tokens=request.max_new_tokens,
            do_sample=False,
            attention_mask=torch.ones_like(prompt),
            logits_processor=LogitsProcessorList([Drawn(request)]),
        )
        assert tuple(found[0, prompt.shape[1] :].tolist()) == done.ids


def test_the_log_probability_is_that_of_teacher_forcing(policy: Policy) -> None:
    asked = requests()
    drawn = Engine(policy).generate(asked)
    rows = policy.coefficients([request.condition for request in asked])[:, None]
    wanted = sequence_logprobs(policy, [(list(d.prompt_ids), list(d.ids)) for d in drawn], rows)[:, 0]
    torch.testing.assert_close(torch.tensor([d.logprob for d in drawn]).float(), wanted, atol=2e-3, rtol=1e-4)


def test_lengths_and_ends(policy: Policy) -> None:
    end = policy.encoder.end_id
    for request, done in zip(requests(), Engine(policy).generate(requests()), strict=True):
        assert 1 <= len(done.ids) <= request.max_new_tokens
        assert done.finished == (done.ids[-1] == end)
        assert end not in done.ids[:-1]
        assert done.finished or len(done.ids) == request.max_new_tokens
        assert done.text == policy.encoder.decode(done.ids)


def test_a_longer_limit_only_continues_a_reply(policy: Policy) -> None:
    short, long = (Engine(policy).generate([Request(user("joke now"), seed=9, max_new_tokens=n)])[0] for n in (4, 12))
    assert long.ids[: len(short.ids)] == short.ids


def test_a_tiny_temperature_is_greedy(policy: Policy) -> None:
    cold, colder = (
        Engine(policy).generate([Request(user("joke now"), temperature=t, max_new_tokens=6)])[0] for t in (1e-40, 0.0)
    )
    assert cold.ids == colder.ids


def test_rows_that_have_ended_never_leave_the_context() -> None:
    """GPT-2 has a table of places: a row that has ended, but is still in the batch, must not look beyond its end."""
    config = GPT2Config(
        vocab_size=len(tiny.WORDS), n_positions=32, n_embd=16, n_layer=1, n_head=2, bos_token_id=None, eos_token_id=1
    )
    torch.manual_seed(0)
    policy = Policy(
        AutoModelForCausalLM.from_config(config).eval(),
        Encoder(tiny.tokenizer()),
        PluralSteering(rank=2),
        tiny.OBJECTIVES,
    )
    policy.model.get_output_embeddings().base.weight.data[1] = 0.0
    long = Request(user(" ".join(["joke"] * 30)), max_new_tokens=2, seed=1)
    others = [Request(user("a joke"), max_new_tokens=30, seed=i) for i in range(12)]
    together = Engine(policy).generate([long, *others])
    assert together[0].ids == Engine(policy).generate([long])[0].ids


def test_what_cannot_be_asked_is_refused() -> None:
    policy = tiny.policy(PluralSteering(rank=2))
    engine = Engine(policy)
    for condition in (Weights({"kind": 1.5}), Weights({"kind": 0.5}), Weights({"kind": 1.0}, strength=-1.0)):
        with pytest.raises(ConditionError, match="allow-extrapolation"):
            engine.generate([Request(user("a joke"), condition)])
    with pytest.raises(ConditionError, match="unknown objective 'rude'; allowed are: kind, brief, funny"):
        engine.generate([Request(user("a joke"), Weights({"rude": 1.0}))])
    with pytest.raises(ModelError, match="shorten the prompt or lower max_new_tokens"):
        engine.generate([Request(user(" ".join(["joke"] * 60)), max_new_tokens=5)])


@pytest.mark.parametrize(
    "options",
    [{"temperature": -1.0}, {"temperature": float("nan")}, {"top_p": 0.0}, {"top_p": 1.1}, {"max_new_tokens": 0}],
)
def test_settings_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        Request(user("a joke"), **options)  # type: ignore[arg-type]


def test_records_in_records_out() -> None:
    policy = tiny.policy(PluralSteering(rank=2))
    records = [Record(user("a joke"), (Response("good"),)), Record(user("tell me"))]
    told: list[int] = []
    asked = Weights({"kind": 1.0})
    found = sample(policy, records, asked, num_each=2, seed=3, decoding=Decoding(max_new_tokens=5))
    assert [len(record.responses) for record in found] == [3, 2]
    assert found[0].responses[0] == Response("good")
    assert all(response.condition == asked for response in found[1].responses)
    again = complete(policy, records, [asked] * 2, 2, 3, Decoding(max_new_tokens=5, batch_size=1))
    assert [c.text for c in again[1]] == [response.text for response in found[1].responses]
    Engine(policy, 1).generate([Request(user("a"), max_new_tokens=1)] * 3, told.append)
    assert sum(told) == 3
    for wrong in ({"num_each": 0}, {"seed": -1}):
        with pytest.raises(ConfigError):
            complete(policy, records, [asked] * 2, **wrong)  # type: ignore[arg-type]
    assert complete(policy, [], []) == []
