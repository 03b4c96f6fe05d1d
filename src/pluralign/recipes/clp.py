"""Recipes of CLP: every number set.

default          attn-CLP with low-rank copies, policy gradient, α = .01
lab              the lab: policy gradient on 96 replies a step, a high rate
lab_preferences  the lab without a scorer: pairs under drawn weights, cDPO
paper            the paper's summaries (XSum, two rewards): full copies of the attention, α = .01, 10,000 steps
full             the same with copies of every linear layer (full-CLP)
logit            the same with copies of the head (logit-CLP, CMPO's plural model)
prompt           the same with the weights in the prompt, all parameters trained
many_alpha       one reward and α drawn from .005 to .5: two copies, asked for by strength
"""

from __future__ import annotations

from pluralign.losses.dpo import CDPO
from pluralign.methods.clp import Clp
from pluralign.methods.steps.drawn_pairs import DrawnPairs
from pluralign.methods.steps.online import Sampling
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.weights import PromptWeights
from pluralign.training.optim import Optim

_PAPER = Optim(steps=10_000, lr=1e-5, betas=(0.9, 0.999), schedule="constant", warmup=100)
_STEP = Sampling(prompts_per_step=32, replies_per_prompt=2, max_new_tokens=64)


def default() -> Clp:
    """As the method's file says."""
    return Clp()


def lab() -> Clp:
    """full-CLP: 24 prompts a step, each under weights of its own, four replies each."""
    return Clp(
        alpha=0.05,
        sampling=Sampling(prompts_per_step=24, replies_per_prompt=4, max_new_tokens=64, rows=512),
        optim=Optim(steps=100, lr=4e-3, head_lr=4e-3, warmup=5),
        steering=PluralSteering(where="all", rank=8),
        checkpoint_every=50,
    )


def lab_preferences() -> Clp:
    """Copies of rank 4 of every layer (attention alone hardly moves here), cDPO (β = .25, ε = .1) on all pairs of eight replies, one draw of weights a step."""
    return Clp(
        learn_from="preferences",
        pairs=DrawnPairs(loss=CDPO(beta=0.25, label_smoothing=0.1), weights_per_step=1, responses_per_prompt=8),
        optim=Optim(steps=250, lr=4e-3, head_lr=4e-3),
        steering=PluralSteering(where="all", rank=4),
    )


def paper() -> Clp:
    """attn-CLP. Learning rate, batch and replies per prompt are our choices: the available text does not give them."""
    return Clp(sampling=_STEP, optim=_PAPER, steering=PluralSteering(where="attention", rank="full"))


def full() -> Clp:
    """full-CLP: copies of every linear layer, the head included (not of embeddings and norms)."""
    return Clp(sampling=_STEP, optim=_PAPER, steering=PluralSteering(where="all", rank="full"))


def logit() -> Clp:
    """logit-CLP: copies of the head alone."""
    return Clp(sampling=_STEP, optim=_PAPER, steering=PluralSteering(where="head", rank="full"))


def prompt() -> Clp:
    """Prompting: nothing is copied; "name: 0.30, name: 0.70" stands before the dialogue."""
    return Clp(sampling=_STEP, optim=_PAPER, steering=PromptWeights(shared_where=None))


def many_alpha() -> Clp:
    """One reward (or several) under every α: strength 1 asks for α = .05, twice the strength for half the β."""
    return Clp(alpha=0.05, alpha_range=(0.005, 0.5), sampling=_STEP, optim=_PAPER, steering=PluralSteering(where="attention", rank="full"))  # fmt: skip
