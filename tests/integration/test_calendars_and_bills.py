"""Slots, bills, places and referrals through the whole hub: received, applied, told to the CRM, listed, merged."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from hub.db.views import lists
from hub.domain.referral import referral
from hub.mapping import Context, load_maps
from tests.hub_kit import Kit, adt, hl7, pid, pv1

sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
SLOT = ("SCH|P1|S1|||||||30|MIN|^^^20261201100000", "RGS|1", "AIP|1||D1^남궁^민수")
BILLS = """source = "row"
[block.bill]
kind = "Invoice"
key = "INVNO"
patient = "PANO"
[block.bill.fields]
"AMT" = { to = "total", as = "money" }
[block.paid]
kind = "Payment"
key = "RCPTNO"
patient = "PANO"
refs = { invoice = "INVNO" }
[block.paid.fields]
"METHOD" = { to = "method" }
"PAID" = { to = "amount", as = "money" }
[event.SUNAP]
blocks = ["bill", "paid"]
"""


@sqlite_only
def test_a_slot_is_closed_and_opened_again(kit: Kit) -> None:
    kit.tell(hl7("SIU^S23", *SLOT), hl7("SIU^S24", *SLOT, at="20261122100000"))
    [(data, version)] = kit.rows("SELECT data, version FROM resource WHERE kind = 'Slot'")
    slot = orjson.loads(data)
    assert (slot["status"], slot["start"], slot["end"], version) == (
        "free", "2026-12-01T10:00:00+09:00", "2026-12-01T10:30:00+09:00", 2,
    )  # fmt: skip
    assert [t for t in kit.target().types() if t.startswith("slot")] == ["slot.created", "slot.updated"]
    assert slot["participant"][0]["reference"].startswith("Practitioner/")
    with kit.hub.engine.connect() as conn:
        page = lists.by_start(conn, "Slot", lambda slot: slot["status"] == "free", start=None, end=None, after=None, limit=9)
    assert [row.data["status"] for row in page.rows] == ["free"]


@sqlite_only
def test_a_bill_is_withdrawn_and_goes_with_its_patient(kit: Kit) -> None:
    bill = "IVC|B7^OCS|||OR|||20261122|16970&KRW"
    kit.tell(adt("A04", "1", pv1("V1")), hl7("EHC^E01", bill, pid("1"), pv1("V1"), at="20261122100000"))
    [found] = kit.owned("1", "Invoice")
    assert (found["status"], found["total"]) == ("issued", {"value": "16970", "currency": "KRW"})
    assert found["encounter"]["reference"].startswith("Encounter/")
    kit.tell(hl7("EHC^E02", bill, pid("1"), at="20261122110000"), adt("A40", "2", "MRG|1^^^HOSP", at="20261122120000"))
    assert [one["status"] for one in kit.owned("2", "Invoice")] == ["cancelled"]
    assert [t for t in kit.target().types() if t.startswith("invoice")][:2] == ["invoice.created", "invoice.cancelled"]
    assert kit.rows("SELECT COUNT(*) FROM source_record WHERE kind = 'Invoice' AND lineage LIKE '%IVC-8%'") == [(1,)]


@sqlite_only
def test_an_old_tables_row_pays_its_bill(kit: Kit, tmp_path: Path) -> None:
    folder = tmp_path / "bills"
    folder.mkdir()
    (folder / "bills.toml").write_text(BILLS)
    maps = load_maps([folder])
    row = {"INVNO": "B1", "PANO": "1", "AMT": "12,000", "RCPTNO": "R1", "METHOD": "카드", "PAID": "12000"}
    facts = maps.map_row("SUNAP", row, Context("HOSP", "ocs")).facts
    assert [fact.kind for fact in facts] == ["Invoice", "Payment"]  # type: ignore[union-attr]
    assert facts[1].values["invoice"] == {"identifier": {"assigner": "HOSP", "value": "B1"}}  # type: ignore[union-attr]


def test_who_sent_us_patients_is_told_by_letters_and_visits(kit: Kit) -> None:
    letter = ("RF1|A|R||||R1|20261121", "PRD|RP|이^원장|||||31100000^L", "PRD|RT|내과")
    kit.tell(hl7("REF^I12", *letter, pid("1")), adt("A04", "2", pv1("V2").replace("D1^이^의사|", "D1^이^의사|X9^박^원장", 1)))
    kit.tell(adt("A04", "3", pv1("V3"), "PV2|" + "|" * 12 + "X9^박^원장", at="20261122100000"), adt("A04", "4", pv1("V4")))
    with kit.hub.engine.connect() as conn:
        rows = lists.referrals(conn, start=None, end=None, after=None, limit=9).rows
        pages = [first := lists.referrals(conn, start=None, end=None, after=None, limit=2)]
        pages.append(lists.referrals(conn, start=None, end=None, after=first.after, limit=2))
    assert [row.id for page in pages for row in page.rows] == [row.id for row in rows]
    read = [(row.patient_id, found.by, found.referrer or {}) for row in rows if (found := referral(row.kind, row.data))]
    told = [(patient, by, who.get("name")) for patient, by, who in read]
    assert read[0][2]["identifier"] == {"assigner": "HOSP:provider", "value": "31100000", "type": "L"}
    assert told == [
        (kit.patient_id("1"), "letter", "이원장"),
        (kit.patient_id("2"), "visit", "박원장"),
        (kit.patient_id("3"), "visit", "박원장"),
    ]


def test_places_and_tests_of_master_files_are_listed_by_number(kit: Kit) -> None:
    kit.tell(
        hl7(
            "MFN^M05",
            "MFI|LOC||UPD|||AL",
            "MFE|MAD|||3W-301",
            "LOC|3W^301|3병동 301호|R",
            "MFE|MAD|||3W-302",
            "LOC|3W^302|302호|R",
        ),
        hl7("MFN^M08", "MFI|OMA||UPD|||AL", "MFE|MAD|||L001", "OM1|1|L001^혈당^LOCAL", "OM2|1|mg/dL", at="20261122100000"),
    )
    with kit.hub.engine.connect() as conn:
        places = lists.by_number(conn, "Location", lambda _: True, after=None, limit=9).rows
        [test] = lists.by_number(conn, "ObservationDefinition", lambda _: True, after=None, limit=9).rows
        first = lists.by_number(conn, "Location", lambda _: True, after=None, limit=1)
        second = lists.by_number(conn, "Location", lambda _: True, after=first.after, limit=1)
    assert [row.data["name"] for row in places] == ["3병동 301호", "302호"]
    assert [row.id for row in (*first.rows, *second.rows)] == [row.id for row in places]
    assert (test.data["title"], test.data["unit"]) == ("혈당", "mg/dL")
    assert {"location.created", "observationdefinition.created"} <= set(kit.target().types())
