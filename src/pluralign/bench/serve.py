"""`pluralign bench serve`: the real server over loopback HTTP, each request with a trade-off of its own.

1. The gate (serve_check.py): replies over HTTP are those that `generate` gives a request alone; else no speed is printed.
2. Speed (serve_speed.py): steered against unsteered on one server, against a server that runs k models, against
   `generate` one request after another; phases in turn.
3. Twice the load that it can answer (serve_overload.py), on the lab's model.

`--soak` instead is ten minutes of mixed traffic (serve_soak.py). docs/bench.md describes the keys.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pluralign.bench.parts import RatioOf
from pluralign.bench.serve_check import Judge, gate
from pluralign.bench.serve_load import Ask, Target
from pluralign.bench.serve_models import WORLDS, Kind, World, objective_names
from pluralign.bench.serve_naive import Alone, Naive
from pluralign.bench.serve_overload import ROWS, Plan, overload
from pluralign.bench.serve_process import Served
from pluralign.bench.serve_results import Results
from pluralign.bench.serve_soak import soak
from pluralign.bench.serve_speed import Load, loaded, one_by_one, versus
from pluralign.errors import ConfigError

FEW = (1, 2, 4, 8)
LONGEST, LONGEST_FEW = 18.0, 8.0
"""Seconds after which a comparison begins no new pair of phases: the whole ends within eight minutes."""
SHORT = 16
"""Tokens of a reply under overload at most, so that many come in little time."""
ALONE = RatioOf("steered_vs_unsteered_1", "unsteered", "steered", at_least=0.75)
MANY = RatioOf("steered_vs_unsteered_32", "unsteered", "steered", at_least=0.85)
MODELS = RatioOf("vs_k_models", "k models", "pluralign", at_least=3)
NAIVE = RatioOf("vs_naive_generate", "generate", "pluralign", at_least=3)
OVERLOADED = RatioOf("ttft_overload", "", "", at_most=3)
LOST, MIXED = RatioOf("lost", "", "", at_most=0), RatioOf("mixed_up", "", "", at_most=0)
READY = RatioOf("ready_s", "", "", at_most=10)
GROWTH = RatioOf("memory_growth_mb", "", "", at_most=8)

log = logging.getLogger("pluralign")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured and how; explained with the command's options, but for what tests use:

    `worlds` replaces the models, `clients` the 32 concurrent requests, `rounds` requests of each client in a phase,
    `pool` requests whose replies are known, `plan` the overload.
    """

    models: tuple[str, ...] = tuple(WORLDS)
    repeats: int = 3
    threads: int | None = None
    replies: int = 10_000
    soak_seconds: float | None = None
    clients: int = 32
    rounds: int = 1
    pool: int = 200
    plan: Plan = field(default_factory=Plan)
    worlds: tuple[World, ...] = ()

    def __post_init__(self) -> None:
        wrong = [name for name in self.models if name not in WORLDS]
        if wrong or not self.models:
            raise ConfigError(f"models are some of {', '.join(WORLDS)}; got {', '.join(wrong) or 'none'}")
        threads = 1 if self.threads is None else self.threads
        if min(self.repeats, self.replies, self.clients, self.rounds, self.pool, threads) < 1:
            raise ConfigError("repeats, replies, clients, rounds, pool and threads are at least 1")
        if self.soak_seconds is not None and not 0 < self.soak_seconds < float("inf"):
            raise ConfigError(f"soak_seconds must be finite and above 0, got {self.soak_seconds}")

    @property
    def chosen(self) -> tuple[World, ...]:
        """The models to serve."""
        return self.worlds or tuple(WORLDS[name] for name in self.models)


def bench_serve(settings: Settings) -> dict[str, Any]:
    """Measure; the value that `serve_results.Results.to_json` describes.

    Raises EqualityError where the server answers something else than `generate`, RunError where it does not start,
    MissingExtraError without its libraries.
    """
    import torch

    began, threads = time.monotonic(), torch.get_num_threads()
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    try:
        results = Results.start(settings.soak_seconds, settings.repeats, settings.clients)
        with tempfile.TemporaryDirectory() as folder:
            for number, world in enumerate(settings.chosen):
                _world(world, settings, Path(folder) / world.name, results, first=number == 0)
    finally:
        torch.set_num_threads(threads)
    results.settings["wall_seconds"] = round(time.monotonic() - began, 1)
    return results.to_json()


def _world(world: World, settings: Settings, folder: Path, results: Results, first: bool) -> None:
    folder.mkdir()
    plural = world.write("plural", folder / "plural")
    if settings.soak_seconds is not None:
        with _served(folder, "plural", settings) as served:
            judge = Judge(Naive.load(plural), _pool(world, settings))
            found = soak(served, judge, settings.soak_seconds)
        results.add_soak(world.name, found, (LOST, MIXED, GROWTH))
        return
    world.write("mixture", folder / "mixture")
    naive = Naive.load(plural)
    with _served(folder, "plural", settings) as served, _served(folder, "mixture", settings) as models:
        results.add(world.name, READY, max(served.ready_s, models.ready_s))
        _gates(world, served, naive, models, Alone.load(folder / "mixture"), settings, results)
        _speeds(world, served, models, naive, settings, results)
    if first:
        _overload(world, folder, naive, settings, results)


def _gates(
    world: World, served: Served, naive: Naive, models: Served, experts: Naive, settings: Settings, results: Results
) -> None:
    """Steered, unsteered and greedy requests together; and the mixture's, against our own engine's replies alone."""
    num = min(settings.clients, 8)
    asks = [*world.asks(num, True, seed=1), *world.asks(num, False, seed=2)]
    asks += [replace(ask, temperature=0.0) for ask in world.asks(num, True, seed=3)]
    found = gate(Target(served.address, served.model), Judge(naive, asks), settings.clients)
    results.add_gate(world.name, "plural heads", "generate, one request at a time", found)
    mixed = world.asks(num, True, seed=4)
    found = gate(Target(models.address, models.model), Judge(experts, mixed), settings.clients)
    results.add_gate(world.name, "mixture of k models", "Engine, one request at a time", found)


def _speeds(world: World, served: Served, models: Served, naive: Naive, settings: Settings, results: Results) -> None:
    clients, repeats = settings.clients, settings.repeats
    many = clients * settings.rounds * world.waves
    seeds = itertools.count(100)

    def fresh(num: int, steered: bool) -> Callable[[int], Sequence[Ask]]:
        return lambda number: world.asks(num, steered, seed=next(seeds))

    def against(asked: RatioOf, slow: Load, fast: Load, repeats: int, title: str) -> None:
        longest = LONGEST_FEW if asked is ALONE else LONGEST
        results.add_versus(world, asked, versus(slow, fast, repeats, longest), title)

    steered = loaded(served, fresh(many, True), clients)
    against(MANY, loaded(served, fresh(many, False), clients), steered, repeats + 2, f"{clients} at once")
    for few in FEW:
        num = few * max(1, 8 * min(2, world.waves) // few) * settings.rounds
        slow, fast = (loaded(served, fresh(num, steered), few) for steered in (False, True))
        against(ALONE, slow, fast, repeats, f"{few} at once")
    k = len(objective_names())
    against(MODELS, loaded(models, fresh(many, True), clients), steered, repeats, f"{clients} at once, k = {k}")
    against(NAIVE, one_by_one(naive, fresh(max(2, clients // 8), True)), steered, repeats, f"{clients} at once")


def _overload(world: World, folder: Path, naive: Naive, settings: Settings, results: Results) -> None:
    judge = Judge(naive, [replace(ask, max_tokens=SHORT) for ask in _pool(world, settings)])
    with _served(folder, "plural", settings) as served:
        found = overload(served, judge, replace(settings.plan, replies=settings.replies))
    checked = RatioOf("replies_checked", "", "", at_least=settings.replies)
    results.add_overload(world.name, found, (OVERLOADED, LOST, MIXED, checked))


def _pool(world: World, settings: Settings) -> list[Ask]:
    """Requests of every kind whose replies alone are known: three of four with weights of their own."""
    steered = world.asks(settings.pool - settings.pool // 4, True, seed=5)
    return [*steered, *world.asks(settings.pool // 4, False, seed=6)]


@contextlib.contextmanager
def _served(folder: Path, kind: Kind, settings: Settings) -> Iterator[Served]:
    """A server of one of the two policies; the k models get k times the rows, so that as many requests run at once."""
    rows = ROWS * (len(objective_names()) if kind == "mixture" else 1)
    flags = ["--rows", str(rows), "--queue", str(rows)]
    if settings.threads is not None:
        flags += ["--threads", str(settings.threads)]
    with Served(folder / kind, folder / f"{kind}.log", flags) as served:
        log.info("%s: %s server ready after %.1f s", folder.name, kind, served.ready_s)
        yield served
