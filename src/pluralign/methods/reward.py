"""Reward: a reward model of all objectives, for `pluralign score` and for methods whose policy answers while it trains.

    bt            L = −log σ(r_k(x, y_w) − r_k(x, y_l))      over all pairs of a prompt that objective k tells apart
    regression    L = (r_k(x, y) − s_k)²                     over all scores there are, standardised per objective
    classes       L = −log p_k(class of s_k | x, y)          five classes from the objective's low to its high

r_k and p_k are heads on the last hidden state at the last token of the reply. The result is a scorer, RUN/reward.

Sources: Bradley-Terry as in InstructGPT (Ouyang et al. 2022, arXiv 2203.02155: all pairs of a prompt together); margin
and scaled Bradley-Terry, HelpSteer2-Preference (arXiv 2410.01257); regression, SteerLM (arXiv 2310.05344); classes, the
CMPO thesis (Manyika 2024). methods.md D1 to D3, A9. Differs from the papers: 1. one model for all objectives; 2. a LoRA
on attention by default (`trunk=full` trains everything); 3. a tie counts one half for each side; 4. regression learns
standardised scores, so that objectives of different ranges weigh the same; 5. a score between two classes belongs to
both, in part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pluralign.data.objective import Objective
from pluralign.methods.contract import Facts, TrainingData
from pluralign.methods.steps.rewarding import RewardTraining, on_policy_model, train_reward
from pluralign.policy import Policy
from pluralign.reward_model import RewardModel
from pluralign.steering.none import NoSteering
from pluralign.training.run import Run


@dataclass(frozen=True, kw_only=True)
class Reward(RewardTraining):
    """A scorer that is trained on what people said."""

    facts: ClassVar[Facts] = Facts(
        "arXiv 2203.02155, 2310.05344", "comparisons or ratings per objective", "nothing: it is a scorer", "1", "1"
    )

    def new_steering(self, objectives: Sequence[Objective]) -> NoSteering:
        """None: the trunk of a reward model is not asked for anything."""
        return self.adapter()

    def train(self, policy: Policy, data: TrainingData, run: Run) -> RewardModel:
        """Put the head on the policy's model, fit it, and give its scores their units."""
        reward = on_policy_model(policy, data.objectives, self)
        return train_reward(reward, data, run.stage("reward"), self)
