"""Policy: its folder there and back, damaged and foreign folders, full disks, and merging into a plain model."""

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
from transformers import AutoModelForCausalLM, BertConfig, BertLMHeadModel, T5Config, T5ForConditionalGeneration

from pluralign.data.condition import Bounds, Weights
from pluralign.data.record import user
from pluralign.encoding import Encoder
from pluralign.errors import (
    ConditionError,
    ConfigError,
    DataError,
    FormatVersionError,
    ModelError,
    PluralignError,
    StorageError,
)
from pluralign.policy import Policy
from pluralign.steering.none import NoSteering
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.weights import PromptWeights
from tiny import OBJECTIVES, WORDS, config, ids, model, policy, shake, tokenizer

STEERINGS = {
    "head": lambda: PluralSteering(rank=4),
    "head, literal, shared": lambda: PluralSteering(rank="full", shared_where="attention", base_share="sum"),
    "all": lambda: PluralSteering(where="all", rank=2),
    "prompt": PromptWeights,
    "prompt, all trained": lambda: PromptWeights(shared_where=None),
    "none": NoSteering,
    "none, all trained": lambda: NoSteering(shared_where=None),
}
ASKED = Weights({"kind": 0.2, "brief": 0.5, "funny": 0.3})


def logprobs(steered: Policy, condition: Weights | None = ASKED) -> torch.Tensor:
    asked = None if isinstance(steered.steering, NoSteering) else condition
    return steered.logprobs([user("tell me a joke"), user("now")], ["good .", "very very long ."], [asked, asked])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A policy's folder; copy it before changing it."""
    return policy(STEERINGS["head"](), shaken=0.2).save(tmp_path_factory.mktemp("saved") / "policy")


@pytest.fixture
def damaged(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "policy")


# -- there and back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("name", STEERINGS)
def test_a_saved_policy_comes_back_with_the_same_bits(tmp_path, name, tied):
    before = policy(STEERINGS[name](), shaken=0.2, tie_word_embeddings=tied)
    before.lineage["data"] = [{"source": "people", "licence": "CC0", "records": 3}]
    after = Policy.load(before.save(tmp_path / "policy"))
    assert torch.equal(logprobs(after), logprobs(before))
    if not isinstance(before.steering, NoSteering):
        assert not torch.equal(logprobs(before), logprobs(before, None))
    assert (after.steering, after.objectives, after.lineage) == (before.steering, before.objectives, before.lineage)
    assert after.fingerprint() == before.fingerprint()
    assert after.trainable_state().keys() == before.trainable_state().keys()
    again = Policy.load(after.save(tmp_path / "again"))
    assert torch.equal(logprobs(again), logprobs(before))
    head, embeddings = after.model.get_output_embeddings(), after.model.get_input_embeddings()
    shared = getattr(head, "base", head).weight.data_ptr() == embeddings.weight.data_ptr()
    assert shared == tied


def test_bounds_and_encoder_are_kept_but_not_the_leave_to_extrapolate(tmp_path):
    bounds = Bounds({"kind": (-0.5, 0.9)}, simplex=False, allow_extrapolation=True)
    encoder = Encoder(tokenizer(), "dialogue", 40, "reject")
    before = Policy(model(config()), encoder, NoSteering(), OBJECTIVES, bounds)
    after = Policy.load(before.save(tmp_path / "policy"))
    assert after.bounds == Bounds({"kind": (-0.5, 0.9)}, simplex=False)
    assert after.encoder.config() == encoder.config()


def test_conditions_outside_the_bounds_are_refused():
    steered = policy(PluralSteering())
    for weights in ({"kind": 1.5, "brief": -0.5}, {"kind": 0.5}, {"clever": 1.0}):
        with pytest.raises(ConditionError):
            steered.check(Weights(weights))
    assert steered.check(None) is None and steered.check(ASKED) == ASKED


def test_a_policy_on_a_base_folder_and_in_half_precision(saved):
    fresh = Policy.from_base(saved / "base", PluralSteering(), OBJECTIVES, max_length=30, lineage={"recipe": "r"})
    assert fresh.lineage["base"] == str(saved / "base") and fresh.lineage["recipe"] == "r"
    base = AutoModelForCausalLM.from_pretrained(saved / "base", dtype="float32")
    assert torch.equal(fresh.model(ids()).logits, base(ids()).logits)
    half = Policy.load(saved, dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16
    assert torch.allclose(logprobs(half), logprobs(Policy.load(saved)), atol=0.5)
    with pytest.raises(ConfigError, match="dtype"):
        Policy.load(saved, dtype="int8")


def test_two_bases_have_two_fingerprints():
    one, other = (Policy(model(config(), seed), Encoder(tokenizer()), NoSteering(), OBJECTIVES) for seed in (0, 1))
    assert one.fingerprint() != other.fingerprint()
    assert one.fingerprint() != Policy(model(config()), Encoder(tokenizer(), "dialogue"), NoSteering(), OBJECTIVES)


def test_responses_that_do_not_fit_are_refused():
    short = Policy(model(config()), Encoder(tokenizer(), max_length=4), NoSteering(), OBJECTIVES)
    with pytest.raises(ModelError, match="max_length=4"):
        short.logprobs([user("tell me")], ["very very very very long"])


def test_trainable_groups_and_their_state():
    steered = policy(STEERINGS["head, literal, shared"](), shaken=0.2)
    groups = steered.trainable()
    assert [len(groups[name]) for name in ("heads", "trunk")] == [1, 16]
    other = policy(STEERINGS["head, literal, shared"]())
    other.load_trainable_state(steered.trainable_state())
    assert torch.equal(logprobs(other), logprobs(steered))
    with pytest.raises(ModelError, match="another configuration"):
        policy(STEERINGS["all"]()).load_trainable_state(steered.trainable_state())


# -- folders that are none, or damaged -----------------------------------------------------------------------------


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


# -- disks ---------------------------------------------------------------------------------------------------------


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


# -- merging -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("name", [name for name in STEERINGS if "prompt" not in name])
def test_the_merged_model_says_the_same(tmp_path, name, tied):
    steered = policy(STEERINGS[name](), shaken=0.3, tie_word_embeddings=tied)
    asked = None if isinstance(steered.steering, NoSteering) else ASKED
    steered.merge(asked).save_pretrained(tmp_path / "plain")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "plain", dtype="float32")
    assert json.loads((tmp_path / "plain/config.json").read_text())["tie_word_embeddings"] is False
    prompt = ids(1)
    options = {"attention_mask": torch.ones_like(prompt), "max_new_tokens": 12, "do_sample": False}
    row = steered.coefficients([asked])
    said = steered.model.generate(prompt, steer=row, **options)
    assert torch.equal(plain.generate(prompt, **options), said)
    assert torch.allclose(plain(prompt).logits, steered.model(prompt, steer=row).logits, atol=1e-4)


def test_the_literal_base_share_is_merged_too():
    bounds = Bounds(allow_extrapolation=True)
    made = PluralSteering(rank=4, shared_where="attention", base_share="sum")
    steered = Policy(model(config()), Encoder(tokenizer()), made, OBJECTIVES, bounds)
    shake(steered, 0.3)
    asked = Weights({"kind": 1.5, "brief": -1.0})
    steer = steered.coefficients([asked])
    assert torch.allclose(steered.merge(asked)(ids()).logits, steered.model(ids(), steer=steer).logits, atol=1e-4)


def test_merging_refuses_what_it_cannot_keep():
    with pytest.raises(ModelError, match="its condition is text"):
        policy(PromptWeights()).merge(ASKED)
    with pytest.raises(ConditionError, match="outside its bound"):
        policy(PluralSteering()).merge(Weights({"kind": 2.0, "brief": -1.0}))
