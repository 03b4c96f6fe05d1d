"""Preference accuracy: does the policy, asked for one objective, find the preferred response likelier?

Sources: methods.md E1, E1b and J7. Log-probabilities are summed over response tokens, in nats; lengths are in tokens.
P pairs, N responses. Ties count as wrong (strict), as in the thesis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from pluralign.errors import ConfigError
from pluralign.evaluation.bootstrap import mean_interval

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """Pairs of one objective as the policy sees them, all [P].

    `chosen` and `rejected` are log-probabilities under the policy asked for this objective alone, `chosen_reference`
    and `rejected_reference` under the reference; lengths are at least 1; `prompts` names the prompt of each pair.
    """

    objective: str
    chosen: Floats
    rejected: Floats
    chosen_reference: Floats
    rejected_reference: Floats
    chosen_length: Floats
    rejected_length: Floats
    prompts: tuple[str, ...]

    def __post_init__(self) -> None:
        arrays = {
            name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("objective", "prompts")
        }
        wrong = [name for name, values in arrays.items() if np.shape(values) != (len(self.prompts),)]
        if wrong or not self.prompts:
            raise ConfigError(f"{self.objective}: pairs need the same number (at least 1) everywhere; check {wrong}")


def preferred(chosen: Floats, rejected: Floats) -> NDArray[np.bool_]:
    """chosen > rejected, strictly: [P]. Its mean is the preference accuracy (thesis eq. 5.1)."""
    return np.asarray(chosen) > np.asarray(rejected)


def correct(pairs: Judged) -> dict[str, NDArray[np.bool_]]:
    """Each pair right or wrong [P], by name of the measure.

    likelihood: log π(chosen) > log π(rejected). implicit_reward: the same for log π - log π_ref. per_token: the
    likelihood divided by length. reference: the reference's likelihood. longer, shorter: length alone, no model.
    """
    return {
        "likelihood": preferred(pairs.chosen, pairs.rejected),
        "implicit_reward": preferred(pairs.chosen - pairs.chosen_reference, pairs.rejected - pairs.rejected_reference),
        "per_token": preferred(pairs.chosen / pairs.chosen_length, pairs.rejected / pairs.rejected_length),
        "reference": preferred(pairs.chosen_reference, pairs.rejected_reference),
        "longer": preferred(pairs.chosen_length, pairs.rejected_length),
        "shorter": preferred(pairs.rejected_length, pairs.chosen_length),
    }


def accuracy_table(objectives: Sequence[Judged], num_replicates: int = 500, seed: int = 0) -> list[dict[str, object]]:
    """One row per objective: number of pairs, each measure with its interval, and the length-only baseline.

    `length_only` is the better of 'always the longer' and 'always the shorter': a policy has learnt something about
    an objective only where it beats this. Intervals resample prompts; null with fewer than two prompts.
    """
    return [_row(pairs, num_replicates, seed) for pairs in objectives]


def _row(pairs: Judged, num_replicates: int, seed: int) -> dict[str, object]:
    measures = correct(pairs)
    intervals = {name: _interval(right, pairs.prompts, num_replicates, seed) for name, right in measures.items()}
    means = {name: float(right.mean()) for name, right in measures.items()}
    better = max(("longer", "shorter"), key=means.__getitem__)
    return {
        "objective": pairs.objective,
        "num_pairs": len(pairs.prompts),
        **means,
        "length_only": means[better],
        "length_only_rule": better,
        "intervals": {**intervals, "length_only": intervals[better]},
    }


def _interval(right: NDArray[np.bool_], prompts: Sequence[str], num_replicates: int, seed: int) -> list[float] | None:
    low, high = mean_interval(right.astype(np.float64), prompts, num_replicates, seed)
    return [low, high] if np.isfinite(low) else None


def preference_correlation(logprobs: Floats, scores: Floats, prompts: Sequence[str]) -> dict[str, float]:
    """Within-prompt Kendall tau-b and Spearman of log π(y|x, e_j) [N] with the score on j [N] (methods.md E1b).

    Averaged over prompts with at least two distinct scores (and log-probabilities); NaN when there is none.
    `num_prompts` says over how many. Divide `logprobs` by lengths for the length-normalised form.
    """
    names = np.asarray(prompts, dtype=object).astype(str)
    found = [_correlations(logprobs[names == name], scores[names == name]) for name in np.unique(names)]
    pairs = np.array([pair for pair in found if pair is not None]).reshape(-1, 2)
    kendall, spearman = pairs.mean(axis=0) if len(pairs) else (float("nan"), float("nan"))
    return {"kendall": float(kendall), "spearman": float(spearman), "num_prompts": float(len(pairs))}


def _correlations(logprobs: Floats, scores: Floats) -> tuple[float, float] | None:
    known = np.isfinite(scores) & np.isfinite(logprobs)
    if min(len(np.unique(scores[known])), len(np.unique(logprobs[known]))) < 2:
        return None
    kendall = float(kendalltau(logprobs[known], scores[known]).statistic)
    return kendall, float(spearmanr(logprobs[known], scores[known]).statistic)
