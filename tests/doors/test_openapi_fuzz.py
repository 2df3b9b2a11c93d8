"""The API's own description against the server behind it: made-up requests, and what must never come of them."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, CheckContext, Response
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.conftest import ADMIN_PASSWORD, Server
from tests.doors.rest import client_of, publish, register, sign_in

# They ask others, who do not answer here.
_ASK_UPSTREAM = frozenset({"POST /package/ingest", "POST /package/license-check"})


def no_error_of_its_own(context: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """Nothing of the 5xx kind, but a 503 where an upstream is away."""
    if response.status_code == 503 and case.operation.label in _ASK_UPSTREAM:
        return None
    return not_a_server_error(context, response, case)


_CHECKS = [
    no_error_of_its_own,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
_QUIET: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.explicit, Phase.generate],
    "database": None,
}


def fuzz(server: Server, examples: int, **changed: Any) -> list[str]:
    """What was found wrong with each operation."""
    described = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    # Without the one that would end the session of the test itself.
    schema = described.exclude(path="/authenticate", method="DELETE")
    found = []
    token = sign_in(server, "admin", ADMIN_PASSWORD)
    real = _real_ids(server, token)
    results = list(schema.get_all_operations())
    operations = [result.ok() for result in results if isinstance(result, Ok)]
    assert len(operations) == len(results)
    # Deletes come last, so that the others have something to ask for.
    for operation in sorted(operations, key=lambda operation: operation.method == "delete"):

        @settings(max_examples=examples, **(_QUIET | changed))
        @given(case=operation.as_strategy(), is_real=st.booleans())
        def ask(case: Case[Any], is_real: bool) -> None:
            if is_real:
                case.path_parameters.update({name: real[name] for name in case.path_parameters if name in real})
            case.call_and_validate(headers={"X-Authorization": token}, checks=_CHECKS)

        try:
            ask()
        except (FailureGroup, Failure) as failure:
            found.append(f"{operation.label}: {failure!r}")
    return found


def _real_ids(server: Server, token: str) -> dict[str, str]:
    someone = register(server, "search", admin_token=token)
    with someone.client as client, client_of(server, token) as admin:
        token_id = client.get(f"/user/{someone.user_id}/tokens").json()["tokens"][0]["token_id"]
        return {"package_id": publish(admin), "user_id": someone.user_id, "token_id": token_id, "kind": "invalid"}


def test_no_request_breaks_the_server_or_its_description(expendable: Server) -> None:
    found = fuzz(expendable, 10, derandomize=True)
    assert not found, "\n\n".join(found)


@pytest.mark.long
def test_no_request_breaks_the_server_in_a_long_run(expendable: Server) -> None:
    found = fuzz(expendable, 150)
    assert not found, "\n\n".join(found)


@pytest.mark.long
def test_no_sequence_of_requests_breaks_the_server(expendable: Server) -> None:
    """What one request answers with, the next ones ask for: made, changed, deleted, asked for again."""
    described = schemathesis.openapi.from_url(f"{expendable.url}/openapi.json")
    # Without those that would end the session of the test itself.
    schema = described.exclude(path="/authenticate", method="DELETE").exclude(path="/reset", method="DELETE")
    token = sign_in(expendable, "admin", ADMIN_PASSWORD)

    class Workflow(schema.as_state_machine()):  # type: ignore[misc]  # made while it runs
        def get_call_kwargs(self, case: Case[Any]) -> dict[str, Any]:
            return {"headers": {"X-Authorization": token}}

        def validate_response(self, response: Response, case: Case[Any], **_: Any) -> None:
            # What no operation takes, as a path with a control character, is refused before there is one to describe it.
            case.validate_response(response, checks=[no_error_of_its_own, response_schema_conformance])

    Workflow.run(settings=settings(max_examples=40, stateful_step_count=12, **_QUIET))
