"""Bad input: always a problem document that says what and where, never a 500, never what was sent."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.testclient import TestClient

from hub.web.errors import ProblemError, problem_of
from hub.web.params import merge_patch, read_cursor, read_time, write_cursor
from tests import web_kit
from tests.web_kit import HONG

As = Callable[[str], TestClient]
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("body", [b"{", b"{'a': 1}", b"\xff\xfe", b"nul", b"[1,", b'{"name": "\xed"}'])
def test_what_is_no_json(as_role: As, body: bytes) -> None:
    answer = as_role("crm").post("/api/v1/patients", content=body, headers=JSON)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_where_json_breaks(as_role: As) -> None:
    problem = as_role("crm").post("/api/v1/patients", content=b'{"name": [}', headers=JSON).json()
    assert problem["errors"] == [{"in": "body", "pointer": "#", "detail": "this is not JSON: Expecting value at character 10"}]


def test_deep_nesting_is_no_crash(as_role: As) -> None:
    answer = as_role("crm").post("/api/v1/patients", content=b"[" * 100_000, headers=JSON)
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded", ""])
def test_other_media_types(as_role: As, kind: str) -> None:
    answer = as_role("crm").post("/api/v1/patients", content=b"name=x", headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


def test_404_and_405_are_problems(as_role: As) -> None:
    missing = as_role("crm").get("/api/v1/nothing")
    assert (missing.status_code, missing.json()["code"], missing.headers["content-type"]) == (
        404,
        "not_found",
        "application/problem+json",
    )
    wrong = as_role("crm").put("/api/v1/patients")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"]


GARBAGE = (
    "x",
    "%%%",
    "bm9wZQ",
    write_cursor("messages", 1),
    write_cursor("patients", 5),
    write_cursor("patients", "a", 1),
    "A" * 400,
    "é",
)


@pytest.mark.parametrize("cursor", GARBAGE)
def test_garbage_as_cursor(as_role: As, cursor: str) -> None:
    for path, name in (("/api/v1/patients?name=x", "cursor"), ("/api/v1/changes", "after"), ("/api/v1/snapshot", "cursor"),
                       (f"/api/v1/patients/{HONG}/timeline", "cursor"), ("/api/v1/audit/entries", "cursor")):  # fmt: skip
        answer = as_role("admin").get(path, params={name: cursor} if "?" not in path else {"name": "x", name: cursor})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor"), path


@pytest.mark.parametrize("limit", ["0", "-1", "501", "x", "1.5"])
def test_limits(as_role: As, limit: str) -> None:
    problem = as_role("crm").get("/api/v1/changes", params={"limit": limit})
    assert problem.status_code == 422
    assert problem.json()["errors"][0] | {"detail": ""} == {"in": "query", "pointer": "#/limit", "detail": ""}


def test_an_unforeseen_error_says_nothing_of_itself(engine: object) -> None:
    hub = web_kit.make_hub(engine)  # type: ignore[arg-type]
    hub.channels = lambda: 1 / 0  # type: ignore[assignment,return-value]
    answer = web_kit.api(hub, web_kit.token_for(hub, "admin")).get("/api/v1/channels")
    assert answer.status_code == 500
    assert answer.json()["detail"] == "an error that nobody foresaw; it stands in the log"


@given(st.one_of(st.text(max_size=50), st.binary(max_size=40).map(lambda raw: raw.decode("latin-1"))))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_cursor_or_a_400(text: str) -> None:
    try:
        read_cursor("list", text, (int, str))
    except ProblemError as problem:
        assert problem.status == 400  # noqa: PT017 - the raise itself is not what is tested


@pytest.mark.parametrize("number", ["-1", "9" * 30, "1e3", "x"])
def test_numbers_of_rows(as_role: As, number: str) -> None:
    for method, path in (
        ("GET", "messages/{}"),
        ("POST", "messages/{}/replay"),
        ("GET", "changes/{}"),
        ("GET", "changes/{}/deliveries"),
    ):
        answer = as_role("admin").request(method, "/api/v1/" + path.format(number), json={"reason": "because"})
        assert answer.status_code == 422, (method, path)


@given(st.integers(0, 2**62), st.text(max_size=40))
def test_a_cursor_reads_back(number: int, text: str) -> None:
    assert read_cursor("list", write_cursor("list", number, text), (int, str)) == (number, text)


@pytest.mark.parametrize(
    ("target", "patch", "wanted"),
    [  # the examples of RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}), ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}), ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}), ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}), ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]), ({"a": "b"}, ["c"], ["c"]), ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}), ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)  # fmt: skip
def test_merge_patch(target: object, patch: object, wanted: object) -> None:
    assert merge_patch(target, patch) == wanted


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("", None),
        ("1970-01-01", 0),
        ("1970-01-01T09:00:00+09:00", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1970-01-01T09:00:00 09:00", 0),
    ],
)
def test_times(text: str, us: int | None) -> None:
    assert read_time("since", text) == us


@pytest.mark.parametrize(
    ("method", "path", "sent", "status", "where"),
    [
        ("GET", "/patients", {}, 422, ["query#/identifier", "query#/name", "query#/phone", "query#/birthDate"]),
        ("POST", "/patients/search", {}, 422, ["body#/identifier", "body#/name", "body#/phone", "body#/birthDate"]),
        ("GET", "/patients", {"name": "홍", "cursor": "x"}, 400, ["query#/cursor"]),
        ("POST", "/patients/search", {"name": "홍", "cursor": "x"}, 400, ["body#/cursor"]),
        ("GET", "/changes", {"after": "x"}, 400, ["query#/after"]),
        ("GET", "/snapshot", {"cursor": "x"}, 400, ["query#/cursor"]),
        ("GET", "/messages", {"state": "x"}, 422, ["query#/state"]),
        ("POST", "/messages/search", {"state": "x"}, 422, ["body#/state"]),
        ("POST", "/messages/search", {"since": "x"}, 422, ["body#/since"]),
        ("GET", "/audit/entries", {"until": "x"}, 422, ["query#/until"]),
    ],
)
def test_errors_point_to_where_the_value_stood(
    as_role: As, method: str, path: str, sent: dict[str, str], status: int, where: list[str]
) -> None:
    answer = as_role("admin").request(method, f"/api/v1{path}", **{"params" if method == "GET" else "json": sent})
    assert answer.status_code == status
    assert [one["in"] + one["pointer"] for one in answer.json()["errors"]] == where


@pytest.mark.parametrize("start", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1899-12-31T00:00:00+09:00"])
def test_years_far_off_are_refused(as_role: As, start: str) -> None:
    answer = as_role("crm").post(f"/api/v1/patients/{HONG}/appointments", json={"start": start})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "#/start")
    for birth in ("0001-01-01", "2201", "1066-10"):
        assert as_role("crm").post("/api/v1/patients", json={"name": [{"text": "x"}], "birthDate": birth}).status_code == 422


def test_a_pool_without_a_free_connection_is_busy() -> None:
    problem = problem_of(PoolTimeout("QueuePool limit of size 1"))
    assert (problem.status, problem.code, problem.headers["Retry-After"]) == (503, "busy", "2")
    assert "QueuePool" not in problem.detail
