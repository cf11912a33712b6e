"""Canon and structure on the store in memory: what a message makes of what is known."""

from __future__ import annotations

import orjson
import pytest

from hub.domain.errors import NotFound, Refused, Stale, TryAgain, Unmappable
from hub.domain.facts import ChangeIdentifier, Key, Link, Merge, Move, Snapshot
from tests.house import MINUTE, House, doctor, merge, patient, phone, unlink, visit


@pytest.fixture
def house() -> House:
    return House()


# ---- one thing -----------------------------------------------------------------------------------------------------------


def test_the_first_word_makes_version_one_and_the_same_again_makes_none(house: House) -> None:
    applied = house.tell(patient("1"), visit("V1", "1"))
    assert [(c.type, c.version) for c in applied.changes] == [("patient.created", 1), ("encounter.created", 1)]
    assert house.tell(patient("1"), visit("V1", "1")).changes == []


def test_two_messages_of_one_new_patient_in_one_batch_make_no_empty_version(house: House) -> None:
    applied = house.tell(patient("1"), patient("1"), patient("1", gender="male"))
    assert [(c.version, c.fields) for c in applied.changes] == [(1, ["identifier", "name"]), (2, ["gender"])]


def test_two_systems_telling_of_one_number_in_one_batch_keep_two_records(house: House) -> None:
    house.tell(patient("1", gender="male"))
    house.tell(patient("1", gender="female"), system="emr")
    assert house.doc("1")["gender"] == "male"  # the OCS ranks higher
    assert orjson.loads(house.source("1", system="emr")["data"])["gender"] == "female"


def test_an_older_message_changes_nothing_of_its_record(house: House) -> None:
    house.tell(patient("1", gender="male"), at=10)
    applied = house.tell(patient("1", "9", gender="female"), at=5)
    assert (applied.stale, applied.changes) == (1, [])
    assert house.doc("1")["gender"] == "male"
    assert house.store.rows("identifier", value="9") == []


def test_a_late_patient_with_a_new_visit_applies_the_visit(house: House) -> None:
    house.tell(patient("1", gender="male"), at=10)
    applied = house.tell(patient("1", gender="female"), visit("V1", "1"), at=5)
    assert applied.stale == 1
    assert [c.type for c in applied.changes] == ["encounter.created"]


def test_a_doctor_named_later_elsewhere_makes_nobodys_message_late(house: House) -> None:
    house.tell(patient("1"), doctor("D1"), at=10)
    house.tell(patient("2"), doctor("D1"), at=20)
    assert house.tell(patient("1", gender="male"), doctor("D1"), at=15).stale == 0


def test_null_takes_away_what_its_source_said_and_nothing_else(house: House) -> None:
    house.tell(patient("1", language="ko"))
    house.tell(patient("1", language="en"), system="emr", at=0)
    house.tell(patient("1", maritalStatus=None, language=None))
    assert "maritalStatus" not in house.doc("1")
    assert "language" not in house.doc("1")  # the newest change among those who may: the OCS took it away
    house.tell(patient("2", gender="male"))
    house.tell(patient("2", gender=None), system="emr")  # never said it: no news
    assert house.doc("2")["gender"] == "male"


def test_contact_points_compete_by_slot_and_a_list_is_a_snapshot(house: House) -> None:
    mail = {"system": "email", "value": "a@b.kr"}
    house.tell(patient("1", telecom=[phone("+821"), phone("+822", "home")]))
    house.tell(patient("1", telecom=[mail]), system="emr")
    assert house.doc("1")["telecom"] == [phone("+821"), phone("+822", "home"), mail]
    applied = house.tell(patient("1", telecom=[phone("+829")]))
    assert house.doc("1")["telecom"] == [phone("+829"), mail]
    assert applied.changes[0].fields == ["telecom", "telecom.home", "telecom.mobile"]


def test_a_second_phone_that_moves_up_leaves_no_ghost(house: House) -> None:
    house.tell(patient("1", telecom=[phone("+821"), phone("+822")]))
    house.tell(patient("1", telecom=[phone("+822")]))
    house.tell(patient("1", telecom=[phone("+823")]))
    assert house.doc("1")["telecom"] == [phone("+823")]


def test_lineage_names_path_message_map_and_time(house: House) -> None:
    house.tell(patient("1", gender="male"), at=10)
    house.tell(patient("1", gender="female"), at=20)
    lineage = orjson.loads(house.source("1")["lineage"])
    assert lineage["gender"] == ["PID", 2, "map-1", 20 * MINUTE + 1]
    assert lineage["name"] == ["PID", 1, "map-1", 10 * MINUTE + 1]


def test_a_number_of_somebody_else_is_noted_and_merges_nobody(house: House) -> None:
    house.tell(patient("1"))
    house.tell(patient("2"))
    assert house.tell(patient("1", "2", gender="male")).notes == ["identifier_points_elsewhere"]
    assert house.id("1") != house.id("2")


@pytest.mark.parametrize("bad", ["홍\x00", "홍\ud800"])
def test_what_no_database_can_hold_cannot_be_mapped(house: House, bad: str) -> None:
    with pytest.raises(Unmappable):
        house.tell(patient("1", gender=bad))
    house.tell(patient("1", gender="\\u0000"))  # six characters that only look like it
    assert house.doc("1")["gender"] == "\\u0000"


# ---- whose visit -----------------------------------------------------------------------------------------------------------


def test_a_corrected_number_takes_the_visit_along_and_says_so(house: House) -> None:
    house.tell(patient("1"), patient("2"), visit("V1", "1"))
    applied = house.tell(visit("V1", "2"))
    assert house.owner("V1") == house.id("2")
    assert [c.type for c in applied.changes] == ["encounter.updated"]


def test_a_late_message_does_not_take_a_visit_back(house: House) -> None:
    house.tell(patient("1"), patient("2"), visit("V1", "1"), at=1)
    house.tell(visit("V1", "2"), at=5)
    house.tell(visit("V1", "1"), at=3)
    assert house.owner("V1") == house.id("2")


def test_another_system_that_repeats_the_old_number_is_no_news(house: House) -> None:
    house.tell(patient("1"), patient("2"), visit("V1", "1"))
    house.tell(visit("V1", "1"), system="emr")
    house.tell(Move("visit", Key("H", "2"), Key("H", "1"), Key("H", "V1")))
    house.tell(visit("V1", "1", location="W1"), system="emr")
    assert house.owner("V1") == house.id("2")
    assert house.source("V1", "Encounter")["patient_key"] == "H|2"


def test_a_lesser_system_does_not_move_a_visit_that_it_tells_of_for_the_first_time(house: House) -> None:
    house.tell(patient("1"), patient("2"), visit("V1", "1"))
    assert "encounter_of_another_patient" in house.tell(visit("V1", "2"), system="emr").notes
    assert house.owner("V1") == house.id("1")


def test_a_moved_visit_stays_when_an_older_message_comes_late(house: House) -> None:
    house.tell(patient("1"), patient("2"), visit("V1", "1"), at=1)
    house.tell(Move("visit", Key("H", "2"), Key("H", "1"), Key("H", "V1")), at=10)
    assert house.tell(visit("V1", "1"), at=5).stale == 1
    assert house.owner("V1") == house.id("2")


def test_a_move_of_all_and_of_an_account(house: House) -> None:
    account = {"assigner": "H", "value": "A1"}
    house.tell(patient("1"), patient("2"), visit("V1", "1", account=account), visit("V2", "1"))
    house.tell(Move("account", Key("H", "2"), Key("H", "1"), Key("H", "A1")))
    assert (house.owner("V1"), house.owner("V2")) == (house.id("2"), house.id("1"))
    house.tell(Move("patient", Key("H", "2"), Key("H", "1")))
    assert house.owner("V2") == house.id("2")
    assert house.tell(Move("patient", Key("H", "2"), Key("H", "2"))).notes == ["already_one"]


# ---- merges --------------------------------------------------------------------------------------------------------------


def test_a_chain_of_merges_is_taken_back_link_by_link(house: House) -> None:
    """C into B, B into A; B goes home, and C with it; then C goes home."""
    house.tell(*(patient(n) for n in "ABC"), *(visit(f"V{n}", n) for n in "ABC"))
    a, b, c = (house.id(n) for n in "ABC")
    house.tell(merge("B", "C"))
    house.tell(merge("A", "B"))
    assert {house.id(n) for n in "ABC"} == {a}
    assert {house.owner(f"V{n}") for n in "ABC"} == {a}
    house.tell(unlink("A", "B"))
    assert [house.id(n) for n in "ABC"] == [a, b, b]
    assert [house.owner(f"V{n}") for n in "ABC"] == [a, b, b]
    assert [house.row(n)["status"] for n in "AB"] == ["active", "active"]
    house.tell(unlink("B", "C"))
    assert [house.id(n) for n in "ABC"] == [a, b, c]
    assert [house.owner(f"V{n}") for n in "ABC"] == [a, b, c]
    assert [i["value"] for i in house.doc("B")["identifier"]] == ["B"]


def test_the_middle_of_a_chain_stays_when_its_end_goes_home(house: House) -> None:
    house.tell(*(patient(n) for n in "ABC"))
    a, c = house.id("A"), house.id("C")
    house.tell(merge("B", "C"))
    house.tell(merge("A", "B"))
    house.tell(unlink("A", "C"))
    assert [house.id(n) for n in "ABC"] == [a, a, c]


@pytest.mark.parametrize("pair", ["AB", "BA"])
def test_an_unlink_may_name_the_two_in_either_order(house: House, pair: str) -> None:
    house.tell(patient("A"), patient("B"))
    b = house.id("B")
    house.tell(merge("A", "B"))
    house.tell(unlink(*pair))
    assert house.id("B") == b
    assert house.tell(unlink(*pair)).changes == []


def test_a_merge_again_and_a_link_before_a_merge_change_nothing_more(house: House) -> None:
    house.tell(patient("A"), patient("B"))
    house.tell(Link(Key("H", "A"), Key("H", "B")))
    assert house.tell(merge("B", "A")).notes == ["already_one"]
    assert house.tell(merge("A", "B")).notes == ["already_one"]
    assert house.id("A") == house.id("B")


def test_a_merge_into_one_who_was_merged_goes_to_his_survivor(house: House) -> None:
    house.tell(*(patient(n) for n in "ABC"))
    house.tell(merge("A", "B"))
    house.tell(merge("B", "C"))
    assert house.id("C") == house.id("A")


def test_a_merge_of_unknown_numbers_waits_for_nobody(house: House) -> None:
    """What is told of the prior one later, though it is older than the merge, is the first word of its source."""
    house.tell(merge("A", "B"), at=10)
    assert house.id("A") == house.id("B")
    assert house.tell(patient("B", gender="female"), at=5).stale == 0
    assert house.doc("A")["gender"] == "female"


def test_after_an_unmerge_nothing_of_the_other_is_left(house: House) -> None:
    mail = {"system": "email", "value": "b@b.kr"}
    house.tell(patient("A", telecom=[phone("+821")]), patient("B", telecom=[phone("+822"), mail], language="en"))
    before = house.doc("A"), house.doc("B")
    house.tell(merge("A", "B"))
    assert mail in house.doc("A")["telecom"]
    house.tell(unlink("A", "B"))
    assert (house.doc("A"), house.doc("B")) == before


def test_who_came_by_a_merge_does_not_overrule_who_was_there(house: House) -> None:
    """Also in a later message that names one of the two numbers only."""
    house.tell(patient("A", language="ko"), patient("B"))
    house.tell(merge("A", "B"))
    house.tell(patient("B", language="en"))
    assert house.doc("A")["language"] == "ko"
    house.tell(patient("A", gender="male"))
    assert [i["value"] for i in house.doc("A")["identifier"]] == ["A", "B"]


def test_relationships_say_whose_they_are(house: House) -> None:
    kin = Snapshot(
        "RelatedPerson", Key("H", "B"), "nk1", [{"name": [{"text": "김영희"}], "relationship": {"code": "SPO"}}], "NK1"
    )
    house.tell(patient("A"), patient("B"), kin)
    for facts in ([merge("A", "B")], [unlink("A", "B")]):
        house.tell(*facts)
        [relationship] = house.store.rows("resource", kind="Relationship")
        assert (
            orjson.loads(relationship["data"])["patient"] == f"Patient/{house.id('B')}" == f"Patient/{relationship['patient_id']}"
        )


def test_two_pairs_and_a_plain_fact_in_one_message(house: House) -> None:
    house.tell(*(patient(n) for n in "ABCD"))
    house.tell(patient("A", gender="male"), merge("A", "B"), patient("C"), merge("C", "D"))
    assert house.id("A") == house.id("B") != house.id("C") == house.id("D")
    assert house.doc("B")["gender"] == "male"


def test_visits_are_merged_too(house: House) -> None:
    house.tell(patient("A"), visit("V1", "A"), visit("V2", "A", location="W2"))
    house.tell(Merge("visit", Key("H", "V1"), Key("H", "V2")))
    assert house.id("V1", "Encounter") == house.id("V2", "Encounter")
    assert house.doc("V1", "Encounter")["location"] == "W2"
    assert house.tell(Merge("visit", Key("H", "V1"), Key("H", "V9"))).notes == ["unknown_visit"]


# ---- changed numbers --------------------------------------------------------------------------------------------------------


def test_a_changed_number_keeps_patient_record_and_old_number(house: House) -> None:
    house.tell(patient("1"))
    before = house.id("1")
    house.tell(ChangeIdentifier("patient", Key("H", "9"), Key("H", "1")))
    assert house.id("9") == house.id("1") == before
    assert [(i["value"], i.get("use")) for i in house.doc("9")["identifier"]] == [("9", None), ("1", "old")]
    assert house.store.rows("source_record", key="H|1") == []
    assert house.tell(patient("9", gender="male")).changes[0].version == 3


def test_a_changed_number_goes_home_with_its_patient(house: House) -> None:
    house.tell(patient("A"), patient("B"))
    b = house.id("B")
    house.tell(merge("A", "B"))
    house.tell(ChangeIdentifier("patient", Key("H", "B2"), Key("H", "B")))
    house.tell(unlink("A", "B2"))
    assert house.id("B2") == house.id("B") == b
    assert house.source("B2")["resource_id"] == b


def test_a_change_into_a_known_number_is_a_merge(house: House) -> None:
    house.tell(patient("A"), patient("B"))
    house.tell(ChangeIdentifier("patient", Key("H", "A"), Key("H", "B")))
    assert house.id("B") == house.id("A")


def test_a_changed_account_is_what_its_sources_say_from_now_on(house: House) -> None:
    house.tell(patient("1"), visit("V1", "1", account={"assigner": "H", "value": "A1"}))
    house.tell(patient("1"), ChangeIdentifier("account", Key("H", "A2"), Key("H", "A1")))
    assert house.doc("V1", "Encounter")["account"]["value"] == "A2"
    assert orjson.loads(house.source("V1", "Encounter")["data"])["account"]["value"] == "A2"


# ---- beside other workers ----------------------------------------------------------------------------------------------------


def test_a_merge_at_the_same_time_is_noticed(house: House) -> None:
    house.tell(patient("A"), patient("B"))
    prior = house.id("B")
    house.tell(merge("A", "B"))
    for row in house.store.rows("identifier", value="B"):
        row["resource_id"] = prior  # as another worker has read it before
    with pytest.raises(TryAgain):
        house.tell(patient("B"))


# ---- the front office ----------------------------------------------------------------------------------------------------------


def test_a_patch_that_says_what_stands_changes_nothing(house: House) -> None:
    house.tell(patient("1", telecom=[phone("+821")], language="ko"))
    values = {"telecom": [phone("+821")], "language": "ko"}
    for _ in range(2):
        written = house.office.change_patient(house.id("1"), values, expected=1, actor="token:desk")
        assert (written.version, written.change_ids) == (1, ())


def test_a_phone_beside_another_and_one_taken_away(house: House) -> None:
    house.tell(patient("1", telecom=[phone("+821"), phone("+822", "home")]))
    id_, desk = house.id("1"), {"actor": "token:desk"}
    house.office.change_patient(id_, {"telecom": [phone("+821"), phone("+823"), phone("+822", "home")]}, expected=1, **desk)
    assert house.doc("1")["telecom"] == [phone("+821"), phone("+823"), phone("+822", "home")]
    house.office.change_patient(id_, {"telecom": [phone("+823")]}, expected=2, **desk)
    assert house.doc("1")["telecom"] == [phone("+823")]
    house.tell(patient("1", telecom=[phone("+821"), phone("+822", "home")]))  # the OCS repeats what it always said
    assert house.doc("1")["telecom"] == [phone("+823")]
    house.office.change_patient(id_, {"telecom": None}, expected=3, **desk)
    assert "telecom" not in house.doc("1")


def test_the_front_office_may_say_again_what_the_ocs_has_changed(house: House) -> None:
    house.tell(patient("1", telecom=[phone("+821")]), at=1)
    id_ = house.id("1")
    house.office.change_patient(id_, {"telecom": [phone("+829")]}, expected=1, actor="token:desk")
    house.tell(patient("1", telecom=[phone("+825")]), at=2**33)
    assert house.doc("1")["telecom"] == [phone("+825")]
    house.store.clock = lambda: 2**34 * MINUTE
    house.office.change_patient(id_, {"telecom": [phone("+829")]}, expected=3, actor="token:desk")
    assert house.doc("1")["telecom"] == [phone("+829")]


def test_a_merged_patient_takes_no_writes(house: House) -> None:
    house.tell(patient("A"), patient("B"))
    prior = house.id("B")
    house.tell(merge("A", "B"))
    for expected in (1, 2):
        with pytest.raises(Refused) as refused:
            house.office.change_patient(prior, {"language": "ko"}, expected=expected, actor="token:desk")
        assert refused.value.code == "merged"


def test_stale_and_unknown(house: House) -> None:
    house.tell(patient("1"))
    with pytest.raises(Stale) as stale:
        house.office.change_patient(house.id("1"), {}, expected=7, actor="token:desk")
    assert stale.value.current == 1
    with pytest.raises(NotFound):
        house.office.change_patient("nobody", {}, expected=1, actor="token:desk")


def test_a_prospect_is_the_front_offices_until_the_hospital_knows_him(house: House) -> None:
    number = {"assigner": "H", "value": "77"}
    made = house.office.create_patient({"name": [{"text": "남궁민수"}], "identifier": [number]}, actor="token:desk")
    id_ = made.resource_id
    assert house.doc("77")["prospect"] is True
    house.office.change_patient(id_, {"name": [{"text": "남궁민"}]}, expected=1, actor="token:desk")
    assert house.doc("77")["name"] == [{"text": "남궁민"}]
    with pytest.raises(Refused, match="known already"):
        house.office.create_patient({"identifier": [number]}, actor="token:desk")
    applied = house.tell(patient("77"), visit("V1", "77"))
    assert house.id("77") == id_
    assert "prospect" not in house.doc("77")
    assert "prospect" in applied.changes[0].fields
    with pytest.raises(Refused, match="name"):
        house.office.change_patient(id_, {"name": [{"text": "다른이름"}]}, expected=3, actor="token:desk")


def test_a_booking_names_the_patient_by_a_number_that_stays_his(house: House) -> None:
    house.tell(patient("B"), patient("A"))
    house.tell(merge("B", "A"))  # A sorts first, but came by the merge
    made = house.office.book(house.id("B"), {"start": "2026-12-01T10:00:00+09:00"}, actor="token:desk")
    [booking] = house.store.rows("resource", id=made.resource_id)
    assert (booking["patient_id"], booking["patient_key"]) == (house.id("B"), "H|B")


def test_a_cancelled_booking_is_over(house: House) -> None:
    house.tell(patient("1"))
    desk = {"actor": "token:desk"}
    made = house.office.book(house.id("1"), {"start": "2026-12-01T10:00:00+09:00"}, **desk)
    moved = house.office.change_appointment(made.resource_id, {"start": "2026-12-02T10:00:00+09:00"}, expected=1, **desk)
    assert moved.version == 2
    house.office.cancel_appointment(made.resource_id, expected=2, reason="아파요", **desk)
    assert [c["type"] for c in house.store.rows("change", kind="Appointment")] == [
        "appointment.created", "appointment.updated", "appointment.cancelled",
    ]  # fmt: skip
    with pytest.raises(Refused, match="cancelled already"):
        house.office.cancel_appointment(made.resource_id, expected=3, **desk)
