"""OPO: alignment on the fly; norms from a store outside the model, before every question. Nothing is trained.

    1. a store of norms: law, morals, the rules of one user (a file; data/norms.py)
    2. for a question x, the k norms nearest to it (cosine of embeddings; steering/prompt/norms.py)
    3. the model answers x behind "answer in keeping with these norms: ..."
    4. a judge, who sees the norms, says whether the answer keeps them

Steering is the choice of the store: by name ("law"), or by weights over objectives that have a store of their name.

Source: Xu et al. 2023, arXiv 2312.15907 (methods.md A23: the idea is the paper's, k = 5 and the cosine are ours). Differs
from the paper: 1. embeddings are tf · idf, or the model's own hidden states, instead of an embedding service; 2. the judge is
any scorer, who is shown the norms as a system turn, instead of multiple-choice questions; 3. several stores can share the k
places, and a strength leads away from what the model says without norms. It needs a model that follows instructions.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from pluralign.data.condition import Condition, Feedback
from pluralign.data.norms import read_norms
from pluralign.data.objective import Objective, names
from pluralign.data.record import Message, Record
from pluralign.errors import ConfigError
from pluralign.methods.contract import Facts, TrainingData
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding
from pluralign.sampling.pool import rollout, scored
from pluralign.sampling.spread import scores_of
from pluralign.scorers.contract import Scorer
from pluralign.steering.prompt.norms import PromptNorms
from pluralign.training.run import Run

log = logging.getLogger("pluralign")


@dataclass(frozen=True, kw_only=True)
class Opo:
    """Norms looked up for every question."""

    facts: ClassVar[Facts] = Facts("arXiv 2312.15907", "norms in words", "the name of a store, or weights", "0", "1")

    stores: tuple[str, ...] = ()
    """files of norms; a store is called as its file is, without the ending"""
    num_prompts: int = 64
    """prompts that are answered with and without each store, and judged, where a scorer is given; 0 judges none"""
    decoding: Decoding = field(default_factory=Decoding)
    """how they are answered"""
    steering: PromptNorms = field(default_factory=PromptNorms)
    """how many norms (5), and what their nearness is"""

    def new_steering(self, objectives: Sequence[Objective]) -> PromptNorms:
        """Step 1. Raises DataError for a bad file, ConfigError for two files of one name."""
        names_of = [Path(path).stem for path in self.stores]
        if len(set(names_of)) < len(names_of):
            raise ConfigError(f"stores are called as their files are, and these are not told apart: {self.stores}")
        read = [(name, norm) for name, path in zip(names_of, self.stores, strict=True) for norm in read_norms(path)]
        norms = tuple((name, norm.text, norm.source, norm.topic) for name, norm in read)
        return dataclasses.replace(self.steering, norms=(*self.steering.norms, *norms))

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Steps 2 and 3 are the steering's; step 4, where there is a scorer."""
        steering = policy.steering
        if not isinstance(steering, PromptNorms):
            raise ConfigError("opo follows norms in the prompt; make its policy with new_steering")
        if data.scorer is not None and self.num_prompts:
            for number, store in enumerate(steering.stores):
                stage = run.stage(f"compliance-{number}")
                if not stage.finished:
                    stage.finish(self._compliance(policy, data, stage.folder, Feedback(store), run.seed))
                log.info("norms of %s: %s", store, stage.result)
        return policy

    def _compliance(
        self, policy: Policy, data: TrainingData, folder: Path, store: Condition, seed: int
    ) -> dict[str, dict[str, float | None]]:
        """Mean scores of answers with the store's norms and without, on what the scorer fills."""
        assert data.scorer is not None
        prompts = data.questions()[: self.num_prompts]
        result: dict[str, dict[str, float | None]] = {}
        for name, condition in (("with", store), ("without", None)):
            part = folder / name
            drawn = rollout(part, policy, prompts, [condition] * len(prompts), None, 1, seed, self.decoding)
            shown = [dataclasses.replace(r, messages=_shown(policy, r.messages, store)) for r in drawn]
            result[name] = _means(scored(part / "scored.jsonl", shown, data.scorer, policy.objectives), data.scorer)
        return result


def _shown(policy: Policy, messages: tuple[Message, ...], store: Condition) -> tuple[Message, ...]:
    """The dialogue with its norms as a system turn, so that a judge can read them."""
    norms, *rest = policy.steering.write(messages, store)
    if rest and rest[0].role == "system":
        return (Message("system", f"{norms.content}\n\n{rest[0].content}"), *rest[1:])
    return (Message("system", norms.content), *rest)


def _means(records: Sequence[Record], scorer: Scorer) -> dict[str, float | None]:
    """By objective; None where nothing was scored."""
    rows = np.concatenate([np.empty((0, len(scorer.objectives))), *(scores_of(r, scorer.objectives) for r in records)])
    known = [column[~np.isnan(column)] for column in rows.T]
    return {
        name: float(column.mean()) if len(column) else None
        for name, column in zip(names(scorer.objectives), known, strict=True)
    }
