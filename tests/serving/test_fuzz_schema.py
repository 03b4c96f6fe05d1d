"""Requests made from the server's own OpenAPI, right and wrong ones: never a 500, and every answer is as described."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from serving.served import Served
from serving.wire import is_well

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
OPERATIONS = [
    "POST /v1/chat/completions",
    "POST /v1/completions",
    "GET /v1/models",
    "GET /v1/models/{model}",
    "GET /healthz",
]
EXAMPLES = 12
STEERING = {"steering": {"weights": {"helpful": 0.5, "funny": 0.5}}}


def _let_in(case: Any, steering: dict[str, Any]) -> None:
    """Name a model that there is, and ask for little: such a request reaches the decoder."""
    if isinstance(case.body, dict):
        case.body |= {"model": "desk", "max_tokens": 3, **steering}
        case.body.pop("max_completion_tokens", None)
        if not steering:
            case.body.pop("steering", None)
    if "model" in (case.path_parameters or {}):
        case.path_parameters["model"] = "desk"


@pytest.fixture(scope="module")
def operations(server: Served) -> dict[str, Any]:
    schema = schemathesis.openapi.from_url(server.url + "/openapi.json")
    return {found.label: found for found in (result.ok() for result in schema.get_all_operations())}


def test_every_path_is_tried(operations: dict[str, Any]) -> None:
    assert set(OPERATIONS) <= set(operations) <= {*OPERATIONS, "GET /metrics"}


@pytest.mark.parametrize("label", OPERATIONS)
@pytest.mark.parametrize("mode", GenerationMode)
def test_answers_are_as_described(server: Served, operations: dict[str, Any], label: str, mode: GenerationMode) -> None:
    operation, seen = operations[label], set[int]()
    if mode is GenerationMode.NEGATIVE and not label.startswith("POST"):
        pytest.skip("a path without a body or parameters of a type has no wrong requests")

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode), known=st.sampled_from([None, {}, STEERING]))
    def run(case: Any, known: dict[str, Any] | None) -> None:
        if mode is GenerationMode.POSITIVE and known is not None:
            _let_in(case, known)
        checks = CHECKS if mode is GenerationMode.POSITIVE else [*CHECKS, negative_data_rejection]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            response = case.call_and_validate(checks=checks, timeout=30)
        seen.add(response.status_code)

    run()
    assert seen & ({200} if mode is GenerationMode.POSITIVE else {400, 404, 422}), seen
    is_well(server)
