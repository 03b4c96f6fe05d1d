"""Whether a policy can leave as GGUF, asked before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pluralign.errors import ModelError

if TYPE_CHECKING:
    from pluralign.policy import Policy

GgufKind = Literal["none", "f32", "f16"]


def check_gguf(policy: Policy, kind: GgufKind) -> None:
    """Raise at once what writing GGUF would raise later: MissingExtraError, ModelError, ConfigError."""
    if kind != "none":
        raise ModelError("GGUF is not written yet")
