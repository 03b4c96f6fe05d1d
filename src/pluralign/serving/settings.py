"""What a server may do and how much of it: the flags of `pluralign serve`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from pluralign.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Where the server listens, what a request may cost, and what is refused. Raises ConfigError out of range."""

    host: str = "127.0.0.1"
    """address to listen on; the default is reached from this machine only, 0.0.0.0 from everywhere"""
    port: int = 8000
    """port; 0 takes any free one (the ready line names it)"""
    rows: int = 64
    """replies decoded together by each policy (key-value rows: a mixture's reply takes one for each member)"""
    cache_tokens: int | None = None
    """bound on the memory of each decoder, in tokens: rows in use times the longest of them; none: `rows` alone bounds it"""
    prefix_tokens: int = 8192
    """tokens of earlier prompts and replies that each decoder remembers, for prompts that begin alike; 0 remembers none"""
    queue: int = 64
    """rows that may wait for a place; what comes beyond is refused with 429 and Retry-After"""
    max_tokens: int = 1024
    """longest reply that a request may ask for, in tokens"""
    max_replies: int = 16
    """most replies to one request (n)"""
    max_body: int = 1_000_000
    """largest body of a request, in bytes; 413 beyond"""
    connections: int = 1000
    """requests under way at a time, those included whose client is slow to read; 429 beyond"""
    stall: float = 30.0
    """seconds for which a client may send nothing of its body, or take nothing of its answer, before it is given up"""
    timeout: float = 300.0
    """seconds for a request from its first byte to its last, the time of a slow reader included"""
    grace: float = 30.0
    """seconds that running requests get to end after SIGTERM or Ctrl-C"""
    keys_file: Path | None = None
    """file of API keys, hashed (make one with --add-key); none asks for no key"""
    keys_variable: str | None = None
    """environment variable that holds API keys: NAME:KEY, separated by blanks"""
    rate: float | None = None
    """requests per minute for each key (without keys: each client's address); none sets no limit"""
    token_rate: float | None = None
    """tokens per minute for each key, of prompts and replies together; none sets no limit"""
    cors: tuple[str, ...] = ()
    """origins whose web pages may call the server, e.g. https://example.org; none allows no page"""
    allowed_hosts: tuple[str, ...] = ()
    """names that the server answers to (Host header); none takes any, or this machine's own where it listens on loopback"""
    presets: Path | None = None
    """JSON file of named conditions, which requests may ask for by name"""
    log_prompts: bool = False
    """write prompts, steering and replies to the log too (personal data may be in them)"""
    threads: int | None = None
    """CPU threads of the decoder; none leaves PyTorch's choice"""
    device: str = "cpu"
    """cpu, cuda or cuda:N"""

    def __post_init__(self) -> None:
        for name, least in (
            ("rows", 1),
            ("queue", 0),
            ("max_tokens", 1),
            ("max_replies", 1),
            ("max_body", 1),
            ("connections", 1),
            ("prefix_tokens", 0),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 <= self.port < 65536:
            raise ConfigError(f"port is 0 (any free one) to 65535, got {self.port}")
        for name in ("timeout", "stall", "grace"):
            seconds = getattr(self, name)
            if not 0 <= seconds < math.inf or (name != "grace" and seconds == 0):
                raise ConfigError(f"{name} is a finite number of seconds above 0, got {seconds}")
        if self.cache_tokens is not None and self.cache_tokens < 1:
            raise ConfigError(f"cache_tokens must be at least 1, got {self.cache_tokens}")
        for name in ("rate", "token_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} is a finite number above 0 per minute, or none; got {value}")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads must be at least 1, got {self.threads}")
        if "*" in self.cors and (self.keys_file or self.keys_variable) is None:
            raise ConfigError("cors '*' opens a server without keys to every web page; name origins, or set keys")
