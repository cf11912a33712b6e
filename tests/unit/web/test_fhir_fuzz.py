"""Whatever somebody writes into a search: an answer in FHIR, never an error that nobody foresaw."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from hub.codecs.fhir_resource import check
from hub.web.fhir.parameters import INCLUDES, PARAMETERS
from hub.web.params import write_cursor
from tests.web_kit import HONG

NAMES = [
    *sorted({name for known in PARAMETERS.values() for name in known}),
    *("_count", "_sort", "_include", "_revinclude", "_cursor", "_format", "patient.identifier", "patient:Patient", "name:exact"),
]
WORDS = [
    *(
        "홍길동",
        "뷁",
        "HOSP|00012345",
        HONG,
        f"Patient/{HONG}",
        "http://x/Patient/1",
        "010-1234-5678",
        "1980",
        "ge2026-11-22",
        "lt0001",
    ),
    *(
        "2026-11-22T09:00:00.5+09:00",
        "9999",
        "9999-12-31",
        "0000",
        "-date",
        "_lastUpdated",
        "json",
        "*",
        "a|b|c",
        "\\|",
        "\\",
        ",",
    ),
    *("|", "true", "booked,noshow", "1", "0", "999999999999", "\x00", "٣", "ap2026", "ge"),
]
INCLUDED = [f"{kind}:{name}" for kind in INCLUDES for name in INCLUDES[kind]]
PLACES = [(-1, ""), (2**63 - 1, "x"), (0, HONG), (2**40, "9" * 30)]
CURSORS = [write_cursor(f"fhir.{kind}", at, where) for kind in PARAMETERS for at, where in PLACES]
VALUES = st.one_of(*(st.sampled_from(some) for some in (WORDS, INCLUDED, CURSORS)), st.text(max_size=20))


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(sorted(PARAMETERS)),
    asked=st.lists(st.tuples(st.one_of(st.sampled_from(NAMES), st.text(max_size=8)), VALUES), max_size=4),
    strict=st.booleans(),
)
def test_any_search_is_answered(
    as_role: Callable[[str], TestClient], kind: str, asked: list[tuple[str, str]], strict: bool
) -> None:
    asked = [(name.encode(errors="ignore").decode(), value.encode(errors="ignore").decode()) for name, value in asked]
    prefer = {"Prefer": "handling=strict"} if strict else {}
    answer = as_role("crm").get(f"/fhir/R4/{kind}", params=asked, headers=prefer)
    assert answer.status_code in (200, 400, 406, 422), answer.text
    check(answer.json())
    assert answer.json()["resourceType"] == ("Bundle" if answer.status_code == 200 else "OperationOutcome")


def test_a_list_that_is_too_long_is_refused(as_role: Callable[[str], TestClient]) -> None:
    assert as_role("crm").post("/fhir/R4/Patient/_search", data={"_id": ",".join(["x"] * 500)}).status_code == 400
