"""Options and fixtures for every room's tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

import shapes

# Shapes written in annotations are checked at run time, here only; before anything of ours is imported.
install_import_hook(
    ["pluralign.steering.deltas", "pluralign.steering.head", "pluralign.steering.contract"], "shapes.checked"
)

settings.register_profile(
    "pluralign",
    max_examples=50,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("pluralign")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--real-data", default="../shared/data", metavar="DIR", help="folder of third-party data and models"
    )
    parser.addoption("--llama-server", default=None, metavar="FILE", help="llama.cpp's server, to run exported files")


@pytest.fixture(scope="session")
def real_data(request: pytest.FixtureRequest) -> Path:
    """The folder of third-party data, relative to the repository's root; skips the test where it is missing."""
    folder = (request.config.rootpath / request.config.getoption("--real-data")).resolve()
    if not folder.is_dir():
        pytest.skip("no folder of real data here; name it with --real-data DIR")
    return folder


@pytest.fixture(autouse=True)
def checked_shapes() -> None:
    """The first calls of each test are checked."""
    shapes.begin()


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    """A command sets the handlers of the whole process, and with --quiet silences us; the next test hears us again."""
    root, own = logging.getLogger(), logging.getLogger("pluralign")
    before = root.handlers[:], root.level, own.level
    yield
    root.handlers[:], root.level, own.level = before
