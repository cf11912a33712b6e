"""A server whose versionId stays the same: what changes back is news, pushed or polled, and nothing is lost to a refusal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.codecs.fhir_types import Systems
from hub.domain.ports import Received, Verdict
from hub.domain.rows import MarkRow
from hub.mapping.fhir_keys import Names
from hub.sync.polled import PolledFeed
from tests.fhir_kit import FhirKit, make_fhir_kit, transaction
from tests.hub_kit import Kit, make_kit

REFUSES = 'on_reuse = "refuse"'
IDS = "SELECT control_id FROM message WHERE channel = ? ORDER BY id"


def patient(phone: str, version: str = "1", at: str = "") -> dict[str, Any]:
    meta = {"versionId": version} | ({"lastUpdated": at} if at else {})
    number = {"system": "urn:oid:1.2.410.1", "value": "00012345"}
    telecom = [{"system": "phone", "value": phone, "use": "mobile"}]
    return {"resourceType": "Patient", "id": "p1", "meta": meta, "identifier": [number], "telecom": telecom}


A, B = "010-1111-2222", "010-9999-0000"


@pytest.fixture(params=["", REFUSES], ids=["alert", "refuse"])
def fhir(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FhirKit]:
    made = make_fhir_kit(tmp_path, more=request.param)
    yield made
    made.kit.close()


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    made = make_kit(tmp_path, "sqlite:///hub.db")
    yield made
    made.close()


def test_a_version_that_says_something_else_is_counted(fhir: FhirKit) -> None:
    fhir.tell(patient(A), patient(B), patient(A))
    assert fhir.put(patient(A)).json()["issue"][0]["diagnostics"] == "known already"
    assert [outcome for _, outcome, _ in fhir.outcomes()] == ["applied"] * 3
    assert fhir.of("Patient", "p1")["telecom"][0]["value"] == "+821011112222"
    assert fhir.kit.rows("SELECT kind FROM alert") == []
    assert fhir.kit.rows(IDS, "emr-fhir") == [("Patient/p1/1",), ("Patient/p1/1.2",), ("Patient/p1/1.3",)]


def test_an_old_version_that_is_told_again_is_known(fhir: FhirKit) -> None:
    """Whatever came between, so that a sender that repeats what it sent is answered as it was."""
    fhir.tell(patient(A, "1"), patient(B, "2"))
    for version, phone in (("1", A), ("2", B), ("2", B)):
        assert fhir.put(patient(phone, version)).json()["issue"][0]["diagnostics"] == "known already"
    assert len(fhir.outcomes()) == 2


def test_several_versions_in_one_bundle(tmp_path: Path, database_url: str) -> None:
    """One commit, one mark in the end."""
    fhir = make_fhir_kit(tmp_path, database_url)
    told = [patient(A), patient(B), patient(A), patient(A), patient(B, "2")]
    assert fhir.send(transaction(*told, kind="history", method="PUT")).status_code == 200
    ids = [str(one) for (one,) in fhir.kit.rows(IDS, "emr-fhir")]
    assert ids == ["Patient/p1/1", "Patient/p1/1.2", "Patient/p1/1.3", "Patient/p1/2"]
    assert fhir.put(patient(B, "2")).json()["issue"][0]["diagnostics"] == "known already"
    fhir.kit.close()


def test_deleted_twice_is_told_twice(fhir: FhirKit) -> None:
    """A deletion by DELETE has no version: what stood between makes the second one news."""
    for version in ("1", "3"):
        fhir.tell(patient(A, version))
        assert fhir.send(b"", "/Patient/p1", "DELETE").status_code == 204
        assert fhir.send(b"", "/Patient/p1", "DELETE").status_code == 204
    assert [kind for kind, _, _ in fhir.outcomes()] == ["Patient", "Patient.deleted"] * 2


def test_polled_what_changes_back_is_news(kit: Kit) -> None:
    names = Names("HOSP", "emr", Systems({"HOSP": "urn:oid:1.2.410.1"}))
    feed = PolledFeed("emr-in", kit.hub.store, kit.hub.keys, kit.intake, lambda event, row: None, names=names)
    for hour, phone in enumerate((A, B, A)):
        assert feed.documents([patient(phone, at=f"2026-11-22T0{hour}:00:00Z")]) == [True]
        assert feed.documents([patient(phone, at=f"2026-11-22T0{hour}:30:00Z")]) == [False]
    assert kit.rows(IDS, "emr-in") == [("Patient/p1/1.1",), ("Patient/p1/1.2",), ("Patient/p1/1.3",)]
    assert kit.rows("SELECT kind FROM alert") == []


def test_what_is_refused_for_its_control_id_leaves_no_mark(tmp_path: Path) -> None:
    """Or its sender would tell it again and hear that it is known. A place is another thing: a file is behind us either way."""
    fhir = make_fhir_kit(tmp_path, more=REFUSES)
    kit = fhir.kit

    def tell(body: bytes, mark: MarkRow) -> Verdict:
        one = Received("emr-fhir", body, "emr", "Patient/p1/1", "Patient", None, answer_owed=False, mark=mark)
        (receipt,) = kit.intake.store([one])
        return receipt.verdict

    def held() -> list[tuple[Any, ...]]:
        return [(bytes(value), n) for value, n in kit.rows("SELECT value, n FROM mark WHERE channel = 'emr-fhir' ORDER BY key")]

    count, place = b"k" * 16, b"place:x"
    assert tell(b"A", MarkRow("emr-fhir", count, b"A", 1, None, 1)) is Verdict.STORED
    assert tell(b"B", MarkRow("emr-fhir", count, b"B", 2, None, 2)) is Verdict.NEVER
    assert held() == [(b"A", 1)]
    assert tell(b"A", MarkRow("emr-fhir", count, b"C", 2, None, 3)) is Verdict.STORED
    assert held() == [(b"C", 2)]
    assert tell(b"D", MarkRow("emr-fhir", place, b"there", 0, None, 4)) is Verdict.NEVER
    assert held() == [(b"C", 2), (b"there", 0)]
    kit.close()
