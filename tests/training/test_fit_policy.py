"""`fit` with the real Policy on a tiny random Llama: head-only, all-linear and prompt steering, killed and continued."""

from dataclasses import replace

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pluralign.data.condition import Weights
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response, user
from pluralign.encoding import Encoder
from pluralign.losses.dpo import CDPO
from pluralign.losses.regression import Regression
from pluralign.losses.sft import SFT
from pluralign.policy import Policy
from pluralign.steering.none import NoSteering
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.weights import PromptWeights
from pluralign.training.batching import Collator
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run
from pluralign.training.source import GroupSource
from pluralign.training.tradeoff import TradeOffSource

WORDS = ["<unk>", "</s>", *":.,0123456789", "kind", "brief", "please", "tell", "me", "a", "joke", "now"]
WORDS += ["good", "nice", "funny", "short", "long", "very", "and"]
OBJECTIVES = (Objective("kind"), Objective("brief"))
STEERINGS = {
    "head": lambda: PluralSteering(rank=4),
    "all": lambda: PluralSteering(where="all", rank=2),
    "head and shared attention": lambda: PluralSteering(rank="full", shared_where="attention", shared_rank=2),
    "prompt": PromptWeights,
}
SHORT = Optim(steps=8, lr=5e-3, head_lr=2e-2, warmup=2)


def encoder(max_length: int | None = None) -> Encoder:
    words = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits(individual_digits=True)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="</s>")
    return Encoder(tokenizer, max_length=max_length)


def policy(steering=None, max_length: int | None = None) -> Policy:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        tie_word_embeddings=False,
    )
    return Policy(LlamaForCausalLM(config), encoder(max_length), steering or PluralSteering(rank=4), OBJECTIVES)


def records() -> list[Record]:
    texts = ("good .", "good nice and kind .", "very very long and funny .", "short .")
    scored = tuple(Response(text, {"kind": k / 4, "brief": 1 - k / 4}) for k, text in enumerate(texts))
    return [Record(user(prompt), scored) for prompt in ("tell me a joke", "please tell me", "now : a joke please")]


def source() -> TradeOffSource:
    return TradeOffSource(records(), OBJECTIVES, responses_per_step=8, weights_per_step=3)


def train(folder, trained: Policy, loss=None, optim=SHORT, data=None, resume=False, **options):
    with Run(folder, resume=resume) as run:
        result = fit(trained, data or source(), loss or Regression(), run.stage("train"), optim, **options)
        return result, run.tracker.file.read()


@pytest.mark.parametrize("name", STEERINGS)
def test_training_starts_at_the_reference_and_learns_to_obey(tmp_path, name):
    trained = policy(STEERINGS[name]())
    optim = replace(SHORT, steps=150) if name == "prompt" else replace(SHORT, lr=1e-2, head_lr=5e-2, steps=24)
    _, lines = train(tmp_path / "run", trained, optim=optim)
    if name != "prompt":  # a prompt with a condition is another prompt, so it does not start at the reference
        assert abs(lines[0]["delta"]) < 1e-4
    losses = [line["loss"] for line in lines]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    prompts, texts = [user("tell me a joke")] * 2, ["short .", "good ."]
    kind, brief = (trained.logprobs(prompts, texts, [Weights({objective: 1.0})] * 2) for objective in ("kind", "brief"))
    assert kind[0] - kind[1] > brief[0] - brief[1]  # "short ." is kinder here, "good ." briefer


@pytest.mark.parametrize("name", STEERINGS)
def test_an_interrupted_run_ends_with_the_same_bits(tmp_path, name):
    class Cut(TradeOffSource):
        def batch(self, step):
            if step == 5:
                raise EOFError
            return super().batch(step)

    whole = policy(STEERINGS[name]())
    train(tmp_path / "whole", whole, checkpoint_every=2)
    cut = policy(STEERINGS[name]())
    with pytest.raises(EOFError):
        data = Cut(records(), OBJECTIVES, responses_per_step=8, weights_per_step=3)
        train(tmp_path / "cut", cut, data=data, checkpoint_every=2)
    again = policy(STEERINGS[name]())
    train(tmp_path / "cut", again, resume=True, checkpoint_every=2)
    for key, tensor in whole.trainable_state().items():
        assert torch.equal(again.trainable_state()[key], tensor), key


@pytest.mark.parametrize("name", STEERINGS)
def test_a_batch_agrees_with_the_policys_own_log_probabilities(name):
    trained = policy(STEERINGS[name]())
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for tensor in trained.trainable_state().values():
            tensor += 0.05 * torch.randn(tensor.shape, generator=generator)
    groups = source().batch(3) + source().batch(4)[:2]
    batch = Collator(trained)(groups)
    outputs = trained.outputs(batch)
    found = outputs.logprobs[batch.judgements.chosen, batch.judgements.condition]
    judged = [(group, preference) for group in groups for preference in group.preferences]
    expected = trained.logprobs(
        [group.messages for group, _ in judged],
        [group.responses[preference.chosen] for group, preference in judged],
        [group.conditions[preference.condition] for group, preference in judged],
    )
    assert torch.allclose(found, expected, atol=1e-4)
    assert outputs.lengths.tolist() == batch.lengths.tolist()


def test_sft_without_conditions_and_a_preference_stage_on_top(tmp_path):
    plain = policy(NoSteering())
    groups = [Group(record.messages, tuple(r.text for r in record.responses)) for record in records()]
    result, lines = train(tmp_path / "sft", plain, SFT(), replace(SHORT, steps=30), GroupSource(groups, 3))
    assert result.loss < lines[0]["loss"]
    assert not (tmp_path / "sft" / "cache").exists()


def test_validation_and_half_precision(tmp_path):
    held_out = source().batch(99)
    options = {"validation": held_out, "validate_every": 2}
    result, _ = train(tmp_path / "a", policy(), CDPO(), **options)
    half, _ = train(tmp_path / "b", policy(), CDPO(), replace(SHORT, precision="bf16"), **options)
    assert result.best_step == min(result.validation, key=lambda pair: pair[1])[0]
    assert half.validation_loss == pytest.approx(result.validation_loss, abs=0.05)


def test_responses_longer_than_max_length_are_counted(tmp_path):
    result, lines = train(tmp_path / "run", policy(max_length=5))
    assert result.rejected == 3 * 2  # two of the four replies, after each of three prompts
    assert sum(line["examples"] for line in lines) > 0
    assert sum(line["rejected"] for line in lines) > 0
