"""Ids lie in the order of time; errors say what happens next and hold nothing of a patient."""

from __future__ import annotations

import re
import time
import uuid

import pytest

from hub.domain import errors
from hub.domain.errors import HubError, NotDelivered, NotFound, Stale, Unmappable, Unreadable, Where
from hub.domain.facts import Key
from hub.domain.ids import new_id, now_us


def test_an_id_is_a_uuid_of_version_7() -> None:
    made = uuid.UUID(new_id())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert abs((made.int >> 80) / 1000 - time.time()) < 5


def test_ids_are_new_each_time_and_lie_in_the_order_of_time() -> None:
    assert len({new_id() for _ in range(10_000)}) == 10_000
    first = new_id()
    time.sleep(0.002)
    assert first < new_id()


def test_times_are_microseconds() -> None:
    assert abs(now_us() / 1e6 - time.time()) < 1


def _all_errors(base: type[HubError] = HubError) -> list[type[HubError]]:
    return [base, *(found for child in base.__subclasses__() for found in _all_errors(child))]


ERRORS = [e for e in _all_errors() if e.__module__ == errors.__name__]


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [e.code for e in ERRORS]
    assert len(set(codes)) == len(codes) == 10
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)


@pytest.mark.parametrize("kind", [e for e in ERRORS if e not in (Stale, Unreadable, Unmappable)], ids=lambda e: e.__name__)
def test_what_was_sent_and_answered_is_never_part_of_the_text(kind: type[HubError]) -> None:
    error = kind("the peer answered 500")
    error.sent, error.answer = "PID|1||홍길동".encode(), b"010-1234-5678"
    assert str(error) == "the peer answered 500"
    assert "홍길동" not in repr(error)


def test_an_error_takes_a_closer_code() -> None:
    assert NotDelivered("busy", code="rate_limited", retry_after=3).code == "rate_limited"
    assert NotDelivered("busy").code == "not_delivered"
    assert NotDelivered("busy").reached


def test_a_stale_write_says_which_version_stands() -> None:
    assert Stale("changed meanwhile", current=7).current == 7


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (Where(), ""),
        (Where("PID"), "PID[1]"),
        (Where("PID", 2, 5), "PID[2]-5"),
        (Where("PID", 1, 5, 2, 1), "PID[1]-5(2).1"),
        (Where("PID", 1, 5, offset=77), "PID[1]-5 at byte 77"),
        (Where(offset=12), "at byte 12"),
    ],
)
def test_a_place_in_a_message(where: Where, text: str) -> None:
    assert str(where) == text


def test_an_unmappable_message_names_the_place() -> None:
    assert str(Unmappable("no such code", where="PID-8")) == "PID-8: no such code"
    assert str(Unreadable("no MSH", hl7=100)) == "no MSH"
    assert isinstance(NotFound("gone"), HubError)


def test_a_key_is_written_with_its_assigner_first() -> None:
    assert str(Key("HOSP", "00012345")) == "HOSP|00012345"
