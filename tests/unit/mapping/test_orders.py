"""Orders, results and medication: what their maps make, how results find their order and visit, and what they leave out."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.domain.facts import Fact, Key
from hub.mapping import load_maps
from tests.unit_kit import CONTEXT, MAPS, PID, PV1, made, message


def test_an_order_with_its_numbers_status_doctor_and_visit() -> None:
    [order] = made(
        "ORM^O01", PID, PV1, "ORC|NW|P100|F100||||||20261122090000+0900|||D001^똠방각하",
        "OBR|1|P100|F100|L001^혈당^LOCAL|S|20261123||||||||||D001^똠방각하",
    )["ServiceRequest"]  # fmt: skip
    assert order.key == Key("HOSP:placer", "P100")
    assert order.other_keys == (Key("HOSP", "F100"),)
    assert order.patient == Key("HOSP", "00012345")
    assert order.values["status"] == "active"
    assert order.values["code"] == {"code": "L001", "display": "혈당", "system": "LOCAL"}
    assert order.values["priority"] == "stat"
    assert order.values["occurrence"] == "2026-11-23"
    assert order.values["encounter"] == {"identifier": {"assigner": "HOSP", "value": "V1"}}
    assert [p["role"] for p in order.values["participant"]] == ["requester"]
    assert order.paths["encounter"] == "PV1-19"


@pytest.mark.parametrize(
    ("orc", "status"),
    [
        ("NW|P1", "active"),
        ("NW|P1|||CM", "completed"),
        ("CA|P1|||IP", "revoked"),
        ("HD|P1", "on-hold"),
        ("SC|P1|||DC", "revoked"),
    ],
)
def test_what_is_taken_back_is_so_whatever_else_is_said(orc: str, status: str) -> None:
    [order] = made("ORM^O01", PID, f"ORC|{orc}", "OBR|1|P1||L1")["ServiceRequest"]
    assert order.values["status"] == status


def test_each_order_has_its_own_segments() -> None:
    orders = made("OML^O21", PID, "ORC|NW|P1", "OBR|1|P1||A", "OBR|2|P2||B", "ORC|CA|P3", "OBR|3|P3||C")["ServiceRequest"]
    assert [(o.key.value, o.values["code"]["code"], o.values.get("status")) for o in orders] == [
        ("P1", "A", "active"), ("P2", "B", None), ("P3", "C", "revoked"),
    ]  # fmt: skip


def test_a_drug_is_medication_and_no_service() -> None:
    found = made("ORM^O01", PID, "ORC|NW|P1", "RXO|D7^아스피린|100||mg", "ORC|NW|P2", "OBR|1|P2||A")
    [drug], [order] = found["MedicationRequest"], found["ServiceRequest"]
    assert (drug.key.value, order.key.value) == ("P1", "P2")
    assert drug.values | {"code": None} == drug.values | {"status": "active", "dose": "100", "unit": "mg", "code": None}


def test_dispensing_is_told_of_the_prescription() -> None:
    [drug] = made("RDS^O13", PID, "ORC|RE|P1", "RXE||D7^아스피린|100||mg", "RXD|1|D7|20261122|10")["MedicationRequest"]
    assert (drug.key.value, drug.values["dispensed"], drug.values["dispensedAt"]) == ("P1", "10", "2026-11-22")


RESULT = (
    PID, "OBX|1|ST|HEIGHT||170", PV1,
    "ORC|RE|P1|F1", "OBR|1|P1|F1|CBC|||20261122|||||||||D001||||||20261122100000||LAB|F",
    "OBX|1|NM|WBC||7.1|10*3/uL|4-10|N|||F", "OBX|2|NM|HGB||19.9|g/dL|13-17|HH|||F",
    "OBR|2|P2|F1|CRP|||20261122||||||||||||||||||P", "OBX|1|NM|CRP|1|3||<5|H|||P",
)  # fmt: skip


def test_a_result_names_its_order_and_visit_and_its_values_name_it() -> None:
    found = made("ORU^R01", *RESULT)
    first, second = found["DiagnosticReport"]
    assert (first.key.value, second.key.value) == ("F1/CBC", "F1/CRP")  # one sample, one filler number
    assert (first.values["status"], second.values["status"]) == ("final", "preliminary")
    assert first.values["basedOn"] == {"identifier": {"assigner": "HOSP:placer", "value": "P1"}}
    assert second.values["basedOn"]["identifier"]["value"] == "P2"
    assert first.values["encounter"]["identifier"]["value"] == "V1"
    values = found["Observation"]
    assert [o.key.value for o in values] == ["F1/CBC/WBC", "F1/CBC/HGB", "F1/CRP/CRP/1"]  # and not the patient's own OBX
    assert [o.values["report"]["identifier"]["value"] for o in values] == ["F1/CBC", "F1/CBC", "F1/CRP"]
    assert [o.values["interpretation"] for o in values] == [["N"], ["HH"], ["H"]]


def test_values_are_kept_only_where_the_site_says_so(tmp_path: Path) -> None:
    kept = {"value", "unit", "referenceRange"}
    assert not any(kept & fact.values.keys() for fact in made("ORU^R01", *RESULT)["Observation"])
    keeping = load_maps(result_values=True)
    assert keeping.version != MAPS.version
    first, *_ = made("ORU^R01", *RESULT, maps=keeping)["Observation"]
    assert {name: first.values[name] for name in kept} == {"value": "7.1", "unit": "10*3/uL", "referenceRange": "4-10"}
    obx = ["OBX|1|CE|A||POS^양성^L|||||||F", "OBX|2|SN|B||>^5|||||||F", "OBX|3|ED|C||^PDF^^Base64^JVBER|||||||F"]
    more = made("ORU^R01", PID, "OBR|1||F9|X", *obx, maps=keeping)["Observation"]
    assert [fact.values.get("value") for fact in more] == ["양성", ">5", None]


def test_no_overlay_keeps_values_by_mistake(tmp_path: Path) -> None:
    """Rows of a table, and a rule for HL7 that somebody copied."""
    (tmp_path / "lab.toml").write_text(
        'source = "row"\n[block.value]\nkind = "Observation"\nkey = "NO"\npatient = "PANO"\n[block.value.fields]\n'
        '"RESULT" = { to = "value" }\n"FLAG" = { to = "interpretation", each = true }\n[event.LAB]\nblocks = ["value"]\n'
    )
    (tmp_path / "old.toml").write_text('source = "hl7v2"\n[block.observation.fields]\n"OBX-5.1" = { to = "value" }\n')
    row = {"NO": "7", "PANO": "1", "RESULT": "7.1", "FLAG": "N"}
    for result_values in (False, True):
        maps = load_maps([tmp_path], result_values=result_values)
        [fact] = maps.map_row("LAB", row, CONTEXT).facts
        assert isinstance(fact, Fact)
        assert ("value" in fact.values, fact.values["interpretation"]) == (result_values, ["N"])
        assert ("value" in made("ORU^R01", *RESULT, maps=maps)["Observation"][0].values) == result_values


def test_a_result_without_a_number_is_known_by_patient_test_and_time() -> None:
    [report] = made("ORU^R01", PID, "OBR|1|||CBC|||202611220800")["DiagnosticReport"]
    assert report.key.value == "00012345/CBC/202611220800"


def test_what_nothing_can_be_filed_under_is_left_out_with_a_warning() -> None:
    mapped = MAPS.map(message("ORU^R01", PID, "OBR|1|||CBC", "OBX|1|NM|WBC||7"), CONTEXT)
    assert "OBR-3: no number, so no DiagnosticReport" in mapped.warnings


def test_an_answer_changes_only_what_is_known_and_needs_no_patient() -> None:
    [order] = made("ORR^O02", "MSA|AA|1", "ORC|OC|P1|F1")["ServiceRequest"]
    assert (order.patient, order.create, order.values["status"]) == (None, False, "revoked")


def test_an_obr_behind_its_first_value_is_that_of_all_of_them() -> None:
    found = made("ORU^R01", PID, "ORC|RE|P1|F1", "OBX|1|NM|A||1", "OBR|1|P1|F1|CBC", "OBX|2|NM|B||2")
    assert [fact.key.value for fact in found["Observation"]] == ["F1/CBC/A", "F1/CBC/B"]


def test_results_by_specimen_find_the_order_that_stands_before_or_behind_their_values() -> None:
    found = made(
        "OUL^R22", PID, "OBX|1|NM|8867-4^심박수||60", "SPM|1|S1", "OBX|1|NM|VOL^검체량||3", "SAC|1|S1",
        "OBR|1|P1|F1|L1^혈당", "ORC|RE|P1|F1|||CM", "OBX|1|NM|GLU||123|||H|||F", "OBR|2|P2|F2|L2^요소",
        "OBX|1|NM|BUN||12|||N|||F",
        "SPM|2|S2", "OBX|1|NM|VOL^검체량||5", "OBR|3|P3|F3|L3", "ORC|RE|P3", "OBX|1|NM|CRP||1||||||F",
    )  # fmt: skip
    assert [r.key.value for r in found["DiagnosticReport"]] == ["F1/L1", "F2/L2", "F3/L3"]
    assert [o.values["code"]["code"] for o in found["Observation"]] == ["GLU", "BUN", "CRP"]
    assert [o.values["report"]["identifier"]["value"] for o in found["Observation"]] == ["F1/L1", "F2/L2", "F3/L3"]
    assert found["DiagnosticReport"][0].values["basedOn"]["identifier"]["value"] == "P1"


@pytest.mark.parametrize("event", ["OUL^R21", "OUL^R24", "ORU^R30"])
def test_a_result_of_other_families(event: str) -> None:
    found = made(event, PID, PV1, "OBR|1|P1|F1|L1", "OBX|1|NM|GLU||123|||H|||F")
    assert [r.key.value for r in found["DiagnosticReport"]] == ["F1/L1"]
    assert found["Observation"][0].values["interpretation"] == ["H"]


@pytest.mark.parametrize(("event", "segment", "code"), [
    ("OMD^O03", "ODS|D||PAN4^소아식", "PAN4"), ("OMB^O27", "BPO|1|PRBC^농축적혈구", "PRBC"), ("OML^O39", "OBR|1|P1||L1", "L1"),
])  # fmt: skip
def test_orders_of_other_families(event: str, segment: str, code: str) -> None:
    [order] = made(event, PID, PV1, "ORC|NW|P1", segment)["ServiceRequest"]
    assert (order.key.value, order.values["code"]["code"], order.values["status"]) == ("P1", code, "active")


def test_what_was_given_is_told_of_the_prescription() -> None:
    given = "RXA|0|1|20261122090000||D7^아스피린|100|mg|||N1^남궁민수"
    [fact] = made("RAS^O17", PID, PV1, "ORC|RE|P7", given, "RXA|0|2|20261122210000||D7|100|mg")["MedicationRequest"]
    assert (fact.key, fact.values["administered"]) == (Key("HOSP:placer", "P7"), "100")
    assert fact.values["administeredAt"] == "2026-11-22T09:00:00+09:00"
    assert fact.values["participant"][0]["identifier"]["value"] == "N1"
    [to_give] = made("RGV^O15", PID, "ORC|RE|P7", "RXG|1|||D7|100||mg")["MedicationRequest"]
    assert (to_give.values["dose"], to_give.values["code"]["code"]) == ("100", "D7")


def test_an_imaging_order_has_its_accession_number_its_study_and_where_it_is_scheduled() -> None:
    ipc = "IPC|A1^RIS|RP1^RIS|1.2.840.1|SPS1|MR^Magnetic resonance||MR01||MR01AE"
    [order] = made("OMI^O23", PID, "ORC|NW|P1", "TQ1|||||||20261122093000", "OBR|1|P1||X1^뇌 MRI", ipc)["ServiceRequest"]
    assert set(order.other_keys) == {("HOSP:accession", "A1"), ("DICOM", "1.2.840.1")}
    assert {name: order.values[name] for name in ("category", "modality", "station", "occurrence")} == {
        "category": "imaging", "modality": "MR", "station": "MR01AE", "occurrence": "2026-11-22T09:30:00+09:00",
    }  # fmt: skip
    assert (order.values["requestedProcedure"], order.values["scheduledStep"]) == ("RP1", "SPS1")
    assert [(one["type"], one["value"]) for one in order.values["identifier"]] == [
        ("PLAC", "P1"), ("ACSN", "A1"), ("UID", "1.2.840.1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("section", "found"), [("CT", {"A1"}), ("RAD", {"A1"}), ("NMR", {"A1"}), ("CH", set()), ("", set()), ("PT", set())]
)
def test_obr_18_is_an_accession_number_only_of_imaging(section: str, found: set[str]) -> None:
    [order] = made("ORM^O01", PID, "ORC|NW|P1", "OBR|1|P1||X1" + "|" * 14 + f"A1||||||{section}")["ServiceRequest"]
    assert {key.value for key in order.other_keys} == found
    assert (order.values.get("category") == "imaging") == bool(found)
    assert order.values.get("modality") == {"CT": "CT", "NMR": "MR"}.get(section)


def test_the_one_zds_of_a_message_is_that_of_all_its_orders() -> None:
    """RAD TF-2 4.4: one ORC and OBR for each scheduled step, and one ZDS behind them all."""
    steps = [segment for n in ("1", "2") for segment in (f"ORC|NW|P{n}", f"OBR|1|P{n}||X1" + "|" * 14 + "A1")]
    orders = made("ORM^O01", PID, *steps, "ZDS|1.2.840.1^HOSP^Application^DICOM")["ServiceRequest"]
    assert [order.key.value for order in orders] == ["P1", "P2"]
    assert all(set(order.other_keys) == {("HOSP:accession", "A1"), ("DICOM", "1.2.840.1")} for order in orders)
