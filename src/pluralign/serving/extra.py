"""The extra `serve`: what it takes to listen."""

from __future__ import annotations

from importlib.util import find_spec

from pluralign.errors import MissingExtraError

LIBRARIES = ("fastapi", "uvicorn", "prometheus_client")


def need_extra() -> None:
    """MissingExtraError with the install line where a library of the extra is not there."""
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise MissingExtraError(f"serving needs {', '.join(missing)}; pip install 'pluralign[serve]'")
