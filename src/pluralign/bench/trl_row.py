"""TRL's DPOTrainer as its users run it (shipped), and as fast as it goes without changing what it computes (tuned).

A step is what `Trainer.train` does for a batch: collate, `training_step`, clip the gradient's norm, AdamW, schedule,
`zero_grad`. The callbacks and logging around it are left out, which is in TRL's favour.

Shipped: reference log-probabilities precomputed; no gradient checkpointing and float32 on the CPU (DPOConfig turns
bf16 and checkpointing on, even there); everything else as it comes, the fused AdamW among it. Tuned: besides, the head
runs at response positions only (TRL does so with Triton); memory is reused instead of faulted in anew (allocator.py);
oneDNN multiplies matrices where it is faster. Tried without gain, and left out: smaller tiles of the head, torch.compile
of the layers.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pluralign.bench.onednn import onednn_products
from pluralign.bench.tasks import Item


@dataclass(frozen=True, slots=True)
class Adapter:
    """LoRA on the attention projections, in both: `rank`, `alpha`."""

    rank: int = 16
    alpha: int = 32


def trainer(model: Any, tokenizer: Any, items: Sequence[Item], beta: float, adapter: Adapter, folder: Path) -> Any:
    """A DPOTrainer on these pairs, its reference computed, its optimiser made."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import DPOConfig, DPOTrainer

    on_cpu = model.device.type == "cpu"
    data = Dataset.from_list(
        [{"prompt": i.prompt, "chosen": " " + i.replies[0], "rejected": " " + i.replies[1]} for i in items]
    )
    config = DPOConfig(
        output_dir=str(folder), beta=beta, per_device_train_batch_size=len(items), precompute_ref_log_probs=True,
        gradient_checkpointing=False, bf16=not on_cpu, use_cpu=on_cpu, max_length=None, max_steps=1000,
        learning_rate=1e-6, report_to="none", save_strategy="no", disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    lora = LoraConfig(r=adapter.rank, lora_alpha=adapter.alpha, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"])
    with contextlib.redirect_stderr(io.StringIO()):  # its bars know no other switch than a variable
        made = DPOTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer, peft_config=lora)
    made.create_optimizer_and_scheduler(num_training_steps=config.max_steps)
    made.model, made.optimizer = made.accelerator.prepare(made.model, made.optimizer)
    made.model_wrapped = made.model
    made.current_gradient_accumulation_steps = 1
    return made


class TrlStep:
    """One optimiser step of a DPOTrainer on its whole data set."""

    def __init__(self, made: Any) -> None:
        self.trainer, self.rows = made, list(made.train_dataset)

    def gradients(self) -> float:
        """The loss, gradients left in the parameters."""
        inputs = self.trainer.data_collator(self.rows)
        return float(self.trainer.training_step(self.trainer.model, inputs))

    def __call__(self) -> None:
        """A whole step."""
        made = self.trainer
        self.gradients()
        made.accelerator.clip_grad_norm_(made.model.parameters(), made.args.max_grad_norm)
        made.optimizer.step()
        made.lr_scheduler.step()
        made.model.zero_grad()


@contextlib.contextmanager
def tuned(model: Any, with_onednn: bool = False) -> Iterator[None]:
    """The head at response positions only while the context is open; oneDNN for the products where it is faster."""
    from trl.trainer import utils

    before = utils._use_triton
    utils._use_triton = lambda device: True
    try:
        with onednn_products(model) if with_onednn else contextlib.nullcontext():
            yield
    finally:
        utils._use_triton = before
