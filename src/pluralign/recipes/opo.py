"""Recipes of OPO: every number set; the stores are yours (--stores law.jsonl rules.txt).

default     5 norms, nearest by their words
paper       5 norms, nearest by hidden states, answers of up to 512 tokens
"""

from __future__ import annotations

from pluralign.methods.opo import Opo
from pluralign.sampling.local import Decoding
from pluralign.steering.prompt.norms import PromptNorms


def default() -> Opo:
    """The defaults."""
    return Opo()


def paper() -> Opo:
    """Embeddings by a model: its own."""
    return Opo(steering=PromptNorms(embedding="states"), decoding=Decoding(max_new_tokens=512))
