"""Our own record file: a header line, then one record per line (see pluralign.data.jsonl)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pluralign.data import jsonl
from pluralign.data.dataset import Dataset, OnError
from pluralign.data.record_json import RECORD

COLUMNS = "a header with the key 'pluralign', or records with " + ", ".join(RECORD)


def recognise(row: dict[str, Any]) -> int:
    """All columns of a header; those of a record without a header, unless they are a dialogue with its reply."""
    if "pluralign" in row:
        return len(row)
    messages = row.get("messages")
    if "messages" not in row or not set(row) <= set(RECORD):
        return 0
    last = messages[-1] if isinstance(messages, list) and messages else None
    whole_dialogue = isinstance(last, dict) and last.get("role") == "assistant"
    return 0 if whole_dialogue and "responses" not in row else len(row)


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset; without a header a first pass infers the objectives."""
    return jsonl.open_dataset(path, on_error)
