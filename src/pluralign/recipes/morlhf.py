"""Recipes of MORLHF: every number set.

default   PPO, β .2 towards a KL of 3, on a front of each objective, all of them, and two pairs
lab       the lab: RLOO, few steps of a high rate
lab_ppo   the same by PPO
paper     a 7B model and two objectives: PPO, lr 1e-5, β .2 towards a KL of 3 (public code of Rewards-in-Context)
"""

from __future__ import annotations

from pluralign.losses.policy_gradient import PolicyGradient
from pluralign.losses.ppo import PPO
from pluralign.methods.morlhf import Morlhf
from pluralign.methods.steps.online import Sampling
from pluralign.methods.steps.proximal import Proximal
from pluralign.steering.front import FrontSteering
from pluralign.training.optim import Optim


def default() -> Morlhf:
    """As the method's file says."""
    return Morlhf()


def lab() -> Morlhf:
    """A step for each rollout of 64 replies; β is about a quarter of a point per nat. Changes of the head need a tenth of the
    steps that changes of the attention need, and keep replies grammatical.
    """
    return Morlhf(
        loss=PolicyGradient(),
        beta=0.2,
        proximal=Proximal(),
        sampling=Sampling(prompts_per_step=16, replies_per_prompt=4, max_new_tokens=64, num_reference=256),
        optim=Optim(steps=25, lr=1e-2, warmup=2),
        steering=FrontSteering(where="head"),
    )


def lab_ppo() -> Morlhf:
    """Two passes over each rollout of 64 replies, in steps of 16 prompts."""
    return Morlhf(
        loss=PPO(),
        beta=0.2,
        proximal=Proximal(epochs=2),
        sampling=Sampling(prompts_per_step=32, replies_per_prompt=2, max_new_tokens=64, num_reference=256),
        optim=Optim(steps=60, batch_size=16, lr=5e-3, warmup=2),
        steering=FrontSteering(where="head"),
    )


def paper() -> Morlhf:
    """lr 1e-5, β .2 towards 3 nats are the public code's; rollouts, passes and the five weights of two objectives are ours."""
    return Morlhf(
        beta=0.2,
        proximal=Proximal(epochs=4, kl_target=3.0),
        sampling=Sampling(prompts_per_step=256, replies_per_prompt=2, max_new_tokens=128),
        optim=Optim(steps=1600, batch_size=128, lr=1e-5, warmup=0, schedule="constant"),
        steering=FrontSteering(
            where="attention", rank=64, points=((1.0, 0.0), (0.7, 0.3), (0.5, 0.5), (0.3, 0.7), (0.0, 1.0))
        ),
    )
