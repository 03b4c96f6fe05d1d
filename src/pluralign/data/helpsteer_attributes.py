"""The five attributes that both HelpSteer datasets rate, and the columns of their rows (arXiv 2311.09528, 2406.08673)."""

from __future__ import annotations

from pluralign.data.objective import Objective, names

OBJECTIVES = (
    Objective("helpfulness", "overall helpfulness of the reply to the prompt", high=4),
    Objective("correctness", "all pertinent facts, without errors", high=4),
    Objective("coherence", "consistent and clear", high=4),
    Objective("complexity", "depth needed to write the reply; neither end is better by itself", high=4),
    Objective("verbosity", "detail, compared with what was asked; neither end is better by itself", high=4),
)
ATTRIBUTES = names(OBJECTIVES)
ROW = ("prompt", "response", *ATTRIBUTES)
