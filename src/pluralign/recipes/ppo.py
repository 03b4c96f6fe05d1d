"""Recipes of PPO: every number set.

default   all objectives evenly, β .2, 4 passes over each rollout
lab       the lab: all objectives evenly, few steps of a high rate
paper     a language model as in public code: rollouts of 512 replies, 4 passes, KL led to 6 nats
"""

from __future__ import annotations

from pluralign.methods.ppo import Ppo
from pluralign.methods.steps.online import Sampling
from pluralign.methods.steps.proximal import Proximal
from pluralign.steering.front import FrontSteering
from pluralign.training.optim import Optim


def default() -> Ppo:
    """As the method's file says."""
    return Ppo()


def lab() -> Ppo:
    """Two passes over each rollout of 64 replies, in steps of 16 prompts."""
    return Ppo(
        beta=0.05,
        proximal=Proximal(epochs=2),
        sampling=Sampling(prompts_per_step=32, replies_per_prompt=2, max_new_tokens=64, num_reference=256),
        optim=Optim(steps=120, batch_size=16, lr=5e-3, warmup=5),
        steering=FrontSteering(where="head"),
    )


def paper() -> Ppo:
    """Clip .2, γ 1 and λ .95 are the papers' (Schulman et al. 2017; Ziegler et al. 2019), as are 4 passes over 512 replies;
    lr 1e-5 and β .2 those of the public code that methods compare with. The number of steps is ours.
    """
    return Ppo(
        beta=0.2,
        proximal=Proximal(epochs=4, kl_target=6.0, kl_horizon=10_000),
        sampling=Sampling(prompts_per_step=512, replies_per_prompt=1, baseline="batch", max_new_tokens=128),
        optim=Optim(steps=3_200, batch_size=128, lr=1e-5, warmup=0, schedule="constant"),
    )
