"""Gradient checkpointing through `fit` and the command line: it recomputes, and ends with the same weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import OPTConfig

import made_up
import tiny
from pluralign import api
from pluralign.cli import main
from pluralign.encoding import Encoder
from pluralign.errors import ConfigError
from pluralign.losses.regression import Regression
from pluralign.losses.sft import SFT
from pluralign.policy import Policy
from pluralign.steering.none import NoSteering
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.weights import PromptWeights
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.recompute import recomputing
from pluralign.training.run import Run
from pluralign.training.source import GroupSource
from pluralign.training.tradeoff import TradeOffSource

PLAIN = Optim(steps=4, lr=5e-3, head_lr=1e-2, warmup=1)
THRIFTY = replace(PLAIN, gradient_checkpointing=True)
STEERINGS = {
    "all layers": lambda: PluralSteering(where="all", rank=2),
    "head and shared attention": lambda: PluralSteering(rank=4, shared_where="attention", shared_rank=2),
    "prompt": lambda: PromptWeights(shared_rank=2),
    "none, trained in full": lambda: NoSteering(shared_where=None),
}


def trained(folder: Path, steering: Any, optim: Optim, **options: Any) -> tuple[dict[str, torch.Tensor], int]:
    """The trained tensors, and how often an attention layer was run."""
    policy = tiny.policy(steering, objectives=made_up.OBJECTIVES, **options)
    calls: list[None] = []
    policy.model.model.layers[0].self_attn.register_forward_hook(lambda *_: calls.append(None))
    source, loss = TradeOffSource(made_up.scored(8), made_up.OBJECTIVES, 0, 8, 2, 2), Regression()
    if steering.kind == "none":
        groups = [group for step in range(4) for group in source.batch(step)]
        source, loss = GroupSource([replace(g, conditions=(None,), preferences=()) for g in groups], 4), SFT()
    with Run(folder) as run:
        fit(policy, source, loss, run.stage("train"), optim)
    assert not policy.model.is_activation_checkpointing  # a later stage decides for itself
    return {name: tensor.clone() for name, tensor in policy.trainable_state().items()}, len(calls)


@pytest.mark.parametrize("name", STEERINGS)
def test_the_weights_are_the_same_and_layers_run_again(name: str, tmp_path: Path) -> None:
    expected, once = trained(tmp_path / "plain", STEERINGS[name](), PLAIN)
    found, again = trained(tmp_path / "thrifty", STEERINGS[name](), THRIFTY)
    assert again >= once + PLAIN.steps
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, atol=1e-5, rtol=1e-4)


def test_dropout_inside_the_attention_stays_off(tmp_path: Path) -> None:
    made = STEERINGS["all layers"]
    expected, _ = trained(tmp_path / "plain", made(), PLAIN)
    found, _ = trained(tmp_path / "thrifty", made(), THRIFTY, attention_dropout=0.5)
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, atol=1e-5, rtol=1e-4)


def test_where_it_cannot_act_it_says_so() -> None:
    with (
        pytest.raises(ConfigError, match="nothing to recompute: only the head"),
        recomputing(tiny.policy(PluralSteering())),
    ):
        pass
    config = OPTConfig(
        vocab_size=len(tiny.WORDS), hidden_size=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64, word_embed_proj_dim=32, dropout=0.5, bos_token_id=1, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    steering = PluralSteering(where="attention", rank=2)
    policy = Policy(tiny.model(config), Encoder(tiny.tokenizer()), steering, tiny.OBJECTIVES)
    with pytest.raises(ConfigError, match="set its dropout to 0"), recomputing(policy):
        pass
    assert not policy.model.is_activation_checkpointing


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    made_up.words_model(folder / "model")
    made_up.write(folder / "data.jsonl", made_up.scored(8))
    return folder


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("cmpo", ["--steering.where", "all", "--steering.rank", "2"]),
        ("dpo", ["--objective", "kind"]),
        ("sft", ["--epochs", "None"]),
    ],
)
def test_the_command_line_of_every_method(method: str, settings: list[str], place: Path, tmp_path: Path) -> None:
    files = ["--data", place / "data.jsonl", "--model", place / "model", "--out"]
    states = []
    for out, flags in (("plain", []), ("thrifty", ["--optim.gradient-checkpointing"])):
        command = ["train", method, "--quiet", *files, tmp_path / out, *made_up.SMALL, *settings, *flags]
        assert main([str(word) for word in command]) == 0
        states.append(api.load_policy(tmp_path / out).steering_state())
    assert api.settings_of_run(tmp_path / "thrifty")[0].optim.gradient_checkpointing
    for key, tensor in states[0].items():
        torch.testing.assert_close(states[1][key], tensor, atol=1e-5, rtol=1e-4)
