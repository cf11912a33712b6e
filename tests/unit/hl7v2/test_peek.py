"""The look at the bytes that decides lane, duplicate and answer."""

from __future__ import annotations

import pytest

from hub.codecs.hl7v2 import peek

MSH = b"MSH|^~\\&|OCS^1.2^ISO|HOSP|HUB|H2|20261122090000|sec|ADT^A08^ADT_A01|77|P^T|2.5^KOR|||AL|NE|KOR|KS X 1001\r"


def test_every_header_field():
    seen = peek(MSH + b"EVN|A08\rPID|1||123^^^HOSP^MR\r")
    assert seen.sending_application == "OCS^1.2^ISO"
    assert (seen.sending_facility, seen.receiving_application, seen.receiving_facility) == ("HOSP", "HUB", "H2")
    assert (seen.type, seen.structure, seen.control_id) == ("ADT^A08", "ADT_A01", "77")
    assert (seen.processing_id, seen.version, seen.accept_ack, seen.application_ack) == ("P", "2.5", "AL", "NE")
    assert (seen.charset, seen.codec, seen.patient, seen.other_patient) == ("KS X 1001", "cp949", ("HOSP", "123"), None)


def test_the_content_is_the_body_without_its_time():
    first = MSH + b"PID|1||123\r"
    later = first.replace(b"20261122090000", b"20261122090105.123+0900")
    assert peek(first).content == peek(later).content == first.replace(b"20261122090000", b"")
    assert peek(first).content != peek(first.replace(b"123", b"124")).content
    assert peek(first).content != peek(first.replace(b"|sec|", b"|20261122090000|")).content


@pytest.mark.parametrize(
    ("segments", "patient", "other"),
    [
        (b"PID|1||123^^^HOSP&1.2&ISO\r", ("HOSP", "123"), None),
        (b"PID|1||123^^^&1.2&ISO\r", ("1.2", "123"), None),
        (b'PID|1||123^^^""\r', ("", "123"), None),
        (b"PID|1||123~456^^^X\r", ("", "123"), None),
        (b"PID|1|9\r", ("", "9"), None),
        (b'PID|1||""\r', None, None),
        (b"PID|1||\r", None, None),
        (b"EVN|A01\r", None, None),
        (b"PID|1||1\\T\\2^^^A\\S\\B\r", ("A^B", "1&2"), None),
        (b"PID|1||123^^^H\rMRG|456^^^H\r", ("H", "123"), ("H", "456")),
        (b"PID|1||123\rPV1|1\rPID|2||999\r", ("", "123"), None),
        ("PID|1||번호1^^^병원\r".encode("cp949"), ("병원", "번호1"), None),
    ],
)
def test_patient_numbers(segments, patient, other):
    seen = peek(MSH + segments)
    assert (seen.patient, seen.other_patient) == (patient, other)


@pytest.mark.parametrize("event", [b"A17", b"A24", b"A37"])
def test_swap_link_and_unlink_have_their_second_patient_in_a_second_pid(event):
    seen = peek(MSH.replace(b"A08^", event + b"^") + b"PID|1||123\rPV1|1\rPID|2||999^^^H\r")
    assert (seen.patient, seen.other_patient) == (("", "123"), ("H", "999"))


@pytest.mark.parametrize(
    ("msh9", "evn", "expected"),
    [
        ("ADT^A01", "", "ADT^A01"),
        ("ADT^A01^ADT_A01", "A04", "ADT^A01"),
        ("ADT", "A04", "ADT^A04"),
        ("ADT", "", "ADT"),
        ("ACK", "", "ACK"),
        ("ADT\u00ad^A01", "", "ADT^A01"),
        ("", "A04", ""),
    ],
)
def test_the_type_is_cleaned(msh9, evn, expected):
    body = f"MSH|^~\\&|A|B|||1||{msh9}|5|P|2.5\r" + (f"EVN|{evn}\r" if evn else "")
    assert peek(body.encode()).type == expected


def test_a_header_that_stops_early_has_empty_fields():
    seen = peek(b"MSH|^~\\&|A")
    assert (seen.sending_application, seen.type, seen.control_id, seen.charset) == ("A", "", "", "")
