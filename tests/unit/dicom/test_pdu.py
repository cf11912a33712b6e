"""PDUs and command sets against pynetdicom's, which writes what we read and reads what we write; and against anything else."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.dsutils import decode
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_RELEASE_RP, P_DATA_TF

from hub.codecs.dicom import command, pdu, uid
from hub.domain.errors import Unreadable
from hub.simulator import dicom_wire

STORAGE = dicom_wire.SECONDARY_CAPTURE


def body(whole: bytes) -> bytes:
    return whole[pdu.HEAD :]


def test_a_request_is_read_as_it_was_meant() -> None:
    read = pdu.request(body(dicom_wire.associate("HUB", "CT1", STORAGE, uid.IMPLICIT_LITTLE)))
    assert read == pdu.Request(
        "HUB", "CT1", {1: pdu.Proposed(STORAGE, (uid.IMPLICIT_LITTLE,))}, 16384, 1, pdu.APPLICATION_CONTEXT
    )


def test_pynetdicom_reads_what_we_answer() -> None:
    accepted = A_ASSOCIATE_AC()
    accepted.decode(
        pdu.accept("HUB", "CT1", {1: (pdu.ACCEPTED, uid.EXPLICIT_LITTLE), 3: (pdu.NO_ABSTRACT, uid.IMPLICIT_LITTLE)}, 4096)
    )
    assert [(one.context_id, one.result) for one in accepted.presentation_context] == [(1, 0), (3, 3)]
    assert accepted.user_information.maximum_length == 4096
    rejected = A_ASSOCIATE_RJ()
    rejected.decode(pdu.reject(pdu.CALLING_UNKNOWN))
    assert (rejected.result, rejected.source, rejected.reason_diagnostic) == (1, 1, 3)
    aborted = A_ABORT_RQ()
    aborted.decode(pdu.abort(pdu.ABORT_INVALID))
    assert (aborted.source, aborted.reason_diagnostic) == (2, 6)
    A_RELEASE_RP().decode(pdu.release_answer())


@pytest.mark.parametrize("longest", [0, 64, 4096])
def test_pynetdicom_puts_our_messages_together(longest: int) -> None:
    asked = command.read(body(next(iter(pdu.p_data(1, _store_request(), b"", 0))))[6:])
    answer = command.answer(asked, command.Status.NOT_UNDERSTOOD, has_data=True, comment="x" * 99)
    data = bytes(range(256))
    parts: dict[bool, bytearray] = {True: bytearray(), False: bytearray()}
    for one in pdu.p_data(1, answer, data, longest):
        assert not longest or len(body(one)) <= longest
        theirs = P_DATA_TF()
        theirs.decode(one)
        for value in theirs.presentation_data_value_items:
            parts[bool(value.message_control_header_byte[-1] == "1")] += value.presentation_data_value[1:]
        assert [f.context for f in pdu.fragments(body(one))] == [1]
    assert bytes(parts[False]) == data
    read = decode(io.BytesIO(bytes(parts[True])), True, True)
    assert (read.Status, read.MessageIDBeingRespondedTo, read.CommandField) == (0xC000, 7, 0x8001)
    assert (read.AffectedSOPInstanceUID, len(read.ErrorComment)) == ("1.2.3.4", 64)


def _store_request() -> bytes:
    whole = dicom_wire.request(1, 7, STORAGE, "1.2.3.4")
    return body(whole)[6:]


def test_a_command_says_what_is_missing() -> None:
    good = command.read(_store_request())
    assert (good.operation, good.message_id, good.has_data, good.sop_instance) == (1, 7, False, "1.2.3.4")
    for wrong in (b"", b"\x00\x00", struct.pack("<HHI", 0, 0x0100, 99), struct.pack("<HHIH", 8, 0x0100, 2, 1)):
        with pytest.raises(Unreadable):
            command.read(wrong)
    with pytest.raises(Unreadable, match=r"\(0000,1000\) is no UID"):
        command.read(_store_request().replace(b"1.2.3.4\0", b"../../x\0"))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_pdu_or_refused(data: bytes) -> None:
    for read in (pdu.request, pdu.fragments, command.read):
        try:
            read(data)
        except Unreadable:
            continue
