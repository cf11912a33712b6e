"""Allergies, diagnoses, procedures, documents, referrals, bills and master files: what their maps make."""

from __future__ import annotations

from typing import Any

import pytest

from hub.domain.facts import Fact, Key, Snapshot
from hub.mapping import load_maps
from tests.unit_kit import CONTEXT, PID, PV1, made, message

MAPS = load_maps()


def lists(event: str, *segments: str) -> list[Snapshot]:
    return [fact for fact in MAPS.map(message(event, *segments), CONTEXT).facts if isinstance(fact, Snapshot)]


FAMILIES = [
    "ORM^O01", "OMG^O19", "OML^O21", "OML^O33", "OML^O35", "OMI^O23", "ORR^O02", "ORG^O20", "ORL^O22", "ORL^O34", "ORL^O36",
    "ORI^O24", "ORU^R01", "OMP^O09", "RDE^O11", "RDE^O25", "RDS^O13", "RRE^O12", "RRD^O14", "DFT^P03", "DFT^P11",
    *(f"BAR^P{n}" for n in ("01", "02", "05", "06", "10", "12")), *(f"MDM^T{n:02d}" for n in range(1, 12)),
    *(f"MFN^M{n}" for n in ("02", "03", "04", "05", "08", "09", "10", "11", "12")),
    *(f"{family}^I{n}" for n in range(12, 16) for family in ("REF", "RRI")), *(f"OUL^R{n}" for n in range(21, 25)),
    *(f"ORU^R{n}" for n in range(30, 33)), "OML^O39", "OMD^O03", "OMB^O27", "ORL^O40", "ORD^O04", "ORB^O28", "RGV^O15", "RAS^O17",
    "RRG^O16", "RRA^O18", "ORP^O10", "RRE^O26", *(f"{family}^O01" for family in ("RDE", "RDS", "RGV", "RAS")),
    *(f"{family}^O02" for family in ("RRE", "RRD", "RRG", "RRA")), "EHC^E01", "EHC^E02",
]  # fmt: skip


def test_every_family_has_its_map() -> None:
    assert [event for event in FAMILIES if not MAPS.handles(event)] == []


@pytest.mark.parametrize("event", ["ADT^A08", "ADT^A60", "ORM^O01", "BAR^P01"])
def test_allergies_are_the_patients_list(event: str) -> None:
    [found] = lists(event, PID, PV1, "AL1|1|FA|E1^계란|SV|두드러기~부종|20200101", "AL1|2|DA|D1^페니실린|MO", "ORC|NW|P1")
    assert (found.kind, found.patient, found.group) == ("AllergyIntolerance", Key("HOSP", "00012345"), "al1")
    assert found.items[0] == {
        "code": {"code": "E1", "display": "계란"}, "category": "food", "criticality": "high", "reaction": ["두드러기", "부종"],
        "onset": "2020-01-01",
    }  # fmt: skip


def test_allergies_hang_on_nothing_but_the_patient() -> None:
    """So a repetition of them costs nothing (ADR 0064)."""
    mapped = MAPS.map(message("ADT^A08", PID, PV1, "AL1|1|FA|E1^계란"), CONTEXT, apart=True)
    assert mapped.part is not None
    assert not [fact for fact in mapped.facts if isinstance(fact, Snapshot)]
    assert [fact.group for fact in mapped.part.facts() if isinstance(fact, Snapshot)] == ["al1"]
    other = MAPS.map(message("ADT^A08", PID, PV1, "AL1|1|FA|E2^우유"), CONTEXT, apart=True)
    assert other.part is not None
    assert other.part.digest != mapped.part.digest


def test_a_diagnosis_is_of_its_visit_and_what_he_came_with_is_its_reason() -> None:
    found = made(
        "ADT^A03",
        PID,
        PV1,
        "DG1|1||J00^감기^KCD|||A",
        "DG1|2||E11^당뇨^KCD||20261122|F|||||||||1",
        "DG1|3||I10|||F" + "|" * 15 + "D",
    )
    assert [(f.key.value, f.values.get("status")) for f in found["Condition"]] == [
        ("V1/E11", None),
        ("V1/I10", "entered-in-error"),
    ]
    assert found["Condition"][0].values["rank"] == 1
    assert found["Condition"][0].values["encounter"] == {"identifier": {"assigner": "HOSP", "value": "V1"}}
    assert [r["code"] for r in found["Encounter"][0].values["reason"]] == ["J00", "E11", "I10"]


def test_a_procedure() -> None:
    [fact] = made("ADT^A08", PID, PV1, "PR1|1||47.0^충수절제^ICD9||20261121||||||D001^남궁민수")["Procedure"]
    assert (fact.key.value, fact.values["performed"], fact.values["status"]) == ("V1/47.0/20261121", "2026-11-21", "completed")
    assert fact.values["participant"][0]["role"] == "performer"


def test_charges_and_payments() -> None:
    found = made(
        "DFT^P03", PID + "|" * 10 + "A77", PV1,
        "FT1|1|T1||20261122090000||CG|AA157^진찰료||| 1|16970&KRW|16970" + "|" * 13 + "M0111^피부봉합^EDI",
        "FT1|2|T2||20261122100000||PY|CARD^카드||||5000",
    )  # fmt: skip
    [charge], [payment] = found["ChargeItem"], found["Payment"]
    assert charge.key == Key("HOSP", "T1/00012345")
    assert charge.values["amount"] == {"value": "16970", "currency": "KRW"}
    assert charge.values["procedure"] == {"code": "M0111", "display": "피부봉합", "system": "EDI"}
    assert charge.values["unitPrice"] == {"value": "16970"}
    assert (charge.values["quantity"], charge.values["type"], charge.values["account"]["value"]) == ("1", "CG", "A77")
    assert (payment.values["amount"], payment.values["code"]["display"]) == ({"value": "5000"}, "카드")


def test_a_bill() -> None:
    ivc = "IVC|B7^OCS|||OR|||20261122|16970&KRW"
    [sent] = made("EHC^E01", ivc, PID + "|" * 10 + "A77", PV1)["Invoice"]
    assert (sent.key, sent.patient) == (Key("OCS", "B7"), Key("HOSP", "00012345"))
    assert (sent.values["status"], sent.values["total"]) == ("issued", {"value": "16970", "currency": "KRW"})
    assert sent.values["encounter"]["identifier"]["value"] == "V1"
    assert made("EHC^E02", ivc, PID)["Invoice"][0].values["status"] == "cancelled"


@pytest.mark.parametrize(("event", "status"), [("BAR^P01", "active"), ("BAR^P05", None), ("BAR^P06", "inactive")])
def test_an_account(event: str, status: str | None) -> None:
    [fact] = made(event, PID + "|" * 10 + "A77", PV1)["Account"]
    assert (fact.key.value, fact.values.get("status")) == ("A77", status)


@pytest.mark.parametrize(("event", "status"), [("MDM^T02", "current"), ("MDM^T11", "entered-in-error")])
def test_a_document_without_its_text(event: str, status: str) -> None:
    txa = "TXA|1|DS^퇴원요약|TX|20261122||||||||DOC1|||||LA||AV"
    [fact] = made(event, PID, PV1, "ORC|RE|P1|F1", "OBR|1|P1|F1|X", txa, "OBX|1|TX|||비밀")["DocumentReference"]
    assert (fact.key.value, fact.values["status"], fact.values["docStatus"]) == ("DOC1", status, "LA")
    assert fact.values["basedOn"]["identifier"]["value"] == "P1"
    assert "비밀" not in repr(fact)


def test_a_referral_says_who_sent_the_patient() -> None:
    [fact] = made(
        "REF^I12", "RF1|A|R||||R1|20261120|||통증", "PRD|RP|이원장^^^^^의원|||||31100000^L^HIRA", "PRD|RT|똠방각하", PID
    )["ServiceRequest"]
    assert (fact.key, fact.values["status"], fact.values["category"]) == (Key("HOSP:placer", "R1"), "active", "referral")
    assert [(p["role"], p["name"]) for p in fact.values["participant"]] == [("requester", "이원장"), ("performer", "똠방각하")]
    assert fact.values["participant"][0]["identifier"] == {"assigner": "HIRA", "value": "31100000", "type": "L"}
    [gone] = made("REF^I14", "RF1|A|R||||R1", PID)["ServiceRequest"]
    assert gone.values["status"] == "revoked"


def test_the_answer_to_a_referral_is_of_one_that_is_known() -> None:
    [answer] = made("RRI^I12", "MSA|AA|1", "RF1|A|R||||R1", "PRD|RP|이원장")["ServiceRequest"]
    assert (answer.key, answer.create, answer.patient) == (Key("HOSP:placer", "R1"), False, None)


MASTER: list[tuple[str, tuple[str, ...], str, Key, dict[str, Any]]] = [
    ("MFN^M02", ("MFE|MAD|||D001", "STF|D001|S9|남궁^민수|||||IM^내과|||02-123-4567"), "Practitioner", Key("HOSP", "S9"),
     {"active": True, "department": "IM"}),
    ("MFN^M02", ("MFE|MDC|||D001", "STF|D001||남궁^민수"), "Practitioner", Key("HOSP", "D001"), {"active": False}),
    ("MFN^M05", ("MFE|MUP|||W5", "LOC|W5", "LDP|W5|IM^내과||||A"), "Organization", Key("HOSP:department", "IM"),
     {"name": "내과", "active": True, "type": "dept"}),
    ("MFN^M05", ("MFE|MAD|||3W-301-2", "LOC|3W^301^2^HOSP|창가 병상|B^Bed", "LDP|3W|IM^내과"), "Location",
     Key("HOSP:location", "3W-301-2"), {"name": "창가 병상", "place": "3W 301 2", "department": "IM", "active": True}),
    ("MFN^M08", ("MFE|MAD|||L001", "OM1|1|L001^혈당^LOCAL|NM|||Glucose|||혈당(공복)|||||||LAB^진단검사", "OM2|1|mg/dL"),
     "ObservationDefinition", Key("HOSP", "L001"),
     {"title": "혈당(공복)", "unit": "mg/dL", "department": "LAB", "active": True}),
    ("MFN^M04", ("MFE|MAD|||AA157", "CDM|AA157^진찰료||초진진찰료", "PRC|AA157|16970&KRW"), "ChargeItemDefinition",
     Key("HOSP", "AA157"), {"title": "초진진찰료", "price": {"value": "16970", "currency": "KRW"}, "active": True}),
]  # fmt: skip


@pytest.mark.parametrize(("event", "segments", "kind", "key", "said"), MASTER)
def test_master_files(event: str, segments: tuple[str, ...], kind: str, key: Key, said: dict[str, Any]) -> None:
    [fact] = made(event, "MFI|X||UPD|||AL", *segments)[kind]
    assert isinstance(fact, Fact)
    assert fact.key == key
    assert {name: fact.values.get(name) for name in said} == said
    assert fact.patient is None


def test_each_entry_of_a_master_file_is_its_own() -> None:
    found = made("MFN^M02", "MFI|STF", "MFE|MAD|||D1", "STF|D1||김^의사", "MFE|MDL|||D2", "STF|D2||이^의사")["Practitioner"]
    assert [(f.key.value, f.values["active"], f.values["name"][0]["text"]) for f in found] == [
        ("D1", True, "김의사"),
        ("D2", False, "이의사"),
    ]
