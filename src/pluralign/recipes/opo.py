"""Recipes of OPO: every number set; the stores are yours (--stores law.jsonl rules.txt).

default     5 norms, nearest by their words
lab         what the lab's objectives mean, one norm each; its model follows no instructions, so that it runs to the end and
            no number is claimed
paper       5 norms, nearest by hidden states, answers of up to 512 tokens
"""

from __future__ import annotations

from pluralign.methods.opo import Opo
from pluralign.sampling.local import Decoding
from pluralign.steering.prompt.norms import PromptNorms


def default() -> Opo:
    """The defaults."""
    return Opo()


def lab() -> Opo:
    """A store for each objective of the lab."""
    from pluralign.lab.scoring import OBJECTIVES

    norms = tuple((objective.name, objective.description, "lab", "") for objective in OBJECTIVES)
    return Opo(num_prompts=0, steering=PromptNorms(norms=norms, num=2))


def paper() -> Opo:
    """Embeddings by a model: its own."""
    return Opo(steering=PromptNorms(embedding="states"), decoding=Decoding(max_new_tokens=512))
