"""How servers start on an exported folder: the README.md of a folder of several, and Ollama's Modelfiles.

Every line is for a shell whose current folder is the exported one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pluralign import __version__
from pluralign.data.condition import Weights
from pluralign.encoding import TEMPLATES
from pluralign.export.manifest import Part, Sums
from pluralign.export.ranks import LEGAL, legal_rank

if TYPE_CHECKING:
    from pluralign.policy import Policy

OLLAMA_TEMPLATES = {
    "plain": "{{ range .Messages }}{{ .Content }}{{ end }}",
    "dialogue": (
        '{{ range .Messages }}{{ if eq .Role "system" }}{{ .Content }}{{ else }}\n\n'
        '{{ if eq .Role "user" }}Human{{ else }}Assistant{{ end }}: {{ .Content }}{{ end }}{{ end }}\n\nAssistant:'
    ),
}
"""The same texts as `encoding.TEMPLATES`, in Ollama's language."""


def launch_page(policy: Policy, parts: Sequence[Part], sums: Sums | None) -> str:
    """README.md of a folder of several."""
    adapters = [part for part in parts if part.rank is not None]
    sections = [
        "# Exported by pluralign",
        f"pluralign {__version__} wrote this folder from one steerable policy. Differences are from that policy under "
        "the same condition: the largest one of a next token's log-probability, in nats, as transformers (and peft) "
        "load it.",
        _table(parts),
        *([_adding(sums)] if sums is not None else []),
        "## How to serve it\n\nRun the lines in this folder. They were written after the programs' documentation and "
        "were not run on this folder; pluralign's docs/export.md says which were tried elsewhere.",
        *(_with_adapters(parts, adapters, sums) if adapters else _whole(parts)),
        _ollama(parts),
    ]
    return "\n\n".join(sections) + "\n"


def _table(parts: Sequence[Part]) -> str:
    rows = ["| name | what | condition | folder | rank | difference |", "| --- | --- | --- | --- | --- | --- |"]
    for part in parts:
        condition = "none" if part.condition is None else f"`{_cell(str(part.condition))}`"
        found = "not checked" if part.difference is None else f"{part.difference:.1e}"
        rows.append(f"| {part.name} | {part.kind} | {condition} | {part.path} | {part.rank or '-'} | {found} |")
    return "\n".join(rows)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("`", "'")


def _adding(sums: Sums) -> str:
    """Whether the objectives' adapters may be added, as far as that was tried."""
    if not sums.weights_add_up:
        return "The objectives' adapters are exact one by one. Added, they are **not** this policy: use the presets."
    if not sums.strengths_add_up:
        return (
            f"The objectives' adapters, added with weights that sum to 1, are the policy (difference {sums.plain:.1e}); "
            "a strength other than 1 is no multiple of them: use a preset."
        )
    return (
        "The objectives' adapters, added with weights that sum to 1, are the policy under these weights (difference "
        f"{sums.plain:.1e}); with all weights times a strength, under that strength too ({sums.strong:.1e})."
    )


def _with_adapters(parts: Sequence[Part], adapters: Sequence[Part], sums: Sums | None) -> list[str]:
    """Lines for adapters beside their base."""
    sglang = [
        "python -m sglang.launch_server --model-path ./base --served-model-name base --enable-lora",
        f"--max-loras-per-batch {len(adapters)} --max-lora-rank {_largest(adapters)}",
        f"--lora-paths {_named(adapters)}",
    ]
    said = f'A request names its adapter after a colon: `"model": "base:{adapters[0].name}"`.'
    return [_vllm(adapters), _section("SGLang", [" \\\n  ".join(sglang)], said), _llama_cpp(parts, adapters, sums)]


def _largest(adapters: Sequence[Part]) -> int:
    return max(part.rank or 0 for part in adapters)


def _named(adapters: Sequence[Part]) -> str:
    return " ".join(f"{part.name}=./{part.path}" for part in adapters)


def _vllm(adapters: Sequence[Part]) -> str:
    if _largest(adapters) > LEGAL[-1]:
        return f"### vLLM\n\nRank {_largest(adapters)} is more than vLLM takes ({LEGAL[-1]}): export whole models."
    lines = [
        "vllm serve ./base --served-model-name base --enable-lora",
        f"--max-loras {len(adapters)} --max-lora-rank {legal_rank(_largest(adapters))}",
        f"--lora-modules {_named(adapters)}",
    ]
    said = f'A request names its adapter: `"model": "{adapters[0].name}"`; "base" is the model alone.'
    return _section("vLLM", [" \\\n  ".join(lines)], said)


def _llama_cpp(parts: Sequence[Part], adapters: Sequence[Part], sums: Sums | None) -> str:
    lines = []
    if parts[0].gguf is None:
        lines.append("python convert_hf_to_gguf.py ./base --outfile ./base/model.gguf --outtype f32")
        for part in adapters:
            out = f"--outfile ./{part.path}/adapter.gguf --outtype f32"
            lines.append(f"python convert_lora_to_gguf.py ./{part.path} --base ./base {out}")
    loras = ",".join(f"./{part.path}/adapter.gguf:0" for part in adapters)
    lines.append(f"llama-server -m ./base/model.gguf --jinja \\\n  --lora-scaled {loras}")
    said = (
        "A request lists its adapters by their places in that line, from 0, and how much each counts: "
        f'`"lora": [{{"id": 0, "scale": 1.0}}]` is {adapters[0].name} alone; without the list the model answers alone.'
    )
    objectives = [part for part in adapters if part.kind == "objective"]
    if sums is not None and sums.weights_add_up and len(objectives) > 1:
        said += f" {_mix([part.name for part in objectives[:2]], {p.name: n for n, p in enumerate(adapters)})}"
    return _section("llama.cpp", lines, said)


def _mix(names: Sequence[str], places: Mapping[str, int]) -> str:
    """A trade-off of two objectives, as scales."""
    weights = dict(zip(names, (0.7, 0.3), strict=True))
    scales = ", ".join(f'{{"id": {places[name]}, "scale": {weight}}}' for name, weight in weights.items())
    return (
        f'Any trade-off of the objectives is a sum: `{Weights(weights)}` is `"lora": [{scales}]`. The other programs here '
        "take one adapter per request."
    )


def _whole(parts: Sequence[Part]) -> list[str]:
    """Lines for whole models: a server each."""
    vllm, sglang, convert, llama = [], [], [], []
    for place, part in enumerate(parts):
        served = f"--served-model-name {part.name} --port"
        vllm.append(f"vllm serve ./{part.path} {served} {8000 + place}")
        sglang.append(f"python -m sglang.launch_server --model-path ./{part.path} {served} {30000 + place}")
        file = f"./{part.path}/model.gguf"
        if part.gguf is None:
            convert.append(f"python convert_hf_to_gguf.py ./{part.path} --outfile {file} --outtype f32")
        llama.append(f"llama-server -m {file} --alias {part.name} --jinja --port {8080 + place}")
    return [_section("vLLM", vllm), _section("SGLang", sglang), _section("llama.cpp", [*convert, *llama])]


def _section(name: str, lines: Sequence[str], said: str = "") -> str:
    text = f"### {name}\n\n```sh\n" + "\n".join(lines) + "\n```"
    return f"{text}\n\n{said}" if said else text


def _ollama(parts: Sequence[Part]) -> str:
    asked = [part for part in parts if part.kind != "base"]
    lines = [f"ollama create {part.name.lower()} -f ./{part.path}/Modelfile" for part in asked]
    said = "Check the `TEMPLATE` of the Modelfiles against the model's chat template."
    if any(part.gguf is None for part in parts):
        said = "The Modelfiles name GGUF files: make these with llama.cpp's lines above first. " + said
    return _section("Ollama", lines, said)


def modelfile(policy: Policy, part: Part) -> str:
    """Ollama's Modelfile of a part, to stand in its folder."""
    depth = "/".join([".."] * (part.path.count("/") + 1))
    lines = ["FROM ./model.gguf"] if part.rank is None else [f"FROM {depth}/base/model.gguf", "ADAPTER ./adapter.gguf"]
    for name, text in OLLAMA_TEMPLATES.items():
        if policy.encoder.template_text == TEMPLATES[name]:
            lines.append(f'TEMPLATE """{text}"""')
    return "\n".join(lines) + "\n"
