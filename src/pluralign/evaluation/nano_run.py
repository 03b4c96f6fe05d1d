"""The nano world's exact share of achievable value for a policy trained there (no sampling noise)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pluralign import lab
from pluralign.data.condition import from_vector
from pluralign.data.record import Message
from pluralign.data.simplex import report_grid
from pluralign.lab.nano import NanoReport
from pluralign.lab.nano import evaluate as evaluate_exactly
from pluralign.logprobs import sequence_logprobs
from pluralign.policy import Policy

Array = NDArray[np.float64]


def nano_report(policy: Policy) -> NanoReport:
    """Utility, KL, regret and share of achievable value at β_r = .25, mean over the grid of 32 weights."""

    def logprobs(messages: Sequence[Message], texts: Sequence[str], rows: torch.Tensor) -> Array:
        pairs = [policy.encoder.pair(messages, text) for text in texts]
        assert all(pair is not None for pair in pairs), "a nano reply does not fit the nano model"
        coefficients = rows[None].expand(len(texts), -1, -1)
        return sequence_logprobs(policy, pairs, coefficients).double().numpy()  # type: ignore[arg-type]

    def steered(messages: Sequence[Message], texts: Sequence[str], weights: Array) -> Array:
        return logprobs(messages, texts, policy.coefficients([from_vector(row, policy.objectives) for row in weights]))

    def reference(messages: Sequence[Message], texts: Sequence[str]) -> Array:
        return logprobs(messages, texts, policy.reference_coefficients(1))[:, 0]

    return evaluate_exactly(steered, reference, report_grid(len(lab.objectives)))
