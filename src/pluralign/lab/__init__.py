"""The lab: a tiny readable world with exact scorers and an exact optimum, the package's embedded default.

A support desk answers 24 everyday problems in ordinary English. Six objectives are computed exactly from a reply's
text, so every method can be compared with the best that is possible. What stands here needs no torch:

    lab.objectives                              the six objectives
    lab.prompts(split)                          "train" 130, "validation" 24, "test" 38 prompts as records
    lab.ExactScorer().score(records)            exact scores
    lab.Ratings(lab.NoisyRater()).score(...)    ratings by simulated people (also HaloRater, Comparisons)
    lab.base_path("base" | "nano")              the folder of a shipped base model

Further: `grammar` and `parser` (replies), `pool` and `corruption` (training data), `optimum` and `nano` (the exact
yardsticks), `build` (remakes the base models: python -m pluralign.lab.build).
"""

from pluralign.lab.parser import grammatical, repetition
from pluralign.lab.prompt_set import prompts, topic_of
from pluralign.lab.raters import Comparisons, HaloRater, NoisyRater, Ratings
from pluralign.lab.scoring import OBJECTIVES, ExactScorer, score_vectors
from pluralign.lab.shipped import base_path

objectives = OBJECTIVES

__all__ = [
    "OBJECTIVES",
    "Comparisons",
    "ExactScorer",
    "HaloRater",
    "NoisyRater",
    "Ratings",
    "base_path",
    "grammatical",
    "objectives",
    "prompts",
    "repetition",
    "score_vectors",
    "topic_of",
]
