"""Export: a merged plain model with its card, a peft adapter equal to the policy, and adapters of others coming in."""

from __future__ import annotations

import json

import peft
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config

from pluralign.data.condition import Bounds, Weights
from pluralign.data.objective import Objective
from pluralign.data.record import Message, user
from pluralign.encoding import Encoder
from pluralign.errors import ConditionError, ModelError, StorageError
from pluralign.export.adapter import export_lora
from pluralign.export.whole import export
from pluralign.policy import Policy
from pluralign.steering.none import NoSteering
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.weights import PromptWeights
from tiny import OBJECTIVES, config, ids, model, policy, shake, tokenizer

# peft asks transformers by a name that transformers has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

ASKED = Weights({"kind": 0.25, "funny": 0.75}, 1.5)
STEERINGS = {
    "head": lambda: PluralSteering(rank=3),
    "all and shared": lambda: PluralSteering(where="all", rank=2, shared_where="attention", shared_rank=4),
    "literal": lambda: PluralSteering(where="attention", rank=2, base_share="sum"),
    "none": lambda: NoSteering(shared_where="all"),
}
REPORT = {"gain_mean": 2.125, "regret": None, "base": {"gain_mean": 0.0}, "optimum": {"gain_mean": 3.0}, "title": "x"}


def asked(steered: Policy) -> Weights | None:
    return None if isinstance(steered.steering, NoSteering) else ASKED


def steered_logprobs(steered: Policy) -> torch.Tensor:
    row = steered.coefficients([asked(steered)])
    with torch.no_grad():
        return steered.model(ids(), steer=row).logits.log_softmax(-1)


def saved_base(folder, tied: bool = False):
    """A plain base folder."""
    model(config(tie_word_embeddings=tied)).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


# -- a whole model -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STEERINGS)
def test_the_exported_folder_is_a_plain_model_that_answers_the_same(tmp_path, name):
    steered = policy(STEERINGS[name](), shaken=0.2)
    folder = export(steered, tmp_path / "out", asked(steered)).folder
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    with torch.no_grad():
        assert torch.allclose(plain(ids()).logits.log_softmax(-1), steered_logprobs(steered), atol=1e-4)
    again = Policy.from_base(folder, NoSteering(), OBJECTIVES)
    prompts, texts = [user("tell me a joke")] * 2, ["good .", "very long ."]
    expected = steered.logprobs(prompts, texts, [asked(steered)] * 2)
    assert torch.allclose(again.logprobs(prompts, texts), expected, atol=1e-4)


def test_the_chat_template_goes_along_and_gives_the_same_prompt(tmp_path):
    from tokenizers.processors import TemplateProcessing

    words = tokenizer(bos_token="<s>")
    start = words.convert_tokens_to_ids("<s>")
    words.backend_tokenizer.post_processor = TemplateProcessing("<s> $A", special_tokens=[("<s>", start)])
    made = model(config(vocab_size=len(words)))
    steered = Policy(made, Encoder(words, "dialogue"), PluralSteering(), OBJECTIVES)
    folder = export(steered, tmp_path / "out", ASKED).folder
    messages = [Message("system", "be kind"), *user("tell me a joke")]
    turns = [{"role": m.role, "content": m.content} for m in messages]
    native = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        turns, add_generation_prompt=True, return_dict=True
    )
    assert tuple(native["input_ids"]) == steered.encoder.prompt(messages).ids
    assert words.chat_template is None  # the policy's own tokenizer is as it was


def test_the_card_says_what_was_asked_of_which_data_and_how_it_did(tmp_path):
    steered = policy(PluralSteering(rank=3), objectives=[Objective("kind", "warm | <b>friendly</b>"), *OBJECTIVES[1:]])
    steered.lineage |= {"base": "org/name", "method": "cmpo", "recipe": "default"}
    steered.lineage["data"] = [{"source": "people", "licence": "CC-BY-4.0", "records": 12}, {"source": "x\ny"}]
    text = (
        export(steered, tmp_path / "out", ASKED, report=REPORT, licence="apache-2.0").folder / "README.md"
    ).read_text()
    _, front, body = text.split("---\n", 2)
    about = yaml.safe_load(front)
    assert about["license"] == "apache-2.0" and about["base_model"] == "org/name"
    assert {"pluralign", "steerable"} <= set(about["tags"]) and about["library_name"] == "transformers"
    for told in (
        "`kind=0.25,funny=0.75 @1.5`", "warm \\| &lt;b>friendly", "| people | CC-BY-4.0 | 12 |", "| x y | unknown | unknown |",
        "| policy | 2.12 |", "| optimum | 3 |", "cmpo", "default", steered.lineage["base_fingerprint"], "where=head",
    ):  # fmt: skip
        assert told in body, told
    assert "regret" not in body


def test_a_prompt_steered_policy_leaves_unsteered_and_its_card_says_how_to_ask(tmp_path, caplog):
    words = tokenizer("{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} \n{% endfor %}")
    steered = Policy(model(config()), Encoder(words), PromptWeights(), OBJECTIVES[:2])
    shake(steered)
    folder = export(steered, tmp_path / "out", None).folder
    assert "none is in the weights" in caplog.text
    opening = "<|condition|>kind: 0.50, brief: 0.50<|/condition|>"
    card = (folder / "README.md").read_text()
    assert opening in card and "fixed in these weights;" not in card
    plain, native = AutoModelForCausalLM.from_pretrained(folder, dtype="float32"), AutoTokenizer.from_pretrained(folder)
    asked_for = Weights({"kind": 0.5, "brief": 0.5})
    for system, messages in (
        (opening, user("tell me a joke")),
        (f"{opening}\n\nbe kind", [Message("system", "be kind"), *user("tell me a joke")]),
    ):
        turns = [{"role": "system", "content": system}, {"role": "user", "content": "tell me a joke"}]
        prompt = native.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
        assert tuple(prompt) == steered.encoder.prompt(steered.steering.write(messages, asked_for)).ids
        answer = steered.encoder.response("good nice")
        with torch.no_grad():
            logits = plain(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        own = sum(float(logits[place, number]) for place, number in enumerate(answer))
        assert own == pytest.approx(float(steered.logprobs([messages], ["good nice"], [asked_for])[0]), abs=1e-3)


def test_a_card_with_nothing_to_tell_says_so_and_keeps_folders_to_itself(tmp_path):
    steered = Policy.from_base(saved_base(tmp_path / "secret" / "base"), PluralSteering(), OBJECTIVES)
    text = (export(steered, tmp_path / "out", None, report={}).folder / "README.md").read_text()
    assert "does not say what it was trained on" in text and "Evaluation" not in text
    assert "secret" not in text and "base_model" not in text and "license: unknown" in text
    with_report = export(steered, tmp_path / "other", None, report={"title": "x"}).folder
    assert "none of the ten numbers" in (with_report / "README.md").read_text()


def test_what_cannot_be_exported_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ModelError, match="its condition is text"):
        export(policy(PromptWeights()), tmp_path / "out", Weights({"kind": 1.0}))
    with pytest.raises(ConditionError):
        export(policy(PluralSteering()), tmp_path / "out", Weights({"kind": 3.0}))
    for refused, reason in (
        (policy(PluralSteering(rank="full"), shaken=0.1), "full rank"),
        (policy(NoSteering(shared_where=None)), "own weights were trained"),
        (policy(PromptWeights()), "own weights were trained"),
    ):
        condition = ASKED if isinstance(refused.steering, PluralSteering) else None
        with pytest.raises(ModelError, match=reason):
            export_lora(refused, tmp_path / "out", condition)
    with pytest.raises(ModelError, match="is its base"):
        export_lora(policy(PluralSteering(), shaken=0.1), tmp_path / "out", None)
    assert list(tmp_path.iterdir()) == []
    export(policy(PluralSteering()), tmp_path / "out", ASKED)
    with pytest.raises(StorageError, match="exists"):
        export(policy(PluralSteering()), tmp_path / "out", ASKED)
    export(policy(PluralSteering()), tmp_path / "out", ASKED, overwrite=True)


def test_a_literal_base_share_off_the_simplex_is_no_adapter(tmp_path):
    literal = PluralSteering(where="all", base_share="sum")
    bounds = Bounds(allow_extrapolation=True)
    steered = Policy(model(config()), Encoder(tokenizer()), literal, OBJECTIVES, bounds)
    shake(steered)
    with pytest.raises(ModelError, match="base_share 'sum'"):
        export_lora(steered, tmp_path / "out", Weights({"kind": 0.5, "brief": 0.3}))
    export_lora(steered, tmp_path / "out", Weights({"kind": 1.5, "brief": -0.5}))


# -- peft ----------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("name", STEERINGS)
def test_the_adapter_is_the_policy_for_transformers_and_peft(tmp_path, name, tied):
    base = saved_base(tmp_path / "base", tied)
    steered = Policy.from_base(base, STEERINGS[name](), OBJECTIVES)
    shake(steered, 0.2)
    folder = export_lora(steered, tmp_path / "out", asked(steered)).folder
    plain = AutoModelForCausalLM.from_pretrained(base, dtype="float32")
    adapted = peft.PeftModel.from_pretrained(plain, str(folder)).eval()
    expected = steered_logprobs(steered)
    with torch.no_grad():
        assert torch.allclose(adapted(ids()).logits.log_softmax(-1), expected, atol=1e-4)
    again = Policy.from_base(base, NoSteering(), OBJECTIVES, adapter=folder)  # and back in
    with torch.no_grad():
        assert torch.allclose(again.model(ids()).logits.log_softmax(-1), expected, atol=1e-4)
    about = json.loads((folder / "adapter_config.json").read_text())
    assert about["peft_type"] == "LORA" and about["base_model_name_or_path"] == str(base)
    assert "library_name: peft" in (folder / "README.md").read_text()


def test_transposed_layers_are_exported_too(tmp_path):
    made = GPT2Config(vocab_size=31, n_embd=32, n_layer=1, n_head=4, n_positions=64, tie_word_embeddings=False)
    steered = Policy(model(made), Encoder(tokenizer()), PluralSteering(where="attention", rank=2), OBJECTIVES)
    shake(steered, 0.3)
    folder = export_lora(steered, tmp_path / "out", ASKED).folder
    adapted = peft.PeftModel.from_pretrained(model(made), str(folder)).eval()
    with torch.no_grad():
        assert torch.allclose(adapted(ids()).logits.log_softmax(-1), steered_logprobs(steered), atol=1e-4)


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], ["lm_head", "down_proj"]])
@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
def test_an_adapter_made_by_peft_is_merged(tmp_path, targets, tied):
    base = saved_base(tmp_path / "base", tied)
    torch.manual_seed(3)
    lora = peft.LoraConfig(r=3, lora_alpha=5, target_modules=targets, init_lora_weights=False, task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype="float32"), lora).eval()
    adapted.save_pretrained(str(tmp_path / "adapter"), save_embedding_layers=False)
    steered = Policy.from_base(base, PluralSteering(), OBJECTIVES, adapter=tmp_path / "adapter")
    with torch.no_grad():
        assert torch.allclose(steered.model(ids()).logits, adapted(ids()).logits, atol=1e-4)
    again = Policy.load(steered.save(tmp_path / "policy"))
    with torch.no_grad():
        assert torch.equal(again.model(ids()).logits, steered.model(ids()).logits)


def test_adapters_that_cannot_be_merged_are_refused(tmp_path):
    base = saved_base(tmp_path / "base")
    with pytest.raises(ModelError, match=r"adapter_config\.json"):
        Policy.from_base(base, NoSteering(), OBJECTIVES, adapter=tmp_path)
    made = AutoModelForCausalLM.from_pretrained(base, dtype="float32")
    other = peft.get_peft_model(
        made, peft.IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj"], feedforward_modules=[])
    )
    other.save_pretrained(str(tmp_path / "ia3"))
    with pytest.raises(ModelError, match="only LoRA"):
        Policy.from_base(base, NoSteering(), OBJECTIVES, adapter=tmp_path / "ia3")
    (tmp_path / "ia3/adapter_model.safetensors").rename(tmp_path / "ia3/adapter_model.bin")
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors"):
        Policy.from_base(base, NoSteering(), OBJECTIVES, adapter=tmp_path / "ia3")
