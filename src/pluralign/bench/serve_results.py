"""What `bench serve` found: one JSON-able value (docs/bench.md describes it), as a page and as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pluralign.bench.machine import processor
from pluralign.bench.markdown import table
from pluralign.bench.parts import RatioOf
from pluralign.bench.results import ratio_cells
from pluralign.bench.serve_check import Verdicts
from pluralign.bench.serve_models import World
from pluralign.bench.serve_speed import Versus
from pluralign.storage import atomic_write

if TYPE_CHECKING:
    from rich.table import Table

FORMAT_VERSION = 1
_HEAD = """# Serving

Written by `{command}`; do not edit. `bench.md` says what is measured and how.

{machine}

A ratio is one of tokens per second: the second-named load over the first, phases in turn on one machine.
"""


@dataclass
class Results:
    """Everything found. `ratios`: the worst over the models and parts, and by model with its name before the key."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    gates: list[dict[str, Any]] = field(default_factory=list)
    speeds: list[dict[str, Any]] = field(default_factory=list)
    overload: dict[str, Any] = field(default_factory=dict)
    soak: dict[str, Any] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    spread: dict[str, list[float]] = field(default_factory=dict)
    targets: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def start(cls, soak_seconds: float | None, repeats: int, clients: int) -> Results:
        """Nothing measured yet."""
        import os
        import platform
        from importlib import metadata

        import torch

        from pluralign import __version__

        machine = {
            "processor": processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "versions": {"pluralign": __version__}
            | {name: metadata.version(name) for name in ("torch", "transformers", "fastapi", "uvicorn")},
        }
        return cls(machine, {"soak_seconds": soak_seconds, "repeats": repeats, "clients": clients})

    def add(self, world: str, asked: RatioOf, value: float, spread: tuple[float, float] | None = None) -> None:
        """A number of a model; at the top stands the worst."""
        ends = [round(end, 3) for end in spread or (value, value)]
        worst: Callable[[float, float], float] = min if asked.at_least is not None else max
        for key in (asked.key, f"{world}_{asked.key}"):
            before = self.ratios.get(key)
            if before is None or worst(before, value) != before:
                self.ratios[key], self.spread[key] = round(value, 4), ends
                bound = "at_least" if asked.at_least is not None else "at_most"
                self.targets[key] = {bound: asked.target, "met": bool(asked.met(value))}

    def add_gate(self, world: str, ours: str, against: str, found: Verdicts) -> None:
        """Replies compared before anything was timed."""
        self.gates.append({"model": world, "ours": ours, "against": against, **found.to_json()})

    def add_versus(self, world: World, asked: RatioOf, found: Versus, title: str) -> None:
        """A comparison of speeds."""
        wall, cpu = found.ratio(), found.ratio(cpu=True)
        self.add(world.name, asked, wall.value, (wall.low, wall.high))
        self.speeds.append(
            {"model": world.name, "key": asked.key, "about": title, "slow_is": asked.slow, "fast_is": asked.fast}
            | {"ratio": round(wall.value, 3), "cpu_ratio": round(cpu.value, 3), **found.to_json()}
        )

    def add_overload(self, world: str, found: Mapping[str, Any], asked: Sequence[RatioOf]) -> None:
        """The counts under overload."""
        self.overload = {"model": world, **found}
        for each in asked:
            self.add(world, each, float(found[each.key]))

    def add_soak(self, world: str, found: Mapping[str, Any], asked: Sequence[RatioOf]) -> None:
        """The soak of one model."""
        self.soak[world] = dict(found)
        for each in asked:
            self.add(world, each, float(found[each.key]))

    def to_json(self) -> dict[str, Any]:
        """The file's value: the numbers stand at its top."""
        return {
            "format_version": FORMAT_VERSION,
            "benchmark": "serve",
            **self.ratios,
            "spread": self.spread,
            "targets": self.targets,
            "equality": self.gates,
            "speeds": self.speeds,
            "overload": self.overload,
            "soak": self.soak,
            "machine": self.machine,
            "settings": self.settings,
        }


_SPEED = ("model", "load", "first", "tokens/s", "second", "tokens/s", "ratio", "per CPU second")


def _speed_rows(found: Mapping[str, Any]) -> Iterator[list[str]]:
    for each in found["speeds"]:
        slow, fast = (_median_speed(each[side]) for side in ("slow", "fast"))
        loads = [each["model"], each["about"], each["slow_is"], slow, each["fast_is"], fast]
        yield [*loads, f"{each['ratio']:.2f}", f"{each['cpu_ratio']:.2f}"]


def _median_speed(phases: Sequence[Mapping[str, float]]) -> str:
    speeds = sorted(phase["tokens"] / phase["seconds"] for phase in phases)
    return f"{speeds[len(speeds) // 2]:.0f}"


def write(found: Mapping[str, Any], path: Path, command: str) -> None:
    """Write the page atomically."""
    about, settings = found["machine"], found["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    machine = (
        f"{about['processor']}, {about['cores']} cores for server and clients together, {about['threads']} threads, "
        f"{about['system']}. Python {about['python']}; {versions}.\n\nMedian of {settings['repeats']} phases or more; the "
        f"whole took {settings['wall_seconds'] / 60:.1f} minutes."
    )
    numbers = [[f"`{key}`", *ratio_cells(found, key)] for key in found["spread"]]
    parts = [
        _HEAD.format(command=command, machine=machine),
        "## Numbers\n",
        *table(("key", "value", "spread", "target", "met"), numbers),
        *_gate_lines(found),
        *_speed_lines(found),
        *_overload_lines(found["overload"]),
        *_soak_lines(found["soak"]),
    ]
    atomic_write(path, "\n".join(parts).rstrip() + "\n")


def _gate_lines(found: Mapping[str, Any]) -> Iterator[str]:
    if found["equality"]:
        yield "## Equality\n\nReplies over HTTP, many at once, against those that the same requests get alone.\n"
        columns = ("right", "near_boundary", "mixed_up")
        rows = [
            [each["model"], each["ours"], each["against"], *(str(each[name]) for name in columns)]
            for each in found["equality"]
        ]
        yield from table(("model", "server", "against", "equal", "decided by rounding", "other"), rows)


def _speed_lines(found: Mapping[str, Any]) -> Iterator[str]:
    if found["speeds"]:
        yield "## Speed\n"
        yield from table(_SPEED, list(_speed_rows(found)))


def _overload_lines(found: Mapping[str, Any]) -> Iterator[str]:
    if not found:
        return
    verdicts = found["verdicts"]
    yield (
        f"## Overload\n\nModel {found['model']}. Capacity {found['capacity']:.0f} replies a second. Judged were {verdicts['right']} replies that are "
        f"the one their request gets alone, {verdicts['near_boundary']} that part from it where rounding decides, "
        f"{verdicts['mixed_up']} others. The server's memory grew by {found['memory_growth_mb']:.1f} MB.\n"
    )
    loads = {
        "unqueued": "a client for each row",
        "saturation": "a client for each row and place to wait",
        "overload": f"{found['overload']['asked_rate']:.0f} requests a second",
    }
    columns = ("requests", "complete", "refused", "lost")
    seconds = ("first_token_p50", "first_token_p99", "client_late_p99")
    rows = [
        [f"{name}, {about}", f"{found[name]['reply_rate']:.0f}", *(str(found[name][column]) for column in columns)]
        + [f"{1000 * found[name][column]:.0f}" for column in seconds]
        for name, about in loads.items()
    ]
    head = ("load", "replies, 1/s", "requests", "replies", "429", "lost")
    yield from table((*head, "first token p50, ms", "p99, ms", "client late p99, ms"), rows)


def _soak_lines(found: Mapping[str, Any]) -> Iterator[str]:
    if found:
        yield "## Soak\n"
        columns = ("replies", "lost", "mixed_up", "clients_that_left", "bad_requests_refused")
        rows = [
            [name, f"{each['seconds'] / 60:.1f}", *(str(each[column]) for column in columns), *_memory_cells(each)]
            for name, each in found.items()
        ]
        head = ("model", "minutes", "replies", "lost", "mixed up", "clients that left", "bad requests refused")
        yield from table((*head, "memory, MB", "growth, MB"), rows)


def _memory_cells(each: Mapping[str, Any]) -> list[str]:
    sizes = [size for _, size in each["memory_mb"]]
    return [f"{sizes[0]:.0f} → {sizes[-1]:.0f}", f"{each['memory_growth_mb']:.1f}"]


def tables(found: Mapping[str, Any]) -> list[Table]:
    """For the terminal: speeds, and the numbers with their targets."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    speeds = Table(*_SPEED, title="speed", box=SIMPLE_HEAD)
    for row in _speed_rows(found):
        speeds.add_row(*row)
    numbers = Table("key", "value", "spread", "target", "met", title="numbers", box=SIMPLE_HEAD)
    for key in found["spread"]:
        numbers.add_row(key, *ratio_cells(found, key))
    return [speeds, numbers] if found["speeds"] else [numbers]
