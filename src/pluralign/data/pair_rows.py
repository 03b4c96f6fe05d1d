"""Trade-off pairs as rows in the manner of TRL, written fast: JSON lines (`.gz` too), or Parquet with every text once.

A row has the columns of `view_rows`: prompt, chosen, rejected, weights (every objective), margin (None where only the
direction is known) and id. The texts of a record are encoded once for all its rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pluralign.data import lines
from pluralign.data.objective import Objective, names
from pluralign.data.pairs import Pairs
from pluralign.data.record import Message
from pluralign.data.view_rows import prompt
from pluralign.errors import DataError
from pluralign.storage import atomic_file

_GROUP = 4096  # records whose rows make a row group of a Parquet file
_encoded = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def write(
    path: str | Path, found: Iterable[Pairs], objectives: Sequence[Objective], conversational: bool = True
) -> int:
    """Write the pairs, streamed and whole or not at all, as the path's ending says (.jsonl, .jsonl.gz, .parquet).

    Returns the number of rows. Raises DataError when there is none, or for a prompt that texts cannot hold
    (`conversational` false); StorageError.
    """
    tabular = Path(path).suffix == ".parquet"
    return (_parquet if tabular else _json_lines)(path, found, objectives, conversational)


def _some(num: int, objectives: Sequence[Objective]) -> None:
    if not num:
        raise DataError(
            "no pair of replies can be judged: records need two replies with different scores, comparisons or rankings "
            f"on one of the objectives {', '.join(names(objectives))}; where the replies of a prompt stand in several rows, "
            "`pluralign data convert --join` puts them into one record"
        )


def _json_lines(path: str | Path, found: Iterable[Pairs], objectives: Sequence[Objective], talk: bool) -> int:
    num = 0

    def blocks() -> Iterator[bytes]:
        nonlocal num
        labels = [_encoded(name) for name in names(objectives)]
        for judged in found:
            num += len(judged.chosen)
            yield _block(judged, labels, talk)
        _some(num, objectives)

    lines.write(path, blocks())
    return num


def _block(judged: Pairs, labels: Sequence[str], talk: bool) -> bytes:
    """The rows of one record, as `lines.dump` would write them one by one."""
    record = judged.record
    start, end = (
        f'{{"prompt": {_prompt(record.messages, talk)}, "chosen": ',
        f', "id": {_encoded(record.id)}}}\n',
    )
    replies = [_encoded(response.text) for response in record.responses]
    if talk:
        replies = [f'[{{"role": "assistant", "content": {text}}}]' for text in replies]
    weights = [
        ", ".join([f"{label}: {value!r}" for label, value in zip(labels, row, strict=True)]) for row in judged.weights
    ]
    middle = [f'{{{text}}}, "margin": ' for text in weights]
    rows = [
        f'{start}{replies[chosen]}, "rejected": {replies[rejected]}, "weights": {middle[condition]}'
        f"{'null' if margin is None else repr(margin)}{end}"
        for condition, chosen, rejected, margin in zip(
            judged.condition, judged.chosen, judged.rejected, judged.margin, strict=True
        )
    ]
    try:
        return "".join(rows).encode()
    except UnicodeEncodeError as error:
        raise DataError("a text holds half a character (a lone surrogate); repair or drop it") from error


def _prompt(messages: Sequence[Message], talk: bool) -> str:
    """As `_encoded` of the column, at a fraction of its cost: an encoder is slow to begin with a list."""
    if not talk:
        return _encoded(prompt(messages, talk))
    turns = [f'{{"role": {_encoded(turn.role)}, "content": {_encoded(turn.content)}}}' for turn in messages]
    return f"[{', '.join(turns)}]"


def _parquet(path: str | Path, found: Iterable[Pairs], objectives: Sequence[Objective], talk: bool) -> int:
    from pyarrow import parquet

    num = 0
    groups = _grouped(found)
    first = next(groups, [])
    _some(len(first), objectives)
    table = _table(first, objectives, talk)
    with (
        atomic_file(path) as temporary,
        # without Arrow's own schema, so that readers see texts where the file holds places in a dictionary
        parquet.ParquetWriter(temporary, table.schema, compression="zstd", store_schema=False) as writer,
    ):
        for part in chain([table], (_table(group, objectives, talk) for group in groups)):
            writer.write_table(part)
            num += part.num_rows
    return num


def _grouped(found: Iterable[Pairs]) -> Iterator[list[Pairs]]:
    stream = iter(found)
    while group := list(islice(stream, _GROUP)):
        yield group


def _table(group: Sequence[Pairs], objectives: Sequence[Objective], talk: bool) -> Any:
    """The rows of some records as an Arrow table; texts are places in a dictionary."""
    import pyarrow

    records = [judged.record for judged in group]
    texts = [response.text for record in records for response in record.responses]
    owner = np.repeat(np.arange(len(group)), [len(judged.chosen) for judged in group])
    replies = _texts([[{"role": "assistant", "content": text}] for text in texts] if talk else texts, talk)
    first_reply = _starts([len(record.responses) for record in records])[owner]
    first_weight = _starts([len(judged.weights) for judged in group])[owner]
    weights = np.array([row for judged in group for row in judged.weights])
    weights = weights[first_weight + _joined(judged.condition for judged in group)]
    columns = {
        "prompt": _texts([prompt(record.messages, talk) for record in records], talk).take(pyarrow.array(owner)),
        "chosen": replies.take(pyarrow.array(first_reply + _joined(judged.chosen for judged in group))),
        "rejected": replies.take(pyarrow.array(first_reply + _joined(judged.rejected for judged in group))),
        "weights": pyarrow.StructArray.from_arrays(list(weights.T), names=list(names(objectives))),
        "margin": pyarrow.array([margin for judged in group for margin in judged.margin], pyarrow.float64()),
        "id": pyarrow.array([record.id for record in records]).dictionary_encode().take(pyarrow.array(owner)),
    }
    return pyarrow.table(columns)


def _texts(values: Sequence[Any], talk: bool) -> Any:
    """A column of texts, or of lists of messages, whose texts are places in a dictionary. Raises DataError."""
    import pyarrow

    turns = [turn for value in values for turn in value] if talk else []
    try:
        leaves = [pyarrow.array([turn[key] for turn in turns], "string") for key in ("role", "content")]
        whole = pyarrow.array([] if talk else values, "string").dictionary_encode()
    except UnicodeEncodeError as error:
        raise DataError("a text holds half a character (a lone surrogate); repair or drop it") from error
    if not talk:
        return whole
    messages = pyarrow.StructArray.from_arrays([leaf.dictionary_encode() for leaf in leaves], ["role", "content"])
    starts = np.append(_starts([len(value) for value in values]), len(turns)).astype(np.int32)
    return pyarrow.ListArray.from_arrays(pyarrow.array(starts), messages)


def _starts(sizes: Sequence[int]) -> NDArray[np.int64]:
    """Where each of so many stands when all stand one after the other."""
    counts = np.array(sizes, dtype=np.int64)
    return counts.cumsum() - counts


def _joined(parts: Iterable[Sequence[int]]) -> NDArray[np.int64]:
    return np.fromiter(chain.from_iterable(parts), dtype=np.int64)
