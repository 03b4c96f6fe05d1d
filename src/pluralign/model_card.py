"""The model card (README.md) of an exported model: what it is, what was asked, from which data, and how it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pluralign import __version__
from pluralign.data.condition import Condition, Weights

if TYPE_CHECKING:
    from pluralign.policy import Policy

NUMBERS = (
    "gain_mean", "gain_min", "spearman_mean", "utility_gain", "hypervolume",
    "fluency_mean", "fluency_min", "kl_mean", "efficiency", "regret",
)  # fmt: skip
_ROWS = (("policy", None), ("base", "base"), ("optimum", "optimum"))


def model_card(
    policy: Policy,
    condition: Condition | None,
    kind: Literal["merged", "lora"],
    report: Mapping[str, Any] | None = None,
    licence: str | None = None,
) -> str:
    """Markdown with YAML front matter. `report`: a report.json; `licence`: of the weights ("unknown" if not given)."""
    base = str(policy.lineage.get("base") or "unknown")
    known = base.count("/") == 1 and not Path(base).exists()  # a hub id; a folder's place is nobody's business
    parts = [
        _front_matter(base if known else None, kind, licence),
        f"# {'LoRA adapter' if kind == 'lora' else 'Model'} for {_said(condition)}",
        f"Exported by pluralign {__version__} from a steerable policy. {_asking(policy)}",
        _about(policy, condition, base if known else Path(base).name, kind),
        _objectives(policy),
        _data(policy),
        *([_metrics(report)] if report else []),
        "## Limits\n\nWhat the model was asked for is not always what it does: read the numbers, and test it on your "
        "own prompts. Weights trade objectives off against each other, also against safety where it is one of them. "
        "The licences of the base model and of the data above apply.",
    ]
    return "\n\n".join(parts) + "\n"


def _asking(policy: Policy) -> str:
    """How, or whether, the exported model can still be asked."""
    written = written_condition(policy)
    if written is None:
        return "The trade-off is fixed in these weights; the policy can be asked for others."
    return (
        "Nothing is fixed in these weights: this model reads what it is asked for. Open the system turn (or the prompt, "
        f"where there are no turns) with the weights between their special tokens:\n\n```text\n{written}\n```"
    )


def written_condition(policy: Policy) -> str | None:
    """Equal weights as a prompt-steered policy reads them; None where conditions are not text."""
    if Weights not in policy.steering.accepts:
        return None
    example = Weights({objective.name: 1 / policy.num_objectives for objective in policy.objectives})
    text = "".join(message.content for message in policy.steering.write((), example))
    brackets = policy.encoder.brackets
    tokens = policy.encoder.tokenizer.convert_ids_to_tokens(list(brackets)) if brackets else ["", ""]
    return f"{tokens[0]}{text}{tokens[1]}" if text else None


def _front_matter(base: str | None, kind: str, licence: str | None) -> str:
    from huggingface_hub import ModelCardData

    about = ModelCardData(
        license=licence or "unknown",
        base_model=base,
        library_name="peft" if kind == "lora" else "transformers",
        pipeline_tag="text-generation",
        tags=["pluralign", "steerable", "alignment", *(["lora"] if kind == "lora" else [])],
    )
    return f"---\n{about.to_yaml()}\n---"


def _said(condition: Condition | None) -> str:
    return "no condition" if condition is None else f"`{condition}`"


def _about(policy: Policy, condition: Condition | None, base: str, kind: str) -> str:
    lineage = policy.lineage
    rows = [
        ("condition", _said(condition)),
        ("base model", base),
        ("base weights (SHA-256)", lineage.get("base_fingerprint", "unknown")),
        ("method", lineage.get("method", "unknown")),
        ("recipe", lineage.get("recipe", "none named")),
        ("steering", " ".join(f"{key}={value}" for key, value in {"kind": policy.steering.kind, **_fields(policy)}.items())),
    ]  # fmt: skip
    exact = (
        "One adapter, exact by rank concatenation." if kind == "lora" else "Every change is merged into the weights."
    )
    return f"## What it is\n\n{exact}\n\n" + _table(("", ""), rows)


def _fields(policy: Policy) -> dict[str, Any]:
    return policy.steering.config()


def _objectives(policy: Policy) -> str:
    rows = [
        (f"`{o.name}`", o.description or "-", f"{o.low:g} to {o.high:g}", f"{o.direction} is better")
        for o in policy.objectives
    ]
    return "## Objectives\n\n" + _table(("objective", "meaning", "range", "direction"), rows)


def _data(policy: Policy) -> str:
    given = policy.lineage.get("data") or []
    if not given:
        return "## Data\n\nThe policy does not say what it was trained on."
    rows = [(item.get("source"), item.get("licence"), item.get("records")) for item in given]
    return "## Data\n\n" + _table(("source", "licence", "records"), rows)


def _metrics(report: Mapping[str, Any]) -> str:
    names = [name for name in NUMBERS if report.get(name) is not None]
    if not names:
        return "## Evaluation\n\nThe report holds none of the ten numbers."
    rows = [
        (who, *(_number(_inner(report, key).get(name)) for name in names)) for who, key in _ROWS if _inner(report, key)
    ]
    return "## Evaluation\n\nOf the steerable policy over all its trade-offs, not of this one alone.\n\n" + _table(
        ("", *names), rows
    )


def _inner(report: Mapping[str, Any], key: str | None) -> Mapping[str, Any]:
    found = report if key is None else report.get(key)
    return found if isinstance(found, Mapping) else {}


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:.3g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    """One table cell: what people wrote may hold bars, line ends or mark-up."""
    text = "unknown" if value is None else " ".join(str(value).split())
    return text.replace("|", "\\|").replace("<", "&lt;")
