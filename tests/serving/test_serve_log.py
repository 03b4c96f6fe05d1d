"""Ids, the log and the counts, over real HTTP."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from served import Served
from tiny_server import BODY, CHAT, ask, count, get, tiny_server, until

from pluralign.serving.logs import JsonLines


@pytest.fixture(scope="module")
def running() -> Iterator[Served]:
    with tiny_server() as found:
        yield found


class Lines(logging.Handler):
    """What the server writes to its log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(JsonLines().format(record)))


@contextmanager
def heard() -> Iterator[list[dict[str, Any]]]:
    log, lines = logging.getLogger("pluralign.serve"), Lines()
    before = log.level
    log.setLevel(logging.INFO)
    log.addHandler(lines)
    try:
        yield lines.lines
    finally:
        log.removeHandler(lines)
        log.setLevel(before)


SECRETS = {"messages": [{"role": "user", "content": "joke kind funny"}], "user": "zanzibar"}


def test_ids_are_echoed_where_they_are_sane(running: Served) -> None:
    assert ask(running, x_request_id="abc-1.2:3").headers["x-request-id"] == "abc-1.2:3"
    for odd in ("two words", "x" * 65, '{"a"}'):
        assert ask(running, x_request_id=odd).headers["x-request-id"] not in ("", odd)
    assert get(running, "/nowhere").headers["x-request-id"]


def test_the_log_knows_numbers_and_no_texts(running: Served) -> None:
    with heard() as lines:
        ask(running, {**BODY, **SECRETS, "steering": {"weights": {"kind": 0.25, "brief": 0.75}}}, x_request_id="one")
        unknown = {"steering": {"weights": {"zanzibar": 1.0}}}
        ask(running, {**BODY, **SECRETS, **unknown}, authorization="Bearer zanzibar", x_request_id="two")
        get(running, "/zanzibar?zanzibar=1", **{"x-request-id": "three"})
        until(lambda: any(line["id"] == "three" for line in lines))
    lines = [line for line in lines if line["id"] in ("one", "two", "three")]  # others end late
    assert lines[0] | {"time": 0, "seconds": 0, "bytes": 0} == {
        "time": 0, "level": "info", "event": "request", "id": "one", "method": "POST", "path": CHAT, "status": 200,
        "owner": "127.0.0.1", "seconds": 0, "bytes": 0, "model": "tiny", "prompt_tokens": 3, "completion_tokens": 5,
        "replies": 1,
    }  # fmt: skip
    assert [line["status"] for line in lines] == [200, 422, 404]
    for text in ("zanzibar", "joke", "funny", "0.25"):
        assert text not in json.dumps(lines)


def test_a_log_with_prompts_has_both_sides() -> None:
    with tiny_server(log_prompts=True) as server, heard() as lines:
        reply = ask(server, {**BODY, **SECRETS}).json()["choices"][0]["message"]["content"]
        until(lambda: len(lines) == 1)
    assert json.loads(lines[0]["asked"])["user"] == "zanzibar"
    assert json.loads(lines[0]["answered"])["choices"][0]["message"]["content"] == reply


def test_what_is_counted(running: Served) -> None:
    names = {
        "answered": f'pluralign_requests_total{{path="{CHAT}",status="200"}}',
        "unknown": 'pluralign_requests_total{path="other",status="404"}',
        "prompts": 'pluralign_prompt_tokens_total{model="tiny"}',
        "drawn": 'pluralign_completion_tokens_total{model="tiny"}',
        "first": 'pluralign_first_token_seconds_count{model="tiny"}',
        "steps": 'pluralign_step_seconds_count{model="tiny"}',
        "step rows": 'pluralign_step_rows_total{model="tiny"}',
    }
    before = {name: count(running, line) for name, line in names.items()}
    ask(running, {**BODY, "n": 2})
    get(running, "/somewhere")
    expected = {"answered": 1, "unknown": 1, "prompts": 8, "drawn": 10, "first": 2, "steps": 5, "step rows": 10}
    # a request is counted once its answer is out
    until(lambda: {name: count(running, line) - before[name] for name, line in names.items()} == expected)


def test_the_prefix_cache_is_counted() -> None:
    long = {**BODY, "messages": [{"role": "user", "content": "joke " * 40}]}
    with tiny_server() as server:
        ask(server, long)
        ask(server, long)
        hits = count(server, 'pluralign_prefix_tokens_total{found="hit",model="tiny"}')
        misses = count(server, 'pluralign_prefix_tokens_total{found="miss",model="tiny"}')
    assert (hits, hits + misses) == (32, 80)  # two whole blocks of 16 of the second prompt's 40 tokens
