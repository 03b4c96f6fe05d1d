"""Policy: model + encoder + steering + objectives + reference. The only file that knows a policy's folder.

    policy.json             format_version, steering, objectives, bounds, encoder, lineage
    base/                   the base model and its tokenizer, a plain Hugging Face folder
    steering.safetensors    the changes
    helpers/N               the policies whose models answer beside this one's, if any

Letters: R rows, L conditions of a row, K objectives, D changes, C = D + 2 coefficients, T tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import Parameter

from pluralign import logprobs, members, policy_folder, sharing, trial
from pluralign.base_model import load_base, plain_model, weights_fingerprint
from pluralign.data.condition import Bounds, Condition
from pluralign.data.objective import Objective, unique
from pluralign.data.record import Message
from pluralign.encoding import Encoder
from pluralign.errors import ConfigError, ModelError
from pluralign.layer_states import state_outputs
from pluralign.losses.outputs import SEEN, Loss, Metrics, Outputs, sees_states, sees_tokens, total
from pluralign.steering import fused
from pluralign.steering.contract import Steering, reference_coefficients
from pluralign.steering.fused import Judged
from pluralign.steering.head import Head, epilogue_of
from pluralign.steering.none import NoSteering
from pluralign.steering.passes import supports
from pluralign.steering.surgery import base_state, delta_state, load_deltas, merged_state, plural_layers
from pluralign.storage import damage, fingerprint
from pluralign.token_outputs import token_outputs

log = logging.getLogger("pluralign")


class Policy:
    """A language model that can be asked; see the module's text for its folder."""

    folder_name: ClassVar[str] = "policy"  # in a run's folder

    def __init__(
        self,
        model: Any,
        encoder: Encoder,
        steering: Steering,
        objectives: Sequence[Objective],
        bounds: Bounds | None = None,
        lineage: Mapping[str, Any] | None = None,
    ) -> None:
        self.model, self.encoder, self.steering = model, encoder, steering
        self.objectives = unique(objectives)
        self.bounds = bounds or Bounds()
        self.lineage: dict[str, Any] = dict(lineage or {})
        if "base_fingerprint" not in self.lineage:
            self.lineage["base_fingerprint"] = weights_fingerprint(model)
        steering.attach(model, encoder, self.objectives)
        self.head = Head(model.get_output_embeddings(), epilogue_of(model.config))
        self.fused = logprobs.head_agrees(model, self.head, steering, self.num_changes)
        if not self.fused:
            log.warning(
                "%s does something after its head that we do not know; using its own logits", type(model).__name__
            )
        self._kept: Policy | None = None
        self.helpers: tuple[Policy, ...] = ()
        self.sharing = trial.sharing_of(model, steering, self.num_changes, self.fused)

    # -- making one ------------------------------------------------------------------------------------------------

    @classmethod
    def from_base(
        cls,
        source: str | Path,
        steering: Steering,
        objectives: Sequence[Objective],
        *,
        template: str | None = None,
        max_length: int | None = None,
        truncate: str = "left",
        dtype: str = "float32",
        device: str = "cpu",
        adapter: str | Path | None = None,
        bounds: Bounds | None = None,
        lineage: Mapping[str, Any] | None = None,
    ) -> Policy:
        """A fresh policy on a Hugging Face causal LM (folder or hub id); `adapter` is a peft LoRA folder to merge first.

        Raises ModelError for a folder that is no model, an encoder-decoder, or a tokenizer without an end token.
        """
        model, tokenizer = load_base(source, dtype=dtype, device=device, adapter=adapter)
        encoder = Encoder(tokenizer, template, max_length, truncate)  # type: ignore[arg-type]
        known = {"base": str(source), "base_fingerprint": weights_fingerprint(model), **(lineage or {})}
        return cls(model, encoder, steering, objectives, bounds, known)

    @classmethod
    def load(cls, folder: str | Path, *, dtype: str = "float32", device: str = "cpu") -> Policy:
        """Read a policy folder. Raises ModelError, DataError or FormatVersionError with what is wrong with it."""
        about, tensors = policy_folder.read(folder)
        model, tokenizer = load_base(Path(folder) / policy_folder.BASE, dtype=dtype, device=device)
        with damage(Path(folder) / policy_folder.ABOUT):
            encoder = Encoder(tokenizer, **about.encoder)
            policy = cls(model, encoder, about.steering, about.objectives, about.bounds, about.lineage)
            load_deltas(model, tensors)
            policy.assist(*(cls.load(each, dtype=dtype, device=device) for each in policy_folder.helpers(folder)))
        return policy

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Write the policy folder, whole or not at all (StorageError)."""
        return policy_folder.write(self, folder, overwrite)

    # -- facts -----------------------------------------------------------------------------------------------------

    @property
    def num_objectives(self) -> int:
        """K."""
        return len(self.objectives)

    @property
    def num_changes(self) -> int:
        """D: K where every objective has one change."""
        return self.steering.num_changes(self.objectives)

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.model.get_input_embeddings().weight.device

    @property
    def models(self) -> tuple[Policy, ...]:
        """This policy, and the others whose models answer beside its own (`assist`)."""
        return (self, *self.helpers)

    def assist(self, *helpers: Policy) -> None:
        """Let other policies' models answer beside this one's, as the steering says; saved with the policy.

        Raises ModelError unless they read the same tokens.
        """
        policy_folder.check_vocabulary(self, helpers)
        self.helpers = helpers

    def fingerprint(self) -> str:
        """Identity of the base weights, template and vocabulary (what reference log-probabilities depend on)."""
        return fingerprint(self.lineage.get("base_fingerprint"), self.encoder.config(), self.encoder.template_text)

    # -- conditions ------------------------------------------------------------------------------------------------

    def check(self, condition: Condition | None) -> Condition | None:
        """The condition in the steering's own kind, after checking it against the bounds (ConditionError)."""
        if condition is None:
            return None
        self.bounds.check(condition, self.objectives)
        return self.steering.translate(condition, self.objectives)

    def coefficients(self, conditions: Sequence[Condition | None]) -> Tensor:
        """Conditions -> [R, C] on the policy's device."""
        return self.steering.coefficients(conditions, self.objectives).to(self.device)

    def reference_coefficients(self, num_rows: int) -> Tensor:
        """[R, C] of the reference (the base before any change)."""
        return reference_coefficients(num_rows, self.num_changes).to(self.device)

    # -- log-probabilities -----------------------------------------------------------------------------------------

    def outputs(self, batch: Any) -> Outputs:
        """Differentiable log-probabilities of a `training.batching.Batch`; [R, L]."""
        states = None if batch.states is None else batch.states.gather(batch.rows)
        summed = logprobs.response_logprobs(self, batch.input_ids, batch.targets_mask, batch.coefficients, states)
        return Outputs(summed, batch.reference, batch.targets_mask.sum(1), batch.groups)

    def losses(self, batch: Any, loss: Loss, scale: float = 1.0) -> tuple[Tensor, Tensor, Metrics]:
        """(scale · Σ losses of a `training.batching.Batch`, differentiable; the losses [P]; their metrics).

        The head and the loss in one go (`steering/fused.py`), where the head is known to it.
        """
        if SEEN in batch.series and not sees_tokens(loss):
            raise ConfigError(f"{type(loss).__name__} is no loss over tokens, so none can be hidden; set forget to 0")
        if sees_states(loss):
            return total(loss, state_outputs(self, batch, loss.layers), batch.judgements, scale)  # type: ignore[attr-defined]
        if sees_tokens(loss):
            return total(loss, token_outputs(self, batch, loss.needs_reference), batch.judgements, scale)
        if not (self.fused and supports(self.head)):
            return total(loss, self.outputs(batch), batch.judgements, scale)
        states = None if batch.states is None else batch.states.gather(batch.rows)
        found = logprobs.response_states(self, batch.input_ids, batch.targets_mask, batch.coefficients, states)
        judged = Judged(batch.reference, batch.lengths, batch.groups, batch.judgements)
        return fused.losses(self.head, *found, judged=judged, loss=loss, scale=scale)

    @torch.no_grad()
    def reference_logprobs(self, batch: Any) -> Tensor:
        """log π_ref(y|x) [R], summed over response tokens. Right while the base is untouched, inside, or kept."""
        if self._kept is not None:
            return self._kept.reference_logprobs(batch)
        rows = self.reference_coefficients(len(batch.input_ids))[:, None]
        states = None if batch.states is None else batch.states.gather(batch.rows)
        return logprobs.response_logprobs(self, batch.input_ids, batch.targets_mask, rows, states)[:, 0]

    @property
    def reference(self) -> Policy:
        """A policy whose reference coefficients are the base's: this one, or the copy that `keep_reference` made."""
        return self._kept or self

    def keep_reference(self) -> None:
        """Before all weights are trained: keep a copy of the model as it stands, where the base is not inside."""
        if self._kept is None and not self.steering.reference_inside:
            base = plain_model(self.model, base_state(self.model))
            encoder = Encoder(self.encoder.tokenizer, **self.encoder.config())
            self._kept = Policy(base, encoder, NoSteering(shared_where=None), self.objectives, lineage=self.lineage)
            base.requires_grad_(False)

    @property
    def frozen_trunk(self) -> bool:
        """Whether hidden states before the head depend on nothing that is trained or asked."""
        return self.fused and not self.steering.trunk_columns() and set(self.trainable()) <= {"heads"}

    @torch.no_grad()
    def trunk_states(self, batch: Any) -> Tensor:
        """Hidden states [N, d] at the positions that predict the batch's response tokens, row after row."""
        trial.settle(self)
        rows = self.reference_coefficients(len(batch.input_ids))
        return sharing.read(self, batch.input_ids, batch.targets_mask, rows)

    def logprobs(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        conditions: Sequence[Condition | None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Tensor:
        """log π(y|x, condition) [N] in nats, summed over the response and its end token (float32, no gradient).

        Raises ModelError where a response does not fit `max_length`, ConfigError for lists of different lengths.
        """
        asked = conditions if conditions is not None else [None] * len(responses)
        if not len(prompts) == len(responses) == len(asked):
            raise ConfigError(
                f"one prompt and one condition per response: got {len(prompts)} prompts, {len(responses)} responses and "
                f"{len(asked)} conditions"
            )
        return members.logprobs_of(self, members.all_rows(self, prompts, responses, asked), progress)

    # -- training --------------------------------------------------------------------------------------------------

    def trainable(self) -> dict[str, list[Parameter]]:
        """Parameters that train, in two groups: "heads" (the objectives' changes) and "trunk" (everything else)."""
        own = {
            id(parameter)
            for layer in plural_layers(self.model).values()
            if layer.objectives is not None
            for parameter in layer.objectives.parameters()
        }
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        groups = {
            "heads": [p for p in parameters if id(p) in own],
            "trunk": [p for p in parameters if id(p) not in own],
        }
        return {name: group for name, group in groups.items() if group}

    def trainable_state(self) -> dict[str, Tensor]:
        """Trained tensors by name (detached, sharing memory)."""
        return {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}

    def load_trainable_state(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `trainable_state`; ModelError unless the names are exactly the same."""
        own = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        if set(own) != set(tensors):
            raise ModelError(
                "the checkpoint's trained tensors are not this policy's; is it from another configuration?"
            )
        with torch.no_grad():
            for name, tensor in tensors.items():
                own[name].copy_(tensor)

    # -- leaving ---------------------------------------------------------------------------------------------------

    def merge(self, condition: Condition | None) -> Any:
        """A plain Hugging Face model that answers as this policy does under the condition (untied head)."""
        checked = self.check(condition)
        self.steering.check_merge(checked)
        if self.steering.write((Message("user", ""),), checked) != (Message("user", ""),):
            raise ModelError(
                "a prompt-steered policy cannot be merged under a condition: its condition is text, and no weights hold "
                "it; leave the condition out (no --steer) and write it into the prompt, as the model card then says"
            )
        coefficients = self.coefficients([checked])[0]
        return plain_model(self.model, merged_state(self.model, coefficients))

    def steering_state(self) -> dict[str, Tensor]:
        """The changes, by parameter name; those of the objectives are [K, ...]."""
        return delta_state(self.model)

    def load_steering_state(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of `steering_state`; ModelError unless names and shapes are this policy's."""
        load_deltas(self.model, tensors)
