"""The whole server as a process: it starts, serves, is killed, ends in order, and says what is wrong."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from spawned import policy_that_goes_on, spawned

import tiny
from pluralign.cli import main
from pluralign.errors import ConfigError
from pluralign.serving.settings import ServeSettings
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.norms import PromptNorms

CLIENT = httpx2.Client(timeout=60, trust_env=False, verify=False, limits=httpx2.Limits(max_keepalive_connections=0))
CHAT = "/v1/chat/completions"
BODY = {"model": "on", "messages": [{"role": "user", "content": "tell me a joke"}], "max_tokens": 5, "temperature": 0}
FURTHER = {**BODY, "steering": {"weights": {"kind": 1.5, "brief": -0.5}}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return policy_that_goes_on(tmp_path_factory.mktemp("policies") / "on")


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "it did not come true"
        time.sleep(0.02)


def gauge(address: str, name: str) -> float:
    lines = CLIENT.get(address + "/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(f'pluralign_{name}{{model="on"}}')).split()[1])


class Stream:
    """A streamed reply that is read in a thread: `texts` of its events, and whether it said [DONE]."""

    def __init__(self, address: str, tokens: int) -> None:
        self.events: list[str] = []
        self.error: Exception | None = None
        body = {**BODY, "max_tokens": tokens, "stream": True, "stream_options": {"include_usage": True}}
        self._thread = threading.Thread(target=self._read, args=(address, body))
        self._thread.start()
        until(lambda: bool(self.events or self.error))

    def _read(self, address: str, body: dict[str, Any]) -> None:
        try:
            with CLIENT.stream("POST", address + CHAT, json=body) as response:
                self.events.extend(line for line in response.iter_lines() if line)
        except httpx2.HTTPError as error:
            self.error = error

    def end(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()

    @property
    def usage(self) -> dict[str, int]:
        found: dict[str, int] = json.loads(self.events[-2].removeprefix("data: "))["usage"]
        return found


# -- what is refused before anything is served ---------------------------------------------------------------------


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    def run(*arguments: object) -> str:
        assert main(["serve", *map(str, arguments)]) == 2
        said = capsys.readouterr().err
        assert said.startswith("pluralign: ")
        assert "Traceback" not in said
        return said

    yield run


def test_a_port_that_is_taken(refused: Callable[..., str], folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = refused(folder, "--port", taken.getsockname()[1])
    assert "cannot listen on port" in said
    assert "--port (0 takes any free one)" in said


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "at least one run folder"),
        (("nowhere",), "nowhere"),
        (("FOLDER", "FOLDER"), "both be called 'on'"),
        (("FOLDER", "--keys-file", "nowhere"), "cannot read the keys"),
        (("FOLDER", "--add-key", "ada"), "--add-key NAME --keys-file FILE"),
        (("FOLDER", "--host", "192.0.2.1"), "cannot listen"),
    ],
)
def test_what_cannot_be_served(
    arguments: tuple[str, ...], reason: str, refused: Callable[..., str], folder: Path
) -> None:
    given = [str(folder) if word == "FOLDER" else word for word in arguments]
    assert reason in refused(*given, "--port", 0)


def test_weights_that_are_no_numbers(refused: Callable[..., str], tmp_path: Path) -> None:
    policy = tiny.policy(PluralSteering(), 0.1)
    with torch.no_grad():
        policy.model.get_decoder().layers[0].mlp.up_proj.weight[0, 0] = torch.nan
    policy.save(tmp_path / "broken")
    said = refused(tmp_path / "broken", "--port", 0)
    assert "layers.0.mlp.up_proj.weight is not finite" in said
    assert "take an earlier one" in said
    policy = tiny.policy(PluralSteering(), 0.1)
    with torch.no_grad():
        policy.trainable()["heads"][0].view(-1)[5] = torch.inf
    policy.save(tmp_path / "changed")
    assert "lm_head" in (said := refused(tmp_path / "changed", "--port", 0))
    assert "serve an earlier one" in said


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"rows": 0}, "rows must be at least 1"),
        ({"queue": -1}, "queue must be at least 0"),
        ({"port": 70_000}, "port is 0"),
        ({"timeout": 0.0}, "timeout is a finite number of seconds above 0"),
        ({"grace": float("inf")}, "grace is a finite number"),
        ({"rate": 0.0}, "rate is a finite number above 0"),
        ({"cache_tokens": 0}, "cache_tokens must be at least 1"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"cors": ("*",)}, "name origins, or set keys"),
    ],
)
def test_settings_out_of_range(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        ServeSettings(**given)


def test_without_the_extra(refused: Callable[..., str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "serving needs fastapi, uvicorn; pip install 'pluralign[serve]'" in refused(folder)


def test_norms_looked_up_by_the_model_itself(refused: Callable[..., str], tmp_path: Path) -> None:
    norms = (("ours", "be kind to all", "", ""), ("ours", "tell a joke", "", ""))
    tiny.policy(PromptNorms(norms=norms, embedding="states")).save(tmp_path / "norms")
    assert "embedding words" in refused(tmp_path / "norms", "--port", 0)


def test_a_key_is_made_and_shown_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "keys"
    assert main(["serve", "--add-key", "ada", "--keys-file", str(path), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["name"] == "ada"
    assert made["key"] not in path.read_text()
    assert main(["serve", "--add-key", "ada", "--keys-file", str(path)]) == 2


# -- processes -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_serves_without_a_disk_and_without_its_folder_and_ends_in_order(
    tmp_path: Path, folder: Path, refused: Callable[..., str]
) -> None:
    own = tmp_path / "on"
    shutil.copytree(folder, own)
    with spawned(own, "--port", "0", "--max-tokens", "50000", "--rows", "8", no_files=True) as server:
        assert server.ready_line == f"serving on on {server.address}  (Ctrl-C ends it)\n"
        before = CLIENT.post(server.address + CHAT, json=BODY).json()["choices"]

        shutil.rmtree(own)
        assert CLIENT.post(server.address + CHAT, json=BODY).json()["choices"] == before

        with socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2]))) as client:
            text = json.dumps({**BODY, "max_tokens": 50_000, "stream": True, "n": 4})
            head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
            client.sendall((head + text).encode())
            until(lambda: gauge(server.address, "busy_rows") == 4)
        until(lambda: gauge(server.address, "busy_rows") == 0)

        stream = Stream(server.address, 600)
        server.signal(signal.SIGTERM)
        until(lambda: CLIENT.get(server.address + "/healthz").status_code == 503)
        late = CLIENT.post(server.address + CHAT, json=BODY)
        assert (late.status_code, late.json()["error"]["code"]) == (503, "shutting_down")
        stream.end()
        assert stream.error is None
        assert stream.events[-1] == "data: [DONE]"
        assert stream.usage["completion_tokens"] == 600
        assert server.ended() == 0
    assert f"{own} is no policy folder" in refused(own, "--port", 0)  # started again, it says what is missing
    assert [event["event"] for event in server.events()][-1] == "request"
    assert "stopping" in [event["event"] for event in server.events()]


@pytest.mark.slow
def test_killed_it_starts_again_on_the_same_port_and_stops_at_the_second_signal(folder: Path) -> None:
    with spawned(folder, "--port", "0", "--max-tokens", "50000") as server:
        first = CLIENT.post(server.address + CHAT, json=BODY).json()["choices"]
        assert CLIENT.post(server.address + CHAT, json=FURTHER).status_code == 422
        stream = Stream(server.address, 50_000)
        server.signal(signal.SIGKILL)
        stream.end()  # the client sees a broken connection, and does not hang
        assert stream.error is not None
        port = server.address.rpartition(":")[2]
    flags = ("--max-tokens", "50000", "--grace", "60", "--allow-extrapolation", "--json")
    with spawned(f"on={folder}", "--port", port, *flags) as server:
        assert json.loads(server.ready_line) == {"address": f"http://127.0.0.1:{port}", "models": ["on"]}
        assert CLIENT.post(server.address + CHAT, json=FURTHER).status_code == 200
        assert CLIENT.post(server.address + CHAT, json=BODY).json()["choices"] == first
        stream = Stream(server.address, 50_000)
        server.signal(signal.SIGINT)
        until(lambda: CLIENT.get(server.address + "/healthz").status_code == 503)
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.ended() == 0
        assert time.monotonic() - began < 15  # not the minute of grace
        stream.end()
        assert stream.events[-1] != "data: [DONE]"


@pytest.mark.slow
def test_the_grace_time_ends_and_whoever_is_inside_is_told(folder: Path) -> None:
    with spawned(folder, "--port", "0", "--max-tokens", "50000", "--grace", "0.5") as server:
        stream = Stream(server.address, 50_000)
        server.signal(signal.SIGTERM)
        stream.end()
        assert '"code": "shutting_down"' in stream.events[-1]
        assert server.ended() == 0
