"""API keys and rates: what is kept, what is refused, how buckets fill."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from pluralign.errors import ConfigError, DataError
from pluralign.serving.keys import add_key, hashed, read_keys
from pluralign.serving.limits import Bucket, Limits
from pluralign.serving.refusals import RateLimited

SECRET = "a-key-of-more-than-twenty-characters"


def test_a_made_key_is_known_by_its_hash_only(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    first, second = add_key(path, "ada"), add_key(path, "bob")
    text = path.read_text()
    assert first not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keys = read_keys(path, None)
    assert len(keys) == 2
    assert [keys.name_of(key) for key in (first, second, first[:-1], "", "é")] == ["ada", "bob", None, None, None]
    with pytest.raises(ConfigError, match="already"):
        add_key(path, "ada")
    with pytest.raises(ConfigError, match="letters"):
        add_key(path, "no blanks")


def test_sha256_of_abc() -> None:
    assert hashed("abc") == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_keys_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEYS", f"ada:{SECRET}  bob:{hashed('other')}")
    keys = read_keys(None, "OUR_KEYS")
    assert [keys.name_of(SECRET), keys.name_of("other"), keys.name_of(hashed("other"))] == ["ada", "bob", None]


@pytest.mark.parametrize(
    ("value", "reason"),
    [("", "is empty"), ("ada", "not NAME:KEY"), ("ada:short", "20 characters"), (f"a:{SECRET} a:{SECRET}x", "twice")],
)
def test_what_the_environment_may_not_hold(value: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEYS", value)
    with pytest.raises(ConfigError, match=reason) as refused:
        read_keys(None, "OUR_KEYS")
    assert SECRET not in str(refused.value)


def test_a_file_with_a_plain_key_is_refused_without_showing_it(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# ours\nada {hashed('x')}\nbob {SECRET}\n")
    with pytest.raises(DataError, match="hashes only") as refused:
        read_keys(path, None)
    assert (refused.value.line, SECRET in str(refused.value)) == (3, False)
    path.write_text("# nobody\n")
    with pytest.raises(ConfigError, match="nobody could ask"):
        read_keys(path, None)
    with pytest.raises(ConfigError, match="cannot read"):
        read_keys(tmp_path / "none", None)


def test_a_bucket_holds_a_minute_and_fills_steadily() -> None:
    bucket = Bucket(per_minute=1200)  # 20 a second
    assert bucket.lacks(1200) == 0
    bucket.level -= 1200
    lacks = bucket.lacks(4)  # 4 tokens at 20 a second
    assert 0.1 < lacks <= 0.2
    time.sleep(lacks)
    assert bucket.lacks(4) == 0


def test_requests_and_tokens_have_rates_of_their_own() -> None:
    limits = Limits(requests=2, tokens=60)
    for _ in range(2):
        limits.admit("ada")
    with pytest.raises(RateLimited, match="2 requests per minute") as refused:
        limits.admit("ada")
    assert refused.value.retry_after in (29, 30)  # one request every 30 seconds
    limits.admit("bob")  # has a bucket of his own
    limits.submitted("m", "bob", 40)
    limits.drawn("m", "bob", 50, [])  # 30 more than he had, and 1 to ask again: 31 seconds
    with pytest.raises(RateLimited, match="60 tokens per minute") as refused:
        limits.admit("bob")
    assert refused.value.retry_after in (30, 31)


def test_without_rates_nothing_is_refused() -> None:
    limits = Limits(None, None)
    limits.submitted("m", "ada", 10**9)
    for _ in range(1000):
        limits.admit("ada")
