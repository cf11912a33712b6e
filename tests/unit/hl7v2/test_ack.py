"""Which answers are due, with which codes, in which bytes (HL7 v2.5.1 §2.9.2, §2.9.3)."""

from __future__ import annotations

import pytest

from hub.codecs.hl7v2 import ack, parse, peek
from hub.codecs.hl7v2.ack import Reason
from hub.domain.errors import Misconfigured, Unreadable, Where

S, T, U, N = Reason.STORED, Reason.TRY_AGAIN, Reason.UNREADABLE, Reason.NOT_FOR_US


def head(msh15="", msh16="", *, event="ADT^A08^ADT_A01", version="2.5", charset="", body=""):
    return peek(f"MSH|^~\\&|OCS|HOSP|HUB|H2|1||{event}|id-7|P|{version}|||{msh15}|{msh16}||{charset}\r{body}".encode())


@pytest.mark.parametrize(
    ("msh15", "msh16", "stored", "try_again", "unreadable", "not_for_us"),
    [
        ("", "", ("AA",), ("AR",), ("AE",), ("AR",)),  # original mode
        ("AL", "", ("CA",), ("CE",), ("CE",), ("CR",)),
        ("AL", "NE", ("CA",), ("CE",), ("CE",), ("CR",)),
        ("AL", "AL", ("CA", "AA"), ("CE",), ("CE",), ("CR",)),
        ("NE", "NE", (), (), (), ()),
        ("NE", "AL", ("AA",), ("AR",), ("AE",), ("AR",)),
        ("", "AL", ("AA",), ("AR",), ("AE",), ("AR",)),
        ("ER", "NE", (), ("CE",), ("CE",), ("CR",)),
        ("SU", "NE", ("CA",), (), (), ()),
        ("NE", "ER", (), ("AR",), ("AE",), ("AR",)),
        ("NE", "SU", ("AA",), (), (), ()),
        ("ER", "AL", ("AA",), ("CE",), ("CE",), ("CR",)),
        ("SU", "ER", ("CA",), ("AR",), ("AE",), ("AR",)),
        ("AL", "ER", ("CA",), ("CE",), ("CE",), ("CR",)),
        ("XX", "", (), (), (), ()),
    ],
)
def test_answers_are_those_that_msh_15_and_16_ask_for(msh15, msh16, stored, try_again, unreadable, not_for_us):
    seen = head(msh15, msh16)
    assert [ack.due(seen, reason) for reason in (S, T, U, N)] == [stored, try_again, unreadable, not_for_us]


@pytest.mark.parametrize("event", ["ACK", "ACK^A08", "ACK^A08^ACK", "MCF"])
@pytest.mark.parametrize("modes", [("", ""), ("AL", "AL")])
def test_an_ack_is_never_answered(event, modes):
    assert [ack.due(head(*modes, event=event), reason) for reason in Reason] == [(), (), (), ()]


def test_a_channel_may_override_codes():
    table = ack.codes({"try_again": "AE", "original.not_for_us": "AE"})
    assert ack.due(head(), T, table) == ("AE",)
    assert ack.due(head("AL"), T, table) == ("CE",)
    assert ack.due(head(), N, table) == ("AE",)
    assert ack.due(head("AL"), N, table) == ("CR",)
    assert ack.due(head("AL"), T, ack.codes({"try_again": "AR"})) == ("CR",)
    assert ack.due(head(), T) == ("AR",)


@pytest.mark.parametrize("wrong", [{"nope": "AE"}, {"try_again": "XX"}, {"third.try_again": "AE"}, {"try_again": ""}])
def test_a_wrong_override_is_a_config_error(wrong):
    with pytest.raises(Misconfigured):
        ack.codes(wrong)


def test_an_answer_goes_back_to_its_sender():
    body = ack.answer(head("AL", charset="UNICODE UTF-8"), "CA", control_id="A1", at="20261122090000+0900")
    assert body == (b"MSH|^~\\&|HUB|H2|OCS|HOSP|20261122090000+0900||ACK^A08^ACK|A1|P|2.5|||NE|NE||UNICODE UTF-8\rMSA|CA|id-7\r")
    assert ack.acknowledged(body) == ("CA", "id-7")


@pytest.mark.parametrize(("version", "kind"), [("2.2", "ACK"), ("2.3", "ACK"), ("2.3.1", "ACK^A08^ACK"), ("2.8", "ACK^A08^ACK")])
def test_the_answers_type_follows_the_version(version, kind):
    assert peek(ack.answer(head(version=version), "AA", control_id="1", at="2")).version == version
    assert f"|{kind}|1|P|{version}\r".encode() in ack.answer(head(version=version), "AA", control_id="1", at="2")


def test_the_answer_speaks_the_senders_charset_and_delimiters():
    question = "MSH#*~:%#앱#병원#HUB#H#1##ADT*A08#번호7#P#2.5######KS X 1001\r".encode("cp949")
    body = ack.answer(peek(question), "AA", control_id="A1", at="2", text="fine|so#far")
    assert b"MSH#*~:%#HUB#H#" + "앱".encode("cp949") in body
    assert ack.acknowledged(body)[1].encode("latin-1") == "번호7".encode("cp949")
    read = parse(body)
    assert read.first("MSA").value(2) == "번호7"
    assert read.first("MSA").value(3) == "fine|so#far"


def test_err_says_where_and_why():
    error = Unreadable("PID-3 is required", where=Where("PID", 1, 3, 2, 1), hl7=101)
    body = ack.answer(head(), "AE", control_id="1", at="2", error=error, text=error.reason)
    assert b"MSA|AE|id-7|PID-3 is required\r" in body
    assert b"ERR||PID^1^3^2^1|101^Required field missing^HL70357|E||||PID-3 is required\r" in body
    offset = Unreadable("bytes that are not utf-8", where=Where(offset=123), hl7=102)
    assert b"ERR||MSH^1|102^Data type error^HL70357|E|||byte 123|" in ack.answer(
        head(), "AE", control_id="1", at="2", error=offset
    )


def test_before_version_2_5_err_has_its_older_form():
    error = Unreadable("MSH-10 is missing", where=Where("MSH", 1, 10), hl7=101)
    body = ack.answer(head(version="2.3.1"), "AR", control_id="1", at="2", error=error)
    assert b"ERR|MSH^1^10^101&Required field missing&HL70357\r" in body


def test_without_a_header_the_answer_is_made_from_defaults():
    body = ack.answer(ack.NO_HEADER, "AE", control_id="1", at="2", error=Unreadable("no MSH segment at the start"))
    assert body.startswith(b"MSH|^~\\&|||||2||ACK|1|P|2.5.1\rMSA|AE|\rERR|")
    assert ack.acknowledged(body) == ("AE", "")


@pytest.mark.parametrize("body", [b"", b"MSH|^~\\&|A\r", b"junk"])
def test_what_has_no_msa_is_no_answer(body):
    with pytest.raises(Unreadable):
        ack.acknowledged(body)
