"""Any policy asked for a grid of weights: whatever it reads, one judge, and distances to the base on the plain prompt."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import made_up
import tiny
from pluralign.data.condition import from_vector
from pluralign.data.objective import Objective
from pluralign.data.record import Record, user
from pluralign.evaluation.reference import reference_of
from pluralign.evaluation.sampled import SampledEvaluation
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding
from pluralign.steering.none import NoSteering
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.weights import PromptWeights

GRID = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
STEERINGS = {
    "plural": PluralSteering(rank=2),
    "words": PromptWeights(shared_where=None),
    "none": NoSteering(shared_where=None),
}


@dataclass(frozen=True)
class WordCount:
    """kind: how many kind words; brief: nothing for a reply without words."""

    objectives: tuple[Objective, ...] = made_up.OBJECTIVES

    def score(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            yield replace(record, responses=tuple(map(self._scored, record.responses)))

    def _scored(self, reply):
        words = reply.text.split()
        brief = {"brief": 8.0 - min(8, len(words))} if words else {}
        return replace(reply, scores={"kind": float(min(4, words.count("kind"))), **brief})


def evaluation() -> SampledEvaluation:
    return SampledEvaluation(
        records=[Record(user("tell me a joke")), Record(user("kind please"), id="b")],
        objectives=made_up.OBJECTIVES,
        scorer=WordCount(),
        grid=GRID,
        one_hot_each=12,
        other_each=2,
        decoding=Decoding(max_new_tokens=24),
    )


@pytest.mark.parametrize("name", STEERINGS)
def test_every_steering_is_asked_in_its_own_way(name: str, tmp_path: Path) -> None:
    policy = Policy.from_base(made_up.words_model(tmp_path / "base"), STEERINGS[name], made_up.OBJECTIVES)
    tiny.shake(policy, 0.3)
    samples = evaluation().samples(policy)
    assert [len(cell.texts) for cell in samples.cells] == [24, 24, 4] == [len(cell.texts) for cell in samples.base]
    assert set(samples.cells[0].prompts) == {"prompt 0", "b"}
    cell, base = samples.cells[1], reference_of(policy)
    whole = [len(policy.encoder.response(text)) == cell.lengths[i] for i, text in enumerate(cell.texts)]
    chosen = [i for i, text in enumerate(cell.texts) if text and cell.finished[i] and whole[i]]
    assert chosen, "no reply can be read back; take another seed"
    prompts = [user("tell me a joke") if cell.prompts[i] == "prompt 0" else user("kind please") for i in chosen]
    texts = [cell.texts[i] for i in chosen]
    condition = from_vector(GRID[1], policy.objectives) if name != "none" else None
    own = policy.logprobs(prompts, texts, [condition] * len(texts)) - base.logprobs(prompts, texts)
    np.testing.assert_allclose(cell.logratio[chosen], own.numpy(), atol=1e-4)


def test_an_untrained_policy_stays_at_its_base_and_an_absent_score_is_not_zero(tmp_path: Path) -> None:
    policy = Policy.from_base(made_up.words_model(tmp_path / "base"), PluralSteering(rank=2), made_up.OBJECTIVES)
    for cell in evaluation().cells(policy):
        np.testing.assert_allclose(cell.logratio, 0, atol=1e-4)
        silent = [not text.split() for text in cell.texts]
        assert (np.isnan(cell.scores[:, 1]) == silent).all()
        assert np.isfinite(cell.scores[:, 0]).all() and np.isnan(cell.fluent).all()
