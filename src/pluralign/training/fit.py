"""fit: the one training loop.

A step takes the source's groups, cuts them into micro-batches, adds the gradients of the mean loss over *all* examples
of the step, clips, and lets AdamW and the schedule act. On the CPU, with the same number of threads, a run that was
killed at any moment and continued ends with bit-identical weights: everything random is a function of (seed, step), or
its generator is in the checkpoint.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pluralign.data.group import Group
from pluralign.errors import ConfigError, DataError, RunError
from pluralign.losses.outputs import Loss, sees_tokens
from pluralign.training import checkpoint
from pluralign.training.batching import Collator
from pluralign.training.checkpoint import Checkpoint
from pluralign.training.device import Compute, restore_rng, rng_state, seeded
from pluralign.training.interrupt import Interrupted, StopRequest
from pluralign.training.optim import Optim
from pluralign.training.progress import Progress
from pluralign.training.recompute import recomputing
from pluralign.training.reference import LiveReference, reference_logprobs
from pluralign.training.rows import Rows
from pluralign.training.run import Stage
from pluralign.training.source import Source, check_same
from pluralign.training.states import ROOM, Room, trunk_states
from pluralign.training.stepper import Stepper

if TYPE_CHECKING:
    from pluralign.training.trainable import Trainable

FINAL = "final.safetensors"

log = logging.getLogger("pluralign")


@dataclass(frozen=True, slots=True)
class FitResult:
    """What a training came to.

    `loss`: mean of the last step. `validation`: (step, loss) pairs; `best_step`: the one of the lowest loss;
    `validation_loss`: of the weights the policy now has (None without validation). `seconds`: wall time of the
    process that finished it.
    `examples`: judgements trained on; `rejected`: responses left out because they do not fit.
    """

    steps: int
    loss: float
    validation_loss: float | None = None
    best_step: int | None = None
    validation: tuple[tuple[int, float], ...] = ()
    examples: int = 0
    rejected: int = 0
    seconds: float = 0.0

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> FitResult:
        """The inverse of `dataclasses.asdict` through JSON."""
        return cls(**{**value, "validation": tuple((step, loss) for step, loss in value["validation"])})


def fit(
    policy: Trainable,
    source: Source,
    loss: Loss,
    stage: Stage,
    optim: Optim,
    validation: Sequence[Group] | None = None,
    *,
    checkpoint_every: int = 50,
    validate_every: int = 50,
    restore_best: bool = True,
    dropout: bool = False,
    room: Room = ROOM,
) -> FitResult:
    """Train the policy in place, from the stage's checkpoint where there is one; a finished stage is only loaded.

    `policy` must stand as it stood when the stage was first begun. `validation`: fixed groups, judged every
    `validate_every` steps and at the end; with `restore_best` the policy ends with the weights of the lowest
    validation loss. `checkpoint_every`: steps between checkpoints. `dropout`: off by default, since a pairwise loss
    compares two passes. `room`: for the hidden states of a frozen trunk.

    Raises Interrupted after Ctrl-C or SIGTERM (everything saved); RunError for a loss or gradient that is not finite
    and for a checkpoint of other settings; DataError where no response fits; ConfigError; StorageError.
    """
    _check(loss, optim, checkpoint_every, validate_every)
    if stage.finished:
        policy.load_trainable_state(checkpoint.load_tensors(stage.folder / FINAL))
        log.info("%s: finished already, loaded from %s", stage.name, stage.folder)
        return FitResult.from_json(stage.result)
    began = time.monotonic()
    groups = list(validation or ())
    with seeded(stage.seed), recomputing(policy, dropout) if optim.gradient_checkpointing else nullcontext():
        compute = Compute(stage.run.device, optim.precision)
        policy.model.to(compute.device)
        collator = _collator(policy, source, groups, loss, compute, stage, None if dropout else room)
        stepper = Stepper(policy, loss, optim, compute, collator, dropout)
        training = _Training(policy, source, stage, groups, stepper)
        training.resume()
        with StopRequest() as stop:
            training.loop(stop, checkpoint_every, validate_every)
        return training.finish(restore_best, time.monotonic() - began)


def _check(loss: Loss, optim: Optim, checkpoint_every: int, validate_every: int) -> None:
    for name, value in (("checkpoint_every", checkpoint_every), ("validate_every", validate_every)):
        if value < 1:
            raise ConfigError(f"{name} must be at least 1 step, got {value}")
    if loss.couples == "batch" and optim.accumulation > 1:
        raise ConfigError(f"{type(loss).__name__} needs its whole batch at once; set accumulation to 1")


def _collator(
    policy: Trainable,
    source: Source,
    validation: list[Group],
    loss: Loss,
    compute: Compute,
    stage: Stage,
    room: Room | None,
) -> Collator:
    """Tokenise everything once and compute the reference, before the policy changes."""
    rows = Rows(policy.encoder)
    texts = [*source.texts(), *(text for group in validation for text in group.texts())]
    numbers = rows.numbers(texts)
    if rows.rejected:
        log.warning("%d of %d responses do not fit and are left out", rows.rejected, len(numbers) + rows.rejected)
    if texts and not numbers:
        raise DataError("no response fits; raise max_length, or shorten the data")
    policy.model.eval()
    if room and not source.live:
        rows.states = trunk_states(policy, rows, numbers, compute, stage.run.cache, room)
    beside = loss.needs_reference and sees_tokens(loss)
    if not loss.needs_reference:
        return Collator(policy, rows)
    if source.live:
        return Collator(policy, rows, LiveReference(policy, rows, compute), beside)
    for turn in (True, False):  # the main process computes and writes, then the others read
        if compute.is_main == turn:
            reference = reference_logprobs(policy, rows, numbers, compute, stage.run.cache)
        compute.wait()
    return Collator(policy, rows, reference, beside)


@dataclass(slots=True)
class _Place:
    """How far a training is; kept in every checkpoint."""

    step: int = 0
    loss: float = math.nan
    best_step: int | None = None
    validation: list[tuple[int, float]] = field(default_factory=list)
    examples: int = 0

    def best_loss(self) -> float:
        return min((value for step, value in self.validation if step == self.best_step), default=math.inf)


class _Training:
    """A stage's stepper and place, and what is written on the way."""

    def __init__(
        self, policy: Trainable, source: Source, stage: Stage, validation: list[Group], stepper: Stepper
    ) -> None:
        self.policy, self.source, self.stage, self.validation = policy, source, stage, validation
        self.stepper, self.place = stepper, _Place()
        self.is_main = stepper.compute.is_main
        self.steps = stepper.optim.steps
        self.identity = {
            "policy": policy.fingerprint(),
            "loss": repr(stepper.loss),
            "optim": repr(stepper.optim),
            "dropout": stepper.dropout,
        }

    def loop(self, stop: StopRequest, checkpoint_every: int, validate_every: int) -> None:
        """All remaining steps. Raises Interrupted."""
        with Progress(self.stage.name, self.steps, self.place.step) as progress:
            while self.place.step < self.steps:
                values = self._step()
                last = self.place.step == self.steps
                if self.validation and (last or self.place.step % validate_every == 0):
                    values |= self._validate()
                if self.is_main:
                    self.stage.run.tracker.log(self.stage.name, self.place.step, values)
                progress.advance(note=f"loss {self.place.loss:.4f}")
                if last or stop.asked or self.place.step % checkpoint_every == 0:
                    self._save()
                if stop.asked:
                    raise Interrupted(self._goodbye())

    def _step(self) -> dict[str, Any]:
        began = time.perf_counter()
        try:
            values = self.stepper.step(self.source.batch(self.place.step))
        except RunError as error:
            kept = checkpoint.latest(self.stage.folder)
            after = f"; the last checkpoint, {kept}, is untouched" if kept else ""
            raise RunError(f"{self.stage.name}, step {self.place.step + 1} of {self.steps}: {error}{after}") from error
        self.place.step += 1
        self.place.examples += values["examples"]
        self.place.loss = self.place.loss if values["loss"] is None else values["loss"]
        return {**values, "seconds": time.perf_counter() - began}

    def _validate(self) -> dict[str, float]:
        """The best weights so far are kept in best.safetensors."""
        means = self.stepper.evaluate(self.validation)
        best = self.place.best_loss()
        self.place.validation.append((self.place.step, means["loss"]))
        if means["loss"] < best:
            self.place.best_step = self.place.step
            if self.is_main:
                checkpoint.save_tensors(self._best, self.policy.trainable_state())
        return {f"validation_{name}": value for name, value in means.items()}

    @property
    def _best(self) -> Path:
        return self.stage.folder / "best.safetensors"

    def _save(self) -> None:
        if not self.place.examples:
            raise RunError(
                f"{self.stage.name}: {self.place.step} steps had nothing to learn from; see scores and lengths"
            )
        if self.is_main:
            about = {"source": self.source.state(), "identity": self.identity, "threads": torch.get_num_threads()}
            state = {"place": asdict(self.place), **about}
            optimizer = checkpoint.optimizer_tensors(self.stepper.optimizer)
            kept = Checkpoint(self.place.step, state, self.policy.trainable_state(), optimizer, rng_state())
            checkpoint.save(self.stage.folder, kept)
        self.stepper.compute.wait()

    def resume(self) -> None:
        """Go on from the newest checkpoint, if there is one, and forget what was logged after it."""
        path = checkpoint.latest(self.stage.folder)
        if path is not None:
            self._restore(checkpoint.load(path))
            log.info("%s: going on after step %d of %d", self.stage.name, self.place.step, self.steps)
        if self.is_main:
            self.stage.run.tracker.file.truncate(self.stage.name, self.place.step)

    def _restore(self, kept: Checkpoint) -> None:
        check_same(kept.state["identity"], self.identity, "training")
        self.source.restore(kept.state["source"])
        self.policy.load_trainable_state(kept.trained)
        self.stepper.restart(kept.step, kept.optimizer)
        place = kept.state["place"]
        self.place = _Place(**{**place, "validation": [(step, value) for step, value in place["validation"]]})
        restore_rng(kept.rng)
        if kept.state["threads"] != torch.get_num_threads():
            log.warning(
                "the checkpoint was written with %d threads, this process has %d: the last bits may differ",
                kept.state["threads"],
                torch.get_num_threads(),
            )

    def _goodbye(self) -> str:
        return (
            f"stopped after step {self.place.step} of {self.steps} of {self.stage.name!r}; everything is saved in "
            f"{self.stage.run.folder}. To go on, give the same command with --resume "
            "(in Python: Run(..., resume=True))"
        )

    def finish(self, restore_best: bool, seconds: float) -> FitResult:
        """The end: with `restore_best` the policy gets its best weights back; everything is written."""
        place = self.place
        restored = restore_best and place.best_step is not None
        if restored and place.best_step != place.step:
            self.policy.load_trainable_state(checkpoint.load_tensors(self._best))
        self.policy.model.eval()
        kept = place.best_step if restored else place.step
        result = FitResult(
            steps=place.step,
            loss=place.loss,
            validation_loss=dict(place.validation).get(kept or 0),
            best_step=place.best_step,
            validation=tuple(place.validation),
            examples=place.examples,
            rejected=self.stepper.collator.rows.rejected,
            seconds=seconds,
        )
        if self.is_main:
            checkpoint.save_tensors(self.stage.folder / FINAL, self.policy.trainable_state())
            self.stage.finish(asdict(result))
            checkpoint.clean(self.stage.folder)
            if (states := self.stepper.collator.rows.states) is not None:
                states.remove()
        self.stepper.compute.wait()
        return result
