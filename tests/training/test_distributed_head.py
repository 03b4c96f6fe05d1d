"""The fast head in two real processes (gloo, loopback): DDP as `Compute` makes it, and torch's own fully_shard.

Also the program that each of them runs: `python test_distributed_head.py RANK PORT KIND FOLDER`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parents[1]))

from pluralign.data.condition import Weights
from pluralign.data.group import Group, Preference
from pluralign.data.record import user
from pluralign.losses.dpo import CDPO
from pluralign.policy import Policy
from pluralign.steering.plural import PluralSteering
from pluralign.training.batching import Collator
from pluralign.training.device import Compute
from tiny import policy

ASKED = (Weights({"kind": 1.0}), Weights({"kind": 0.5, "funny": 0.5}))
BOTH = (Preference(0, 0, 1), Preference(1, 1, 0))
GROUPS = [
    Group(user("please tell me a joke"), ("good and funny now", "very long"), ASKED, BOTH),
    Group(user("tell me now"), ("short", "nice and kind and helpful"), ASKED, BOTH),
]


def made() -> Policy:
    return policy(PluralSteering(rank="full", shared_where="all", shared_rank=2), shaken=0.1)


def gradients(built: Policy) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in built.model.named_parameters() if p.grad is not None}


def replicated(rank: int) -> dict[str, torch.Tensor]:
    built, compute = made(), Compute()
    assert compute.num_processes == 2
    module = compute.prepare(built)
    batch = Collator(built, reference=lambda number: -9.0)(GROUPS[rank : rank + 1])
    compute.backward(module, module(batch, CDPO(), 2.0)[0], last=True)
    return gradients(built)


def sharded(rank: int) -> dict[str, torch.Tensor]:
    from torch.distributed import init_process_group
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    class Root(torch.nn.Module):
        def __init__(self, built: Policy) -> None:
            super().__init__()
            self.model, self.policy = built.model, [built]

        def forward(self, batch):
            return self.policy[0].losses(batch, CDPO(), 2.0)[0]

    init_process_group("gloo")
    built = made()
    batch = Collator(built, reference=lambda number: -9.0)(GROUPS[rank : rank + 1])
    for layer in built.model.model.layers:
        fully_shard(layer)
    root = fully_shard(Root(built))
    assert all(isinstance(p, DTensor) for p in root.parameters())
    root(batch).backward()
    return {name: p.grad.full_tensor() for name, p in built.model.named_parameters() if p.grad is not None}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["replicated", "sharded"])
def test_two_processes_find_the_gradients_of_one(kind, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = [
        subprocess.Popen([sys.executable, __file__, str(rank), port, kind, str(tmp_path)], stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    for process in started:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()[-2000:]
    alone = made()
    batch = Collator(alone, reference=lambda number: -9.0)(GROUPS)
    alone.losses(batch, CDPO(), 1.0)[0].backward()
    expected = gradients(alone)
    for rank in range(2):
        values = load_file(tmp_path / f"{rank}.safetensors")
        assert values.keys() >= expected.keys()
        unasked = values.keys() - expected.keys()  # several processes hand in all gradients, one only those it has
        assert unasked == {"lm_head.objectives.full.1"} and not any(values[name].any() for name in unasked)
        for name, tensor in expected.items():
            assert (values[name] - tensor).norm() <= 1e-5 * tensor.norm() + 1e-8, name


if __name__ == "__main__":
    own, port, kind, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
    os.environ |= {"RANK": sys.argv[1], "LOCAL_RANK": sys.argv[1], "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    found = {"replicated": replicated, "sharded": sharded}[kind](own)
    save_file({name: tensor.contiguous() for name, tensor in found.items()}, f"{folder}/{own}.safetensors")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
