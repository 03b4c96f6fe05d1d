"""Policy folders that are damaged, foreign or none, and disks that are full: a clear error, nothing half-written."""

from __future__ import annotations

import contextlib
import json
import resource
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertLMHeadModel, T5Config, T5ForConditionalGeneration

from pluralign.errors import (
    DataError,
    FormatVersionError,
    ModelError,
    PluralignError,
    StorageError,
)
from pluralign.policy import Policy
from pluralign.steering.none import NoSteering
from pluralign.steering.plural import PluralSteering
from test_policy import STEERINGS, logprobs
from tiny import OBJECTIVES, WORDS, policy, shake, tokenizer


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A policy's folder; copy it before changing it."""
    return policy(STEERINGS["head"](), shaken=0.2).save(tmp_path_factory.mktemp("saved") / "policy")


@pytest.fixture
def damaged(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "policy")


def test_a_newer_folder_is_refused(damaged):
    about = json.loads((damaged / "policy.json").read_text())
    (damaged / "policy.json").write_text(json.dumps({**about, "format_version": 2}))
    with pytest.raises(FormatVersionError, match="upgrade"):
        Policy.load(damaged)


@pytest.mark.parametrize(
    ("file", "error"),
    [
        ("policy.json", DataError),
        ("steering.safetensors", ModelError),
        ("base/model.safetensors", ModelError),
        ("base/config.json", ModelError),
        ("base/tokenizer.json", ModelError),
    ],
)
def test_a_cut_or_missing_file_is_named(damaged, file, error):
    whole = (damaged / file).read_bytes()
    for kept in (0, len(whole) // 2, len(whole) - 1):
        (damaged / file).write_bytes(whole[:kept])
        with contextlib.suppress(PluralignError) if kept == len(whole) - 1 else pytest.raises(error):
            Policy.load(damaged)
    (damaged / file).unlink()
    with pytest.raises(ModelError):
        Policy.load(damaged)


def test_a_missing_base_is_not_looked_for_on_the_hub(damaged, monkeypatch):
    shutil.rmtree(damaged / "base")
    monkeypatch.chdir(damaged.parent)
    with pytest.raises(ModelError, match="base/"):
        Policy.load("policy")


def test_missing_weights_are_not_made_up(damaged):
    tensors = load_file(damaged / "base/model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, damaged / "base/model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 .*model\.norm\.weight"):
        Policy.load(damaged)


@pytest.mark.parametrize("change", ["missing", "shape", "extra"])
def test_changes_that_do_not_fit_are_refused(damaged, change):
    tensors = load_file(damaged / "steering.safetensors")
    name = next(iter(tensors))
    if change == "missing":
        del tensors[name]
    else:
        tensors["odd" if change == "extra" else name] = torch.zeros(2, 2)
    save_file(tensors, damaged / "steering.safetensors")
    with pytest.raises(ModelError):
        Policy.load(damaged)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=60)
@given(data=st.data(), junk=JUNK)
def test_no_value_in_policy_json_ends_in_a_traceback(saved, tmp_path_factory, data, junk):
    about = json.loads((saved / "policy.json").read_text())
    places = [(about, key) for key in about] + [
        (about[part], key) for part in ("steering", "bounds", "encoder") for key in about[part]
    ]
    parent, key = data.draw(st.sampled_from(range(len(places))).map(places.__getitem__))
    if data.draw(st.booleans()):
        parent[key] = junk
    else:
        del parent[key]
    folder = tmp_path_factory.mktemp("junk")
    for name in ("base", "steering.safetensors"):
        (folder / name).symlink_to(saved / name)
    (folder / "policy.json").write_text(json.dumps(about))
    with contextlib.suppress(ModelError, DataError, FormatVersionError):
        Policy.load(folder)


def test_what_is_no_model_is_refused_with_a_reason(tmp_path, saved):
    with pytest.raises(ModelError, match=r"policy\.json"):
        Policy.load(tmp_path)
    with pytest.raises(ModelError, match=r"config\.json"):
        Policy.from_base(tmp_path, NoSteering(), OBJECTIVES)
    with pytest.raises(ModelError, match="there is no folder"):
        Policy.from_base(tmp_path / "nowhere", NoSteering(), OBJECTIVES)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot load"):
        Policy.from_base(tmp_path, NoSteering(), OBJECTIVES)


def test_an_encoder_decoder_is_refused_with_a_reason(tmp_path):
    sizes = {"vocab_size": len(WORDS), "d_model": 16, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0)).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"encoder-decoder \(t5\)"):
        Policy.from_base(tmp_path, NoSteering(), OBJECTIVES)


def test_a_model_that_reads_ahead_is_refused_with_a_reason(tmp_path):
    sizes = {"vocab_size": len(WORDS), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    torch.manual_seed(0)
    made = BertConfig(**sizes, num_attention_heads=2, max_position_embeddings=32, initializer_range=0.5)
    BertLMHeadModel(made).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="reads ahead"):
        Policy.from_base(tmp_path, NoSteering(), OBJECTIVES)


def test_code_that_a_folder_brings_is_not_run(saved, tmp_path):
    folder = shutil.copytree(saved / "base", tmp_path / "base")
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    about = json.loads((folder / "config.json").read_text())
    about |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"}}
    (folder / "config.json").write_text(json.dumps(about))
    with pytest.raises(ModelError, match="custom code"):  # and 'ran' is never raised
        Policy.from_base(folder, NoSteering(), OBJECTIVES)


def test_an_existing_folder_is_refused_and_replaced_only_on_request(tmp_path):
    steered = policy(STEERINGS["head"]())
    folder = steered.save(tmp_path / "policy")
    before = logprobs(Policy.load(folder))
    shake(steered, 0.3)
    with pytest.raises(StorageError, match="exists"):
        steered.save(folder)
    assert torch.equal(logprobs(Policy.load(folder)), before)
    steered.save(folder, overwrite=True)
    assert torch.equal(logprobs(Policy.load(folder)), logprobs(steered))
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


@contextlib.contextmanager
def files_up_to(size: int):
    """As if the disk were full after `size` bytes of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 400, 1300, 4000, 20_000, 60_000])
def test_a_full_disk_leaves_nothing_half_written(tmp_path, size):
    steered = policy(PluralSteering(where="all", rank="full"))
    with files_up_to(size), pytest.raises(StorageError):
        steered.save(tmp_path / "policy")
    assert list(tmp_path.iterdir()) == []
    steered.save(tmp_path / "policy")
