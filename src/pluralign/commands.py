"""The verbs that are not training: their options as dataclasses, and what each prints. `cli.py` turns fields into flags.

`run_` returns (a JSON-able value for --json, the text for people).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from pluralign import api
from pluralign.data.condition import to_json
from pluralign.errors import ConfigError

if TYPE_CHECKING:
    from pluralign.policy import Policy

Outcome = tuple[Any, str]


def _policy(path: Path, device: str, allow_extrapolation: bool) -> Policy:
    policy = api.load_policy(path, device)
    if allow_extrapolation:
        policy.bounds = replace(policy.bounds, allow_extrapolation=True)
    return policy


@dataclass(frozen=True)
class Sample:
    """Ask a policy for replies under a condition."""

    run: Positional[Path]
    """run folder or policy folder"""
    prompt: tuple[str, ...] = ()
    """one or more prompts; none reads one per line from standard input"""
    steer: str | None = None
    """what is asked, e.g. 'helpful=.7,brief=.3 @1.5'; none leaves the policy unsteered"""
    num: int = 1
    """replies per prompt"""
    seed: int = 0
    """of the draws"""
    temperature: float = 0.7
    """0 is greedy"""
    top_p: float = 1.0
    """nucleus sampling"""
    max_new_tokens: int | None = None
    """longest reply in tokens; none means 128, or half the context where that is less"""
    device: str = "cpu"
    """cpu, cuda or cuda:N"""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """Replies, one block per prompt."""
        prompts = list(self.prompt) or _standard_input()
        condition = api.condition_of(self.steer)
        policy = _policy(self.run, self.device, allow_extrapolation)
        how = {"num": self.num, "seed": self.seed, "temperature": self.temperature, "top_p": self.top_p}
        replies = api.sample(policy, prompts, condition, max_new_tokens=self.max_new_tokens, **how)  # type: ignore[arg-type]
        asked = None if condition is None else to_json(condition)
        value = {
            "condition": asked,
            "replies": [{"prompt": p, "texts": t} for p, t in zip(prompts, replies, strict=True)],
        }
        return value, "\n".join(text for texts in replies for text in texts)


def _standard_input() -> list[str]:
    import sys

    prompts = [line.rstrip("\n") for line in sys.stdin if line.strip()] if not sys.stdin.isatty() else []
    if not prompts:
        raise ConfigError("give a prompt with --prompt, or one per line on standard input")
    return prompts


@dataclass(frozen=True)
class Evaluate:
    """Write a report on a policy: the lab's card, or preference accuracy on your data."""

    run: Positional[Path]
    """run folder or policy folder"""
    out: Path
    """folder for report.html, report.json and pictures"""
    data: Path | None = None
    """records to judge the policy on; none evaluates a policy of the lab's objectives in the lab"""
    reader: str = "auto"
    """format of the data"""
    limit: int | None = None
    """use only so many records, drawn by the seed"""
    split: Literal["validation", "test"] = "test"
    """prompts of the lab (tune on validation, report on test)"""
    seed: int = 0
    """of the draws"""
    temperature: float = 1.0
    """of the lab's samples"""
    device: str = "cpu"
    """cpu, cuda or cuda:N"""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """The report's folder and its summary."""
        policy = _policy(self.run, self.device, allow_extrapolation)
        data = api.load_data(self.data, self.reader, limit=self.limit, seed=self.seed) if self.data else None
        report = api.evaluate(policy, data, seed=self.seed, temperature=self.temperature, split=self.split)
        report.write(self.out)
        return report.to_json(), f"{rendered(report.table())}\nreport: {self.out / 'report.html'}"


def rendered(table: Any) -> str:
    """A table of rich as text."""
    from io import StringIO

    from rich.console import Console

    buffer = StringIO()
    Console(file=buffer, width=160).print(table)
    return buffer.getvalue()


@dataclass(frozen=True)
class Score:
    """Score records: records in, the same records with scores out."""

    data: Positional[Path]
    """file of records"""
    out: Path
    """file of scored records (.jsonl or .jsonl.gz)"""
    scorer: str = "lab"
    """lab (the exact rules of the lab's six objectives), a reward model's folder or run, judge:FILE.json (docs/scorers.md), or module:Class of your own"""
    device: str = "cpu"
    """of a reward model, or of a policy that judges: cpu, cuda or cuda:N"""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """How many records were written."""
        number = api.score(self.data, self.out, self.scorer, self.device)
        return {"records": number, "out": str(self.out)}, f"{number} records scored: {self.out}"


@dataclass(frozen=True)
class Export:
    """Write plain models or peft adapters that answer as the policy does, for other programs (docs/export.md)."""

    run: Positional[Path]
    """run folder or policy folder"""
    out: Path
    """new folder"""
    steer: str | None = None
    """merged, lora: the condition; none exports the policy as it answers unsteered (the only way where conditions are text)"""
    format: Literal["merged", "lora", "adapters", "presets"] = "merged"
    """merged: a whole model; lora: one peft adapter; adapters: one per objective (and preset) with their base; presets: one model per preset"""
    presets: Path | None = None
    """adapters, presets: JSON file of named conditions, e.g. {"calm": "helpful=.7,funny=.3"}"""
    each: Literal["merged", "lora"] | None = None
    """presets: what each becomes (default merged)"""
    rank: Literal["legal", "natural"] | None = None
    """adapters: legal (default) fills ranks up with zeros to one that vLLM takes, natural keeps them"""
    gguf: Literal["none", "f32", "f16"] = "none"
    """also write GGUF files for llama.cpp and Ollama (extra gguf)"""
    report: Path | None = None
    """report.json whose numbers go into the model card"""
    check: bool = True
    """load what was written with transformers and peft; its log-probabilities may differ from the policy's by 1e-4"""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """The folder, and by how much its parts differ from the policy."""
        policy = _policy(self.run, "cpu", allow_extrapolation)
        how: dict[str, Any] = {name: getattr(self, name) for name in ("presets", "each", "rank", "gguf", "check")}
        found = api.export(policy, self.out, self.steer, self.format, self.report, **how)
        told = "".join(f"\n{name}: {nats:.1e} nats from the policy" for name, nats in found.differences.items())
        return {"out": str(self.out), "differences": dict(found.differences)}, f"exported: {self.out}{told}"


@dataclass(frozen=True)
class Methods:
    """List the methods: their papers, the feedback they need, what they can be asked, what they cost."""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """One row per method."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        heads = {"models": "models trained", "passes": "passes per token"}
        table = Table("method", *(heads.get(name, name) for name in api.FACTS), box=SIMPLE_HEAD, pad_edge=False)
        rows = {name: {"about": api.about_method(name), **api.facts_of(name)} for name in api.method_names()}
        for name, row in rows.items():
            table.add_row(name, *(row.get(fact) or "-" for fact in api.FACTS))
        return rows, rendered(table).rstrip()


@dataclass(frozen=True, kw_only=True)
class Compare(api.CompareOptions):
    """Compare methods side by side: one pool, one budget, one judge; a page, a table and a picture."""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """Everything on the page, and the page."""
        found = api.compare(self, command_line())
        return found, self.page.read_text(encoding="utf-8")


def command_line() -> str:
    """This process's arguments as a shell would read them."""
    import shlex
    import sys

    return shlex.join(["pluralign", *sys.argv[1:]])


@dataclass(frozen=True)
class Results:
    """Repeat the lab's results table: every recipe, two seeds, test prompts; writes a Markdown page."""

    out: Path = Path("docs/results.md")
    """the page"""
    seeds: tuple[int, ...] = (0, 1)
    """one pool and training each"""
    readme: Path | None = None
    """a page with the marks of README.md, to be filled with the short table"""
    work: Path = Path("runs/results")
    """where runs and reports stay; finished rows are not done again"""

    def run_(self, allow_extrapolation: bool) -> Outcome:
        """The table."""
        from pluralign.results import results

        rows = results(self.work, self.out, self.seeds, self.readme)
        return rows, self.out.read_text(encoding="utf-8")
