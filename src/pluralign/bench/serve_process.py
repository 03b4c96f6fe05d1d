"""The server under load: `pluralign serve` as a process of its own, watched from outside."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from pluralign.errors import MissingExtraError, RunError

LONGEST_START = 120.0
LONGEST_STOP = 30.0
_PAUSE = 0.02


class Served:
    """A running server for one policy folder; a context manager. `flags` go to `pluralign serve`, what it says to `log`.

    `ready_s`: seconds from the start of the process to its first answer at /healthz. RunError where it does not start.
    """

    def __init__(self, folder: Path, log: Path, flags: Sequence[str] = ()) -> None:
        self.port = _free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, "-m", "pluralign", "serve", str(folder), "--port", str(self.port), *flags]
        self._log = log
        self.ready_s = 0.0
        self.model = ""

    def __enter__(self) -> Served:
        psutil = _psutil()
        began = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            self._wait(began)
            self.ready_s = time.perf_counter() - began
            self._watched = psutil.Process(self._process.pid)
            self.model = self.get("/v1/models")["data"][0]["id"]
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        return json.loads(self._get(path)[1])

    def metrics(self) -> str:
        """What /metrics says."""
        return self._get("/metrics")[1].decode()

    def cpu(self) -> float:
        """CPU seconds that the process has used."""
        used = self._watched.cpu_times()
        return float(used.user + used.system)

    def memory(self) -> int:
        """Resident bytes."""
        return int(self._watched.memory_info().rss)

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _wait(self, began: float) -> None:
        while time.perf_counter() - began < LONGEST_START:
            if self._process.poll() is not None:
                raise RunError(f"the server ended with code {self._process.returncode}: {self._said()}")
            try:
                if self._get("/healthz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(_PAUSE)
        raise RunError(f"the server was not ready after {LONGEST_START:g} s: {self._said()}")

    def _said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-2000:].strip() or "it said nothing"

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(LONGEST_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _psutil() -> Any:
    try:
        import psutil
    except ImportError as error:
        raise MissingExtraError("bench serve needs httpx2 and psutil: pip install 'pluralign[bench,serve]'") from error
    return psutil
