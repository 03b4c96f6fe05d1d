"""The endpoint: order, repetition, what is refused for good, how many at once, and the memory."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from judge_server import serving

from pluralign.data.record import user
from pluralign.errors import ConfigError, RunError
from pluralign.scorers.asking import Question, Remembered
from pluralign.scorers.endpoint import Endpoint


def echo(body: dict[str, Any]) -> str:
    return "re: " + body["messages"][-1]["content"]


def questions(num: int) -> list[Question]:
    return [Question(user(f"question {place}")) for place in range(num)]


def at(url: str, **options: Any) -> Endpoint:
    return Endpoint(**{"base_url": url, "model": "m", "wait": 0.001, **options})


def test_answers_come_in_order_and_few_at_once():
    def late(body: dict[str, Any]) -> str:
        time.sleep(0.02 if body["messages"][-1]["content"].endswith(("0", "5")) else 0.002)
        return echo(body)

    with serving(late) as server:
        found = list(at(server.url, concurrency=3).answers(questions(20)))
        assert found == [f"re: question {place}" for place in range(20)]
        assert 1 < server.most <= 3
    assert list(at(server.url).answers([])) == []


def test_what_is_sent():
    with serving(echo) as server:
        asked = [Question(user("a"), 7), Question(user("b"), 9, temperature=0.5, seed=3)]
        list(at(server.url, concurrency=1).answers(asked))
        list(at(server.url, limit_name="max_completion_tokens").answers(asked[:1]))
    told = {"model": "m", "messages": [{"role": "user", "content": "a"}], "temperature": 0.0}
    assert server.bodies[0] == {**told, "max_tokens": 7}
    assert server.bodies[1]["seed"] == 3
    assert server.bodies[1]["temperature"] == 0.5
    assert server.bodies[2] == {**told, "max_completion_tokens": 7}
    assert server.keys == [None] * 3


@pytest.mark.parametrize("fault", [429, 500, 503, "garbage", "empty", "close"])
def test_what_fails_for_now_is_asked_again(fault: int | str):
    with serving(echo, faults=(fault, fault)) as server:
        assert list(at(server.url).answers(questions(1))) == ["re: question 0"]
        assert len(server.bodies) == 3


def test_a_slow_answer_is_given_up_and_asked_for_again():
    with serving(echo, faults=("slow",)) as server:
        assert list(at(server.url, timeout=0.3).answers(questions(1))) == ["re: question 0"]
        assert len(server.bodies) == 2


def test_what_goes_on_failing_stops_with_a_reason():
    with serving(echo, always=500) as server:
        with pytest.raises(RunError, match=r"3 attempts \(status 500\)"):
            list(at(server.url, retries=2).answers(questions(1)))
        assert len(server.bodies) == 3
    with pytest.raises(RunError, match="no answer in 1 attempts"):  # nobody listens there any more
        list(at(server.url, retries=0).answers(questions(1)))


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_is_refused_for_good_stops_at_once(status: int):
    with serving(echo, always=status) as server:
        with pytest.raises(ConfigError, match=f"status {status}.*check base_url"):
            list(at(server.url).answers(questions(1)))
        assert len(server.bodies) == 1


def test_one_refused_question_has_no_answer(caplog: pytest.LogCaptureFixture):
    with serving(echo, faults=(400,)) as server:
        found = list(at(server.url, concurrency=1).answers(questions(3)))
    assert found == [None, "re: question 1", "re: question 2"]
    assert "fault 400" in caplog.text


def test_refusing_all_is_not_the_questions_fault():
    with serving(echo, always=400) as server, pytest.raises(ConfigError, match="all 5 before"):
        list(at(server.url, concurrency=1).answers(questions(20)))


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEST_JUDGE_KEY", "secret-word")
    with serving(echo, always=403) as server:
        endpoint = at(server.url, key_variable="TEST_JUDGE_KEY")
        with pytest.raises(ConfigError) as refused:
            list(endpoint.answers(questions(1)))
    assert server.keys == ["Bearer secret-word"]
    assert "secret-word" not in f"{refused.value} {endpoint} {endpoint.name}"
    monkeypatch.delenv("TEST_JUDGE_KEY")
    with pytest.raises(ConfigError, match="TEST_JUDGE_KEY is empty"):
        at(server.url, key_variable="TEST_JUDGE_KEY")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_url": "localhost:8000"}, "http://"),
        ({"base_url": "http://me:word@localhost/v1"}, "no names or passwords"),
        ({"timeout": 0.0}, "finite seconds"),
        ({"retries": -1}, "at least 0"),
        ({"concurrency": 0}, "at least 0 and concurrency 1"),
    ],
)
def test_settings_that_mean_nothing(options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        Endpoint(**{"base_url": "http://localhost/v1", "model": "m", **options})
    with pytest.raises(ConfigError, match="max_tokens"):
        Question(user("a"), 0)


def test_nothing_is_asked_twice(tmp_path: Path):
    path = tmp_path / "kept" / "answers.jsonl"
    with serving(echo) as server:
        twice = [*questions(3), *questions(3)]
        assert list(Remembered(at(server.url), path).answers(twice)) == [
            f"re: question {n}" for n in (0, 1, 2, 0, 1, 2)
        ]
        assert len(server.bodies) == 3
        again = Remembered(at(server.url), path)
        assert list(again.answers(questions(4))) == [f"re: question {n}" for n in range(4)]
        assert len(server.bodies) == 4
        other = Remembered(at(server.url, model="another"), path)  # somebody else was not asked yet
        list(other.answers(questions(1)))
        assert len(server.bodies) == 5
    assert "question" not in path.read_text().replace("re: question", "")


def test_what_was_answered_before_a_failure_is_kept(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    with serving(echo) as server:
        ask = Remembered(at(server.url, concurrency=1, retries=0), path)
        answers = ask.answers(questions(4))
        assert next(answers) == "re: question 0"
        server.always = 500
        with pytest.raises(RunError):
            list(answers)
        server.always = None
        before = len(server.bodies)
        with path.open("ab") as file:
            file.write(b'{"key": "cut o')  # as a killed process leaves it
        assert list(Remembered(at(server.url), path).answers(questions(4))) == [f"re: question {n}" for n in range(4)]
        assert len(server.bodies) - before <= 3
    assert [set(json.loads(line)) for line in path.read_text().splitlines()] == [{"key", "answer"}] * 4


def test_another_file_is_no_memory(tmp_path: Path):
    (tmp_path / "data.jsonl").write_text('{"messages": []}\n')
    with pytest.raises(ConfigError, match="no file of answers"):
        Remembered(at("http://localhost/v1"), tmp_path / "data.jsonl")


def test_refused_questions_are_not_remembered(tmp_path: Path):
    with serving(echo, faults=(400,)) as server:
        ask = Remembered(at(server.url, concurrency=1), tmp_path / "answers.jsonl")
        same = [*questions(1), *questions(2)]
        assert list(ask.answers(same)) == [None, None, "re: question 1"]
        assert list(ask.answers(questions(1))) == ["re: question 0"]
