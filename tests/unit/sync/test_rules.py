"""The small rules of sync as tables: authority, slots, echoes, breaker, retry, lanes, routes, audit reasons."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.audit.entry import check_detail
from hub.domain.facts import Key
from hub.sync.authority import SHIPPED, Authority, Claim, Rule, overridden
from hub.sync.breaker import LONGEST_SECONDS, Breaker, BreakerState, Signal
from hub.sync.canon import Changed, Origin
from hub.sync.lanes import bucket_of, buckets_for, inbound_lane, outbound_lane
from hub.sync.record import reason_text
from hub.sync.retry import RetryPolicy
from hub.sync.routes import Filter, Route, count, outbound_rows
from hub.sync.slots import (
    assemble,
    assemble_period,
    changed_slots,
    difference,
    explode,
    explode_period,
    is_echo,
    same,
    slot_of,
)
from hub.sync.workspace import Resource

# ---- authority -----------------------------------------------------------------------------------------------------------

A = Authority()


@pytest.mark.parametrize(
    ("name", "claims", "stands"),
    [
        ("birthDate", [], None),
        ("birthDate", [Claim("emr", "E", 9), Claim("ocs", "O", 1)], "O"),  # identity: the best-ranked system, however old
        ("birthDate", [Claim("emr", "E", 9), Claim("ocs", None, 10)], "E"),  # silence of the best leaves the word to the next
        ("birthDate", [Claim("lab", "L", 9), Claim("crm", "C", 1)], "C"),  # who is not listed only fills
        ("birthDate", [Claim("lab", "L", 9)], "L"),
        ("birthDate", [Claim("ocs", "old", 1), Claim("ocs", "new", 2)], "new"),  # two records of one system: the newer
        ("birthDate", [Claim("ocs", "merged", 9, False), Claim("emr", "home", 1)], "home"),  # a merge does not overrule
        ("telecom.mobile", [Claim("ocs", "O", 1), Claim("crm", "C", 2)], "C"),  # contact: the newest change
        ("telecom.mobile", [Claim("crm", "C", 2), Claim("ocs", "O", 2)], "O"),  # a tie goes to the rank
        ("telecom.mobile", [Claim("ocs", "O", 1), Claim("crm", None, 2)], None),  # the newest took it away
        ("telecom.mobile", [Claim("ocs", "O", 1), Claim("lab", None, 2)], "O"),  # who is not listed takes nothing away
        ("telecom.mobile", [Claim("lab", "L", 9), Claim("ocs", "O", 1)], "O"),
        ("note", [Claim("ocs", "O", 9), Claim("crm", "C", 1)], "C"),
    ],
)
def test_whose_word_stands(name: str, claims: list[Claim], stands: Any) -> None:
    assert A.decide("Patient", name, claims) == stands


@given(st.permutations([Claim("ocs", 1, 5), Claim("crm", 2, 7), Claim("emr", 3, 6), Claim("lab", 4, 9)]))
def test_the_order_of_asking_does_not_matter(claims: list[Claim]) -> None:
    assert A.decide("Patient", "telecom.home", claims) == 2
    assert A.decide("Patient", "gender", claims) == 1


def test_rules_go_from_the_slot_to_the_kind() -> None:
    site = overridden({"telecom.email": (("crm",), "ranked"), "Appointment.start": (("ocs",), "ranked")})
    assert site.rule("Patient", "telecom.email") == Rule(("crm",))
    assert site.rule("Patient", "telecom.mobile") == SHIPPED["Patient.telecom"]
    assert site.rule("Appointment", "start").systems == ("ocs",)
    assert site.rule("Appointment", "comment").policy == "newest"
    assert site.rule("Coverage", "payor") == Rule()


@pytest.mark.parametrize(
    ("name", "saying", "may"),
    [
        ("telecom", ["ocs"], True),
        ("telecom.mobile", ["ocs"], True),
        ("name", ["ocs"], False),
        ("name", ["crm"], True),  # a prospect
        ("name", [], True),
        ("birthDate", ["crm", "emr"], False),
        ("start", ["ocs"], True),
    ],
)
def test_what_the_front_office_may_set(name: str, saying: list[str], may: bool) -> None:
    assert A.may_front_office_set(name, saying) is may


# ---- slots ---------------------------------------------------------------------------------------------------------------


def point(value: str, use: str = "mobile", system: str = "phone", **more: str) -> dict[str, Any]:
    return {"system": system, "value": value, "use": use, **more} if use else {"system": system, "value": value, **more}


MOBILE, HOME, MAIL = point("+821011112222"), point("+8225556666", "home"), point("a@b.kr", "", "email")


@pytest.mark.parametrize(
    ("one", "slot"),
    [
        (MOBILE, "mobile"),
        (HOME, "home"),
        (MAIL, "email"),
        (point("1", ""), "phone"),
        (point("1", "", "fax"), "fax"),
        ({}, "phone"),
    ],
)
def test_the_slot_of_a_contact_point(one: dict[str, Any], slot: str) -> None:
    assert slot_of(one) == slot


def test_a_list_is_taken_apart_and_put_together_again() -> None:
    second = point("+821099998888")
    flat = explode({"telecom": [MAIL, MOBILE, second], "gender": "male"}, {"telecom.home": HOME, "gender": "male"})
    assert flat == {
        "gender": "male", "telecom.home": None, "telecom.email": MAIL, "telecom.mobile": MOBILE, "telecom.mobile.2": second,
    }  # fmt: skip
    assert assemble(flat) == {"gender": "male", "telecom": [MOBILE, second, MAIL]}
    assert explode({"gender": "male"}, {"telecom.home": HOME}) == {"gender": "male"}  # no list: nothing is said of it


POINTS = st.lists(
    st.builds(lambda v, u: point(f"+8210{v:08}", u), st.integers(0, 99), st.sampled_from(["mobile", "home", "work", ""])),
    max_size=5,
    unique_by=lambda p: (p["value"], p.get("use")),
)


@given(POINTS)
def test_taking_apart_loses_nothing(points: list[dict[str, Any]]) -> None:
    put = assemble(explode({"telecom": points}, {})).get("telecom", [])
    assert sorted(map(repr, put)) == sorted(map(repr, points))


@given(POINTS, POINTS)
def test_what_somebody_changed_of_a_list_makes_the_list_that_he_sent(stands: list[Any], sent: list[Any]) -> None:
    slots = explode({"telecom": stands}, {})
    changed = difference(slots, sent)
    after = assemble({**slots, **changed}).get("telecom", [])
    assert sorted(map(repr, after)) == sorted(map(repr, sent))
    assert all(slots.get(name) not in sent for name in changed), "what stayed is nobody's word"


def test_a_new_number_takes_the_place_of_the_one_that_is_gone() -> None:
    new = point("+821077778888")
    assert difference({"telecom.mobile.2": MOBILE, "telecom.home": HOME}, [new, HOME]) == {"telecom.mobile.2": new}
    assert difference({"telecom.mobile": MOBILE}, [MOBILE, new]) == {"telecom.mobile.2": new}
    assert difference({"telecom.mobile": MOBILE}, []) == {"telecom.mobile": None}


def test_changed_slots_name_what_is_gone_too() -> None:
    before, after = {"telecom": [MOBILE, HOME]}, {"telecom": [point("+821077778888"), MAIL]}
    assert changed_slots(before, after) == ["telecom.email", "telecom.home", "telecom.mobile"]
    assert changed_slots(before, before) == []


def test_a_visits_start_and_end_are_taken_apart() -> None:
    assert explode_period({"period": {"end": "B"}, "status": "finished"}) == {"status": "finished", "period.end": "B"}
    assert explode_period({"status": "in-progress", "period": {"start": "A"}})["period.end"] is None
    assert explode_period({"period": None}) == {"period.start": None, "period.end": None}
    assert assemble_period({"period.start": "A", "period.end": None, "x": 1}) == {"x": 1, "period": {"start": "A"}}


@pytest.mark.parametrize(
    ("sent", "heard", "echo"),
    [
        (MOBILE, {**MOBILE, "raw": "010-1111-2222"}, True),
        (MOBILE, point("1011112222"), True),  # without its country
        (MOBILE, point("11112222"), True),  # cut
        (MOBILE, point("2222"), False),  # too little to know
        (MOBILE, point("+821033334444"), False),
        (None, None, True),
        (None, MOBILE, False),
        (MOBILE, None, False),
        ([{"text": "서울특별시 강남구 테헤란로 1"}], [{"text": "서울특별시강남구 테헤란로"}], True),
        ([{"text": "서울특별시 강남구"}], [{"text": "부산광역시"}], False),
        ([{"text": "None"}], None, False),
    ],
)
def test_an_echo_is_what_we_sent_as_the_other_side_cuts_it(sent: Any, heard: Any, echo: bool) -> None:
    assert is_echo(sent, heard) is echo


def test_raw_forms_and_nulls_do_not_make_a_difference() -> None:
    assert same([{"value": "1", "raw": "x", "use": None}], [{"value": "1"}])
    assert not same({"value": "1"}, {"value": "2"})


# ---- breaker and retry ----------------------------------------------------------------------------------------------------


def test_a_breaker_opens_tries_and_closes() -> None:
    b = Breaker(failures_to_open=2, seconds=10)
    assert (b.allows(0), b.failed(0), b.failed(0)) == (None, Signal.NOTHING, Signal.OPENED)
    assert (b.allows(1), b.state) == (0, BreakerState.OPEN)
    assert b.failed(1) is Signal.NOTHING  # a straggler: said once
    assert (b.allows(10_000_000), b.state) == (1, BreakerState.HALF_OPEN)
    assert b.failed(10_000_000) is Signal.SAVED
    assert b.until == 30_000_000  # twice the wait
    assert b.allows(b.until) == 1
    assert (b.succeeded(), b.state, b.allows(0)) == (Signal.CLOSED, BreakerState.CLOSED, None)
    assert b.succeeded() is Signal.NOTHING


def test_a_success_forgets_failures() -> None:
    b = Breaker(2, 10)
    assert [b.failed(0), b.succeeded(), b.failed(0)] == [Signal.NOTHING] * 3


def test_a_breaker_never_waits_longer_than_ten_minutes() -> None:
    b = Breaker(1, 30)
    for now in range(40):
        b.until = now
        b.allows(now)
        b.failed(now)
    assert b.until <= 39 + LONGEST_SECONDS * 1e6


@pytest.mark.parametrize(
    ("attempt", "low", "high"), [(1, 1.6, 2.4), (2, 3.2, 4.8), (5, 25.6, 38.4), (30, 480, 720), (5000, 480, 720)]
)
def test_waits_grow_with_jitter_up_to_the_longest(attempt: int, low: float, high: float) -> None:
    waits = {RetryPolicy(base_seconds=2.0).wait(attempt) for _ in range(200)}
    assert low <= min(waits) < max(waits) <= high


def test_a_targets_own_wish_counts_more_but_not_for_ever() -> None:
    assert RetryPolicy(base_seconds=2.0).wait(1, retry_after=60) == 60
    assert RetryPolicy(max_seconds=600).wait(1, retry_after=86_400) == 600
    assert RetryPolicy(base_seconds=2.0).wait(10, retry_after=1) > 400


# ---- lanes, routes, reasons -----------------------------------------------------------------------------------------------


def test_a_lane_is_a_patient_number_whichever_channel_tells_of_it() -> None:
    assert inbound_lane("ocs", Key("H", "1")) == inbound_lane("emr", Key("H", "1")) != inbound_lane("ocs", Key("H", "2"))
    assert inbound_lane("ocs", None) != inbound_lane("emr", None)
    assert outbound_lane("crm", "p") != outbound_lane("erp", "p")


@given(st.text(max_size=30), st.integers(1, 16))
def test_a_bucket_is_the_same_in_every_process(lane: str, buckets: int) -> None:
    assert 0 <= bucket_of(lane, buckets) < buckets
    assert [bucket_of(f"in:HOSP|{n}", 8) for n in range(4)] == [crc32(f"in:HOSP|{n}".encode()) % 8 for n in range(4)]


def test_sqlite_has_one_partition() -> None:
    assert buckets_for("sqlite") == 1
    assert buckets_for("postgresql") > 1


def changed(type_: str, system: str) -> Changed:
    resource = Resource("p1", "Patient", "p1", "H|1", 1, "active", 0, {}, 0)
    return Changed(resource, type_, [], Origin(system, f"{system}-in", 7, 0, ""), 1, {})


@pytest.mark.parametrize(
    ("route", "type_", "system", "wants"),
    [
        (Route("crm", "crm", ("*",)), "patient.updated", "crm", True),  # all front-ends hear of it, the writer's too
        (Route("ocs-out", "ocs", ("*",)), "patient.updated", "ocs", False),  # never its own word
        (Route("ocs-out", "ocs", ("patient.*",)), "patient.updated", "crm", True),
        (Route("ocs-out", "ocs", ("patient.*",)), "encounter.updated", "crm", False),
        (Route("ocs-out", "ocs", ()), "patient.updated", "crm", False),
    ],
)
def test_where_a_change_goes(route: Route, type_: str, system: str, wants: bool) -> None:
    assert route.wants(changed(type_, system)) is wants
    assert count([changed(type_, system)], [route]) == wants
    assert len(outbound_rows([(1, changed(type_, system))], [route], [9], 0, 4)) == 2 * wants


MOVED = {"department": "OBGY", "location": "6W 601 02", "priorLocation": "5W 501"}


@pytest.mark.parametrize(
    ("rule", "takes"),
    [
        (Filter(), True),
        (Filter(("encounter.*",)), True),
        (Filter(("patient.*",)), False),
        (Filter(kinds=frozenset({"Encounter"})), True),
        (Filter(kinds=frozenset({"Patient", "Appointment"})), False),
        (Filter(fields=frozenset({"location", "status"})), True),
        (Filter(fields=frozenset({"status"})), False),
        (Filter(from_systems=frozenset({"ocs", "erp"})), True),
        (Filter(from_systems=frozenset({"erp"})), False),
        (Filter(departments=("ER", "OB*")), True),
        (Filter(departments=("OB",)), False),
        (Filter(wards=("6W",)), True),
        (Filter(wards=("5W 50?",)), True),  # the ward that it leaves hears of it too
        (Filter(wards=("7W*", "601")), False),
        (Filter(("encounter.*",), departments=("ER",)), False),  # all filters of a route must agree
    ],
)
def test_what_a_rule_lets_through(rule: Filter, takes: bool) -> None:
    resource = Resource("e1", "Encounter", "p1", "H|1", 1, "in-progress", 0, {}, 0)
    change = Changed(resource, "encounter.updated", ["location", "priorLocation"], Origin("ocs", "ocs-in", 7, 0, ""), 2, MOVED)
    assert rule.takes(change) is takes
    everything = Filter(("encounter.*",))
    assert Route("emr", "emr", ("*",), (rule,)).wants(change) is takes
    assert Route("emr", "emr", ("*",), (rule, everything)).wants(change)  # of several routes one is enough
    assert not Route("ocs", "ocs", ("*",), (rule, everything)).wants(change)  # but no system hears its own word
    assert not Route("emr", "emr", ("patient.*",), (rule, everything)).wants(change)  # nor what its channel leaves out


def test_a_change_without_a_department_is_not_for_who_asks_for_one() -> None:
    assert not Filter(departments=("*",)).takes(changed("patient.updated", "ocs"))


@given(st.text(max_size=400))
def test_any_text_becomes_a_reason_that_the_audit_log_takes(text: str) -> None:
    check_detail({"reason": reason_text(text)})


@pytest.mark.parametrize("text", ["byte 12345678", "call 010-1234-5678", "800101-1234567", "1234567890123"])
def test_numbers_that_could_be_somebodys_do_not_get_into_the_audit_log(text: str) -> None:
    check_detail({"reason": reason_text(text)})
    assert "1234567" not in reason_text(text)
