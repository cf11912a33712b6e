"""An order, its result and its bill through the whole hub: received, applied, told to the CRM, merged and moved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from hub.sync.apply import Ready
from tests.hub_kit import Kit, adt, hl7, make_kit, pid, pv1

ORDER = ("ORC|NW|P100||||||||||D1^이^의사", "OBR|1|P100||L001^혈당^LOCAL|R")
RESULT = (
    "ORC|RE|P100|F100",
    "OBR|1|P100|F100|L001^혈당^LOCAL|||20261122" + "|" * 18 + "F",
    "OBX|1|NM|GLU^혈당||123|mg/dL|70-99|H|||F",
)


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    made = make_kit(tmp_path, f"sqlite:///{tmp_path / 'hub.db'}")
    yield made
    made.close()


def one(kit: Kit, number: str, kind: str) -> tuple[str, dict[str, object]]:
    [(id_, data)] = kit.rows("SELECT id, data FROM resource WHERE kind = ? AND patient_id = ?", kind, kit.patient_id(number))
    return str(id_), orjson.loads(data)


def test_from_order_to_result(kit: Kit) -> None:
    kit.tell(
        adt("A04", "1", pv1("V1")), hl7("ORM^O01", pid("1"), pv1("V1"), *ORDER, at="20261122091000"),
        hl7("ORU^R01", pid("1"), pv1("V1"), *RESULT, at="20261122093000"),
    )  # fmt: skip
    visit, _ = one(kit, "1", "Encounter")
    order_id, order = one(kit, "1", "ServiceRequest")
    report_id, report = one(kit, "1", "DiagnosticReport")
    _, value = one(kit, "1", "Observation")
    assert order["encounter"]["reference"] == report["encounter"]["reference"] == f"Encounter/{visit}"  # type: ignore[index]
    assert report["basedOn"]["reference"] == f"ServiceRequest/{order_id}"  # type: ignore[index]
    assert value["report"]["reference"] == f"DiagnosticReport/{report_id}"  # type: ignore[index]
    assert (value["interpretation"], value.get("value")) == (["H"], None)
    assert kit.target().types()[-3:] == ["servicerequest.created", "diagnosticreport.created", "observation.created"]
    assert kit.rows("SELECT COUNT(*) FROM source_record WHERE kind = 'DiagnosticReport' AND system = 'ocs'") == [(1,)]


def test_the_same_result_again_is_no_news_and_a_correction_is(kit: Kit) -> None:
    def result(flag: str, status: str, at: str) -> bytes:
        values = RESULT[2].replace("|H|||F", f"|{flag}|||{status}")
        return hl7("ORU^R01", pid("1"), *RESULT[:2], values, at=f"202611220{at}00")

    kit.tell(result("H", "F", "900"), result("H", "F", "901"))
    assert kit.target().types().count("observation.created") == 1
    assert not [t for t in kit.target().types() if t.endswith("updated")]
    kit.tell(result("N", "C", "902"))
    assert kit.target().types()[-1] == "observation.updated"
    kit.tell(result("H", "F", "859"))  # late
    assert one(kit, "1", "Observation")[1]["interpretation"] == ["N"]


def test_they_go_with_their_patient_and_their_visit(kit: Kit) -> None:
    kit.tell(
        adt("A04", "1", pv1("V1")), hl7("ORU^R01", pid("1"), pv1("V1"), *RESULT, at="20261122093000"), adt("A04", "2", pv1("V2")),
        adt("A45", "2", "MRG|1^^^HOSP", pv1("V1"), at="20261122094000"),
    )  # fmt: skip
    assert {kind: len(kit.owned("2", kind)) for kind in ("Encounter", "DiagnosticReport", "Observation")} == {
        "Encounter": 2, "DiagnosticReport": 1, "Observation": 1,
    }  # fmt: skip
    kit.tell(adt("A40", "3", "MRG|2^^^HOSP", at="20261122095000"))
    assert len(kit.owned("3", "Observation")) == 1


def test_allergies_are_repeated_at_no_cost(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    mapped: list[int] = []
    unpack = Ready.unpack

    def noted(self: Ready) -> None:
        mapped.append(self.work.message_id)
        unpack(self)

    monkeypatch.setattr(Ready, "unpack", noted)
    for minute in range(3):
        kit.tell(adt("A08", "1", "AL1|1|FA|E1^계란", "AL1|2|DA|D1^페니실린", pv1(f"V{minute}"), at=f"2026112209{minute:02}00"))
    assert len(mapped) == 1
    assert {a["code"]["display"] for a in kit.owned("1", "AllergyIntolerance")} == {"계란", "페니실린"}
    kit.tell(adt("A60", "1", "AL1|1|FA|E1^계란", at="20261122090500"))
    assert [a["code"]["display"] for a in kit.owned("1", "AllergyIntolerance")] == ["계란"]
    assert kit.target().types()[-1] == "allergyintolerance.removed"


def test_master_files_have_no_patient_and_feed_the_doctor_that_visits_name(kit: Kit) -> None:
    kit.tell(
        adt("A04", "1", pv1("V1")),
        hl7("MFN^M02", "MFI|STF||UPD|||AL", "MFE|MUP|||D1", "STF|D1||이^의사|||||IM^내과", at="20261122091000"),
    )
    [(data,)] = kit.rows("SELECT data FROM resource WHERE kind = 'Practitioner'")
    assert orjson.loads(data)["department"] == "IM"


def test_an_answer_for_an_order_that_nobody_told_us_of_is_applied_and_makes_none(kit: Kit) -> None:
    kit.tell(hl7("ORR^O02", "MSA|AA|1", "ORC|OK|P9|F9"))
    assert kit.rows("SELECT COUNT(*) FROM resource") == [(0,)]
    assert kit.rows("SELECT outcome, reason FROM outcome") == [("applied", "unknown_servicerequest")]
