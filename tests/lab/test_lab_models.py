"""The shipped base models: small, plain checkpoints, fluent, indifferent to padding, remade by one command."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pluralign import lab
from pluralign.errors import ConfigError
from pluralign.lab.base import BaseTraining, batches, collate, draw_examples, train
from pluralign.lab.likelihood import measure, reply_logprobs
from pluralign.lab.shipped import NAMES
from pluralign.lab.tokenizer import build_tokenizer, vocabulary

TINY = BaseTraining(hidden_size=16, intermediate_size=16, num_layers=1, num_replies=200, num_steps=40, batch_size=8)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_is_small_and_plain(name: str) -> None:
    files = {file.name: file.stat().st_size for file in lab.base_path(name).iterdir()}
    assert sum(files.values()) <= 2_000_000
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", "lab.json"} <= set(files)
    assert not [file for file in files if Path(file).suffix in (".bin", ".pt", ".pkl")]
    config = json.loads((lab.base_path(name) / "config.json").read_text(encoding="utf-8"))
    assert config["tie_word_embeddings"] is False and config["max_position_embeddings"] >= 160
    assert "_name_or_path" not in config


def test_unknown_model_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="base, nano"):
        lab.base_path("huge")


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_tokenizer_is_the_one_that_is_built(load, name: str) -> None:
    _, tokenizer = load(name)
    built = build_tokenizer()
    assert tokenizer.get_vocab() == built.get_vocab() == {word: place for place, word in enumerate(vocabulary())}
    text = "Oh no, that is rough! I feel you, friend."
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == built.decode(built(text)["input_ids"]) == text
    turns = [{"role": "user", "content": "My lamp keeps flickering."}]
    assert tokenizer.apply_chat_template(turns, tokenize=False) == built.apply_chat_template(turns, tokenize=False)


def test_base_is_fluent_on_held_out_prompts(load) -> None:
    found = measure(*load("base"), lab.prompts("test"), num_each=10)
    assert found.fluency >= 0.90  # 380 samples: two standard errors below .93
    assert abs(found.sentences - 4.735) < 0.35
    expected = [1.82, 1.42, 1.03, 0.80, 1.72, 0.98]
    assert np.allclose(list(found.scores.values()), expected, atol=0.35)


def test_measured_facts_of_the_shipped_models_meet_the_targets() -> None:
    facts = json.loads((lab.base_path("base") / "lab.json").read_text(encoding="utf-8"))
    for split in ("validation", "test"):
        assert facts["measured"][split]["fluency"] >= 0.925
        assert abs(facts["measured"][split]["sentences"] - 4.735) <= 0.15
    assert json.loads((lab.base_path("nano") / "lab.json").read_text(encoding="utf-8"))["mass"] >= 0.92


def test_padding_on_either_side_changes_nothing(load) -> None:
    model, tokenizer = load("base")
    turns = [[asdict(message) for message in record.messages] for record in lab.prompts("test")[:6]]
    logits = []
    for side in ("left", "right"):
        asked = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, return_dict=True, return_tensors="pt", padding=True, padding_side=side
        )
        with torch.no_grad():
            found = model(**asked).logits
        logits.append(torch.cat([row[mask.bool()] for row, mask in zip(found, asked["attention_mask"], strict=True)]))
    assert torch.allclose(*logits, atol=2e-4)


def test_likelihoods_are_those_of_single_rows(load, drawn) -> None:
    model, tokenizer = load("base")
    record = lab.prompts("test")[0]
    replies = [text for topic, _, text in drawn if topic.noun == record.extra["topic"]][:5]
    together = reply_logprobs(model, tokenizer, record.messages, replies)
    alone = [reply_logprobs(model, tokenizer, record.messages, [reply])[0] for reply in replies]
    assert np.allclose(together, alone, atol=1e-3) and (together < 0).all()
    assert reply_logprobs(model, tokenizer, record.messages, []).shape == (0,)


def test_training_is_deterministic_and_learns() -> None:
    steps: list[int] = []
    trained = train(TINY, lambda step, loss: steps.append(step))
    again = train(TINY).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in trained.state_dict().items())
    assert steps == list(range(TINY.num_steps))
    barely = train(replace(TINY, num_steps=1))
    reply = ["Please check the charging cable. You got this, champ!"]
    after, before = (
        reply_logprobs(model, build_tokenizer(), lab.prompts("train")[0].messages, reply) for model in (trained, barely)
    )
    assert after > before + 5.0


def test_batches_hold_every_example_once_per_round() -> None:
    examples = draw_examples(TINY, build_tokenizer())
    supply = batches(examples, TINY)
    seen = [id(example[1]) for _ in range(len(examples) // TINY.batch_size) for example in next(supply)]
    assert len(set(seen)) == len(examples) == 200
    ids, labels = collate([([1, 2], [3, 4]), ([1], [5])], pad=0)
    assert ids.tolist() == [[1, 2, 3, 4], [1, 5, 0, 0]]
    assert labels.tolist() == [[-100, 3, 4, -100], [5, -100, -100, -100]]
