"""RewardModel: a trunk with a scalar, or a distribution over classes, per objective; it is a scorer.

The head reads the last hidden state at the response's last token (its end token, where it ended by itself):

    bt            r_k = w_k·h + b_k; scores are shift_k + scale_k r_k, standardised over the replies it was trained on
    regression    the same, in the objective's own units
    classes       p_k = softmax over num_classes classes, spread evenly from the objective's low to its high; a score is
                  the expectation, or the likeliest class (`reading`)

(methods.md D1, D2, A9.) To the training loop it is a policy: under `Weights` λ its "log-probability" of a reply is λ·r,
under `Targets` the log-probability of those classes. So pairs, prompts and shared prefixes work as they do elsewhere.

Letters: R rows, L conditions of a row, K objectives, H outputs of the head (K, or K · num_classes), d width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from pluralign.base_model import load_base
from pluralign.data.condition import Condition, Targets, Weights, vector
from pluralign.data.group import Text
from pluralign.data.objective import Objective, known, names, unique
from pluralign.data.record import Record, Response
from pluralign.encoding import Encoder
from pluralign.errors import ConditionError, ConfigError, ModelError
from pluralign.logprobs import pad
from pluralign.losses.outputs import Loss, Metrics, Outputs, total
from pluralign.packing import batches
from pluralign.policy import Policy
from pluralign.reward_folder import ABOUT, BASE, HEAD_NAME, read, write
from pluralign.reward_states import last_of, response_states, without_head
from pluralign.steering.none import NoSteering
from pluralign.storage import damage, fingerprint

CHUNK = 64  # replies that are read before their records are handed out

Kind = Literal["bt", "regression", "classes"]
Reading = Literal["expectation", "argmax"]


class RewardModel:
    """A scorer that is trained; see the module's text.

    `trunk` is a policy without steering, which this model takes over (its head is not used). `shift`, `scale` [K] turn
    what the head says into scores. Raises ConfigError for an unknown kind or reading, ModelError for a trunk that is
    steered or has no decoder.
    """

    folder_name: ClassVar[str] = "reward"  # in a run's folder

    def __init__(
        self,
        trunk: Policy,
        objectives: Sequence[Objective],
        kind: Kind = "regression",
        *,
        num_classes: int = 5,
        reading: Reading = "expectation",
        lineage: Mapping[str, Any] | None = None,
    ) -> None:
        _check(trunk, objectives, kind, num_classes, reading)
        self.trunk, self.kind, self.num_classes, self.reading = without_head(trunk), kind, num_classes, reading
        self.objectives = unique(objectives)
        self.lineage: dict[str, Any] = dict(lineage or {})
        self.shift, self.scale = [0.0] * len(self.objectives), [1.0] * len(self.objectives)
        width = trunk.model.get_input_embeddings().embedding_dim
        self.head = nn.Linear(width, len(self.objectives) * self._classes, device=trunk.device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        trunk.model.add_module(HEAD_NAME, self.head)  # so that it moves and is averaged over processes with the trunk

    # -- making one ------------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, folder: str | Path, *, dtype: str = "float32", device: str = "cpu") -> RewardModel:
        """Read a reward model's folder. Raises ModelError, DataError or FormatVersionError with what is wrong with it."""
        about, tensors = read(folder)
        model, tokenizer = load_base(Path(folder) / BASE, dtype=dtype, device=device)
        model.requires_grad_(False)
        with damage(Path(folder) / ABOUT):
            trunk = Policy(model, Encoder(tokenizer, **about["encoder"]), NoSteering(shared_where=None), ())
            model.requires_grad_(False)
            objectives = [Objective.from_json(item) for item in about["objectives"]]
            options = {name: about[name] for name in ("kind", "num_classes", "reading", "lineage")}
            made = cls(trunk, objectives, **options)
            made.shift, made.scale = ([float(number) for number in about[name]] for name in ("shift", "scale"))
            made.head.load_state_dict(tensors)
        return made

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Write the folder, whole or not at all (StorageError)."""
        return write(self, folder, overwrite)

    # -- facts -----------------------------------------------------------------------------------------------------

    @property
    def _classes(self) -> int:
        return self.num_classes if self.kind == "classes" else 1

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.trunk.device

    def fingerprint(self) -> str:
        """Identity of the untrained trunk, its encoder and what is read from it."""
        return fingerprint("reward", self.trunk.fingerprint(), self.kind, names(self.objectives))

    def class_values(self) -> Tensor:
        """The score [K, num_classes] that each class stands for, evenly from low to high."""
        steps = torch.linspace(0, 1, self.num_classes)
        return torch.stack([o.low + (o.high - o.low) * steps for o in self.objectives])

    # -- scores ----------------------------------------------------------------------------------------------------

    def score(self, records: Iterable[Record]) -> Iterator[Record]:
        """The same records, in order, every reply with this model's scores in place of those it had on its objectives.

        A reply that does not fit, or has no token, gets none. Scores are held within the objectives' ranges.
        """
        for chunk in _chunks(records):
            rows = iter(self.predict([(r.messages, y.text, y.finished) for r in chunk for y in r.responses]).tolist())
            for record in chunk:
                yield replace(record, responses=tuple(self._scored(y, next(rows)) for y in record.responses))

    def predict(self, texts: Sequence[Text]) -> Tensor:
        """Scores [N, K], float32, of (messages, response, finished); NaN rows where one does not fit."""
        raw = self.raw(texts)
        if self.kind != "classes":
            return torch.tensor(self.shift) + torch.tensor(self.scale) * raw
        if self.reading == "expectation":
            return (raw.exp() * self.class_values()).sum(-1)
        likeliest = torch.nan_to_num(raw).argmax(-1)
        found = self.class_values().expand(len(raw), -1, -1).gather(-1, likeliest[..., None])[..., 0]
        return torch.where(raw.isnan().any(-1), math.nan, found)

    @torch.no_grad()
    def raw(self, texts: Sequence[Text]) -> Tensor:
        """What the head says: rewards [N, K], or log-probabilities of the classes [N, K, num_classes]; NaN as above."""
        pairs = [self.encoder.pair(*text) for text in texts]
        places = [place for place, pair in enumerate(pairs) if pair is not None and pair[1]]
        found = torch.full((len(pairs), self.head.out_features), math.nan)
        fitting = [pair for pair in pairs if pair is not None and pair[1]]
        lengths = [len(prompt) + len(response) for prompt, response in fitting]
        self.model.eval()
        for rows in batches(lengths, [tuple(prompt) for prompt, _ in fitting]):
            ids, mask = pad([fitting[row] for row in rows], self.device)
            found[[places[row] for row in rows]] = self._table(
                last_of(response_states(self.trunk, ids, mask), mask.sum(1))
            ).cpu()
        return found.view(len(pairs), -1, self.num_classes) if self.kind == "classes" else found

    def _scored(self, response: Response, row: Sequence[float]) -> Response:
        kept = {name: score for name, score in response.scores.items() if name not in names(self.objectives)}
        fits = not any(map(math.isnan, row))
        new = {o.name: min(max(score, o.low), o.high) for o, score in zip(self.objectives, row, strict=True) if fits}
        return replace(response, scores={**kept, **new})

    # -- what the training loop asks for (training/trainable.py) ---------------------------------------------------

    @property
    def model(self) -> Any:
        """The trunk, with the head as a module of it."""
        return self.trunk.model

    @property
    def encoder(self) -> Encoder:
        """The trunk's."""
        return self.trunk.encoder

    @property
    def steering(self) -> Any:
        """The trunk's: nothing is written into a dialogue."""
        return self.trunk.steering

    def coefficients(self, conditions: Sequence[Condition | None]) -> Tensor:
        """[L, H]: weights λ for rewards, targets (the class nearest to each) for classes; zeros for None."""
        return torch.stack([self._coefficients(condition) for condition in conditions])

    def _coefficients(self, condition: Condition | None) -> Tensor:
        row = torch.zeros(self.head.out_features)
        if condition is None:
            return row
        if self.kind != "classes" and isinstance(condition, Weights):
            return torch.from_numpy(vector(condition, self.objectives)).float()
        if self.kind == "classes" and isinstance(condition, Targets):
            known(condition.values, self.objectives)
            for place, (objective, values) in enumerate(zip(self.objectives, self.class_values(), strict=True)):
                if objective.name in condition.values:
                    nearest = int((values - condition.values[objective.name]).abs().argmin())
                    row[place * self.num_classes + nearest] = condition.strength
            return row
        raise ConditionError(f"a reward model of kind {self.kind} cannot be asked for {condition}")

    def outputs(self, batch: Any) -> Outputs:
        """λ·r, or log-probabilities of classes, [R, L], of a `training.batching.Batch`."""
        states = self.trunk_states(batch) if batch.states is None else batch.states.gather(batch.rows)
        table = self._table(last_of(states, batch.lengths))
        asked = torch.einsum("rh,rlh->rl", table, batch.coefficients.to(table))
        return Outputs(asked, batch.reference, batch.lengths, batch.groups)

    def losses(self, batch: Any, loss: Loss, scale: float = 1.0) -> tuple[Tensor, Tensor, Metrics]:
        """(scale · Σ losses, differentiable; the losses [P]; their metrics)."""
        return total(loss, self.outputs(batch), batch.judgements, scale)

    def reference_logprobs(self, batch: Any) -> Tensor:
        """Raises ModelError: nothing is measured against a reference here."""
        raise ModelError("a reward model has no reference; use a loss of losses/reward.py")

    @property
    def frozen_trunk(self) -> bool:
        """Whether only the head is trained."""
        return set(self.trainable()) <= {"heads"}

    def trunk_states(self, batch: Any) -> Tensor:
        """Hidden states [N, d] at the batch's response tokens."""
        return response_states(self.trunk, batch.input_ids, batch.targets_mask)

    def trainable(self) -> dict[str, list[nn.Parameter]]:
        """The head ("heads"), and what trains below it ("trunk")."""
        own = {id(parameter) for parameter in self.head.parameters()}
        below = [p for p in self.model.parameters() if p.requires_grad and id(p) not in own]
        return {"heads": list(self.head.parameters()), **({"trunk": below} if below else {})}

    def trainable_state(self) -> dict[str, Tensor]:
        """Trained tensors by name (detached, sharing memory)."""
        return self.trunk.trainable_state()

    def load_trainable_state(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `trainable_state`; ModelError unless the names are exactly the same."""
        self.trunk.load_trainable_state(tensors)

    def _table(self, states: Tensor) -> Tensor:
        """The head on states [R, d], in float32: rewards [R, K], or log-probabilities [R, K · num_classes]."""
        with torch.autocast(states.device.type, enabled=False):
            raw = self.head(states.float())
            if self.kind == "classes":
                raw = raw.view(len(raw), -1, self.num_classes).log_softmax(-1).flatten(1)
        return raw


def _check(trunk: Policy, objectives: Sequence[Objective], kind: str, num_classes: int, reading: str) -> None:
    if kind not in get_args(Kind) or reading not in get_args(Reading):
        allowed = f"kind is one of {', '.join(get_args(Kind))}, reading one of {', '.join(get_args(Reading))}"
        raise ConfigError(f"{allowed}; got {kind!r} and {reading!r}")
    if num_classes < 2:
        raise ConfigError(f"num_classes must be at least 2, got {num_classes}")
    if not objectives:
        raise ConfigError("a reward model needs at least one objective")
    if not isinstance(trunk.steering, NoSteering):
        raise ModelError(
            "a reward model's trunk is not steered; train it with methods.rewarding.train_reward(policy, ...)"
        )


def _chunks(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Records with at least CHUNK replies together, but for the last."""
    chunk: list[Record] = []
    size = 0
    for record in records:
        chunk.append(record)
        size += len(record.responses)
        if size >= CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
