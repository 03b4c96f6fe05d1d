"""Hidden states of a frozen trunk: in memory, in a file beyond, or not at all; training is the same."""

from __future__ import annotations

import contextlib
import logging
import resource
from collections.abc import Iterator

import pytest
import torch

import tiny
from pluralign.data.record import Record, Response, user
from pluralign.losses.regression import Regression
from pluralign.steering.plural import PluralSteering
from pluralign.training.batching import Collator
from pluralign.training.device import Compute
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.rows import Rows
from pluralign.training.run import Run
from pluralign.training.states import Room, TrunkStates, trunk_states
from pluralign.training.tradeoff import TradeOffSource

ON_DISK, NOWHERE = Room(memory=0), Room(memory=0, disk=0)
TEXTS = ("good .", "good nice and kind .", "very very long and funny .", "short .")
PROMPTS = ("tell me a joke", "please tell me", "now : a joke please")


def records() -> list[Record]:
    scored = tuple(Response(text, {"kind": k / 4, "brief": 1 - k / 4}) for k, text in enumerate(TEXTS))
    return [Record(user(prompt), scored) for prompt in PROMPTS]


def source(kind: type[TradeOffSource] = TradeOffSource) -> TradeOffSource:
    return kind(records(), tiny.OBJECTIVES[:2], responses_per_step=8, weights_per_step=3)


def policy(seed: int = 0):
    return tiny.policy(PluralSteering(rank=4, seed=seed), objectives=tiny.OBJECTIVES[:2])


def train(folder, room, data=None, resume=False):
    trained = policy()
    optim = Optim(steps=8, lr=5e-3, head_lr=2e-2, warmup=2)
    with Run(folder, resume=resume) as run:
        fit(trained, data or source(), Regression(), run.stage("train"), optim, checkpoint_every=2, room=room)
    return trained.trainable_state()


def found(folder, trained=None, precision="fp32", room=ON_DISK) -> tuple[Rows, list[int], TrunkStates | None]:
    trained = trained or policy()
    rows = Rows(trained.encoder)
    numbers = rows.numbers(list(source().texts()))
    return rows, numbers, trunk_states(trained, rows, numbers, Compute(precision=precision), folder, room)


@pytest.mark.parametrize("disk", [False, True])
def test_states_are_those_of_each_response_read_alone(tmp_path, disk):
    trained = policy()
    rows, numbers, kept = found(tmp_path, trained, room=ON_DISK if disk else Room())
    assert kept is not None and (kept.file is not None) == disk
    for number in (numbers[5], numbers[0]):
        ids = torch.from_numpy(rows.ids[number]).long()[None]
        with torch.no_grad():
            alone = trained.model.get_decoder()(ids).last_hidden_state[0, rows.prompts[number] - 1 : -1]
        assert torch.allclose(kept.gather(torch.tensor([number])), alone, atol=1e-5)
    both = kept.gather(torch.tensor(numbers[4:6]))
    assert torch.equal(both, torch.cat([kept.gather(torch.tensor([number])) for number in numbers[4:6]]))


def test_training_from_a_file_ends_with_the_bits_of_training_from_memory(tmp_path):
    in_memory = train(tmp_path / "memory", Room())
    mapped = train(tmp_path / "disk", ON_DISK)
    assert not list((tmp_path / "disk" / "cache").glob("states-*"))  # removed at the end
    run_in_every_step = train(tmp_path / "none", NOWHERE)
    for name, tensor in in_memory.items():
        assert torch.equal(mapped[name], tensor)
        assert torch.allclose(run_in_every_step[name], tensor, atol=1e-4)


class Cut(TradeOffSource):
    def batch(self, step):
        if step == 5:
            raise EOFError
        return super().batch(step)


def test_a_resumed_run_finds_its_file_and_ends_with_the_same_bits(tmp_path, caplog):
    whole = train(tmp_path / "whole", ON_DISK)
    with caplog.at_level(logging.INFO, "pluralign"), pytest.raises(EOFError):
        train(tmp_path / "cut", ON_DISK, source(Cut))
    (file,) = (tmp_path / "cut" / "cache").glob("states-*.bin")
    assert f"kept in {file}" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, "pluralign"):
        again = train(tmp_path / "cut", ON_DISK, resume=True)
    assert "kept in" not in caplog.text  # what was there was read
    assert not file.exists()
    for name, tensor in whole.items():
        assert torch.equal(again[name], tensor)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(file.read_bytes()[:-4]),
        lambda file: file.write_bytes(b"\x01" + file.read_bytes()[1:]),
        lambda file: file.with_suffix(".json").write_text("{"),
        lambda file: file.with_suffix(".json").write_text('{"format_version": 1}'),
    ],
)
def test_a_damaged_file_is_computed_again_with_a_line(tmp_path, caplog, damage):
    _, _, first = found(tmp_path)
    before = first.values.clone()
    damage(first.file)
    with caplog.at_level(logging.WARNING):
        _, _, second = found(tmp_path)
    assert "computing the hidden states again" in caplog.text
    assert torch.equal(second.values, before)
    caplog.clear()
    found(tmp_path)
    assert not caplog.records


def test_a_file_of_another_model_is_found_out(tmp_path, caplog):
    first, other = policy(), policy()
    with torch.no_grad():
        other.model.get_input_embeddings().weight.mul_(-1.0)  # after its fingerprint was taken
    found(tmp_path, first)
    with caplog.at_level(logging.WARNING):
        _, _, second = found(tmp_path, other)
    assert "of another model" in caplog.text
    rows, numbers, _ = found(tmp_path / "fresh", other)
    batch = Collator(other, rows).plain(numbers[:1])
    assert torch.allclose(second.gather(torch.tensor(numbers[:1])), other.trunk_states(batch), atol=1e-5)


def test_half_precision_is_kept_as_it_is(tmp_path):
    trained = policy()
    trained.model.to(torch.bfloat16)
    _, numbers, kept = found(tmp_path, trained, "bf16")
    assert kept.values.dtype == torch.bfloat16
    assert kept.gather(torch.tensor(numbers)).shape[1] == 32


@contextlib.contextmanager
def files_of_at_most(limit: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_and_too_many_states_run_the_trunk_in_every_step(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "pluralign"):
        with files_of_at_most(1000):
            assert found(tmp_path)[2] is None
        assert "are not kept, every step runs the trunk: cannot write" in caplog.text
        assert found(tmp_path, room=NOWHERE)[2] is None
        assert "not kept, every step runs the trunk" in caplog.messages[-1]
    assert not list(tmp_path.iterdir())


def test_a_steered_trunk_has_no_states_of_its_own(tmp_path):
    trained = tiny.policy(PluralSteering(where="all", rank=2), objectives=tiny.OBJECTIVES[:2])
    assert found(tmp_path, trained, room=Room())[2] is None
