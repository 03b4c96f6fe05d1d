"""Recipes of steering vectors.

default   the middle blocks of any model
lab       the first block of the lab's two
paper     blocks 10, 12 .. 20 of a model of 32 (Liu et al. 2023)
"""

from __future__ import annotations

from pluralign.methods.vectors import Vectors
from pluralign.steering.vectors import VectorSteering


def default() -> Vectors:
    """Blocks between .3 and .65 of the depth."""
    return Vectors()


def lab() -> Vectors:
    """The model has two blocks, and its states say little of what a whole reply will be: gains on validation prompts are
    .04 (scale 4), .09 (2), -.43 (8); after the second block .10 (4), -.83 (12). A row of the comparison, not a result."""
    return Vectors(scale=4.0, steering=VectorSteering((0,)))


def paper() -> Vectors:
    """The paper's blocks; a = 5."""
    return Vectors(scale=5.0, steering=VectorSteering((10, 12, 14, 16, 18, 20)))
