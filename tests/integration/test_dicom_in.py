"""DICOM listened to: modalities with pynetdicom and with dcmtk, steps that outlive the hub, and peers that do not behave."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from pydicom.dataset import Dataset

from hub.adapters.pacs.dicom_in import TRUSTED
from hub.codecs.dicom import uid
from hub.domain.errors import Misconfigured, TryAgain
from hub.domain.ports import Memory
from hub.simulator import dicom_wire, modality
from hub.simulator.certificates import Authority
from hub.simulator.modality import CT_IMAGE, KOREAN, Modality, NoAssociationError, instance, step_begun, step_ended
from hub.sync.polled import row_body
from hub.testing.listened import Office
from hub.transport.dicom_scp import Limits
from hub.transport.tls import client_context
from tests import dicom_kit, servers
from tests.contract.inbound_cases import LISTENED
from tests.servers import NotInstalledError

CASE = next(case for case in LISTENED if case.name == "pacs.dicom_in")
STUDY = "1.2.410.200001.77.1"
PATIENT = {
    "PatientName": "Hong^Gildong=洪^吉洞=홍^길동", "PatientID": "00012345", "PatientBirthDate": "19870504", "PatientSex": "M",
    "AccessionNumber": "A-1",
}  # fmt: skip
QUICK: dict[str, Any] = {"request_seconds": 0.4, "pdu_seconds": 0.4, "idle_seconds": 1.0, "message_seconds": 1.0}


@contextlib.contextmanager
def hub(folder: Path, **more: Any) -> Iterator[Office]:
    table = {"peers": {"CT1": "127.0.0.1", "MODALITY": "", "TEST": "", "FAR": "10.9.8.7"}, **more}
    office = Office(CASE, folder, **table)
    office.start()
    try:
        yield office
    finally:
        office.close()


@pytest.fixture
def dcmtk() -> None:
    try:
        dicom_kit.run("echoscu", "--version")
    except NotInstalledError as missing:
        pytest.skip(str(missing))


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with hub(tmp_path / "hub") as one:
        yield one


def rows(office: Office) -> list[tuple[str, dict[str, Any]]]:
    """Event and row of every message that was taken."""
    with office.home.hub.store.snapshot() as tx:
        found = tx.many(
            "SELECT m.id, m.body FROM message m LEFT JOIN outcome o ON o.message_id = m.id AND o.state = 'refused'"
            " WHERE m.direction = 'in' AND o.message_id IS NULL ORDER BY m.id"
        )
    bodies = [orjson.loads(office.home.hub.keys.open_("message", number, bytes(body))) for number, body in found]
    return [(body["event"], body["row"]) for body in bodies]


def refused(office: Office) -> list[str]:
    with office.home.hub.store.snapshot() as tx:
        return [reason for (reason,) in tx.many("SELECT reason FROM outcome WHERE state = 'refused' ORDER BY message_id")]


# ---------------------------------------------------------------------------------------------------- storage


def test_one_message_a_series_however_many_instances_and_restarts(tmp_path: Path) -> None:
    for run in range(2):
        with hub(tmp_path / "hub") as office, Modality(*office.address) as ct:
            assert ct.echo() == 0
            for number in range(1, 6):
                for series in (1, 2):
                    assert ct.store(instance(PATIENT, STUDY, series=series, number=number + 10 * run)) == 0
    with hub(tmp_path / "hub") as office:
        told = [(event, row["SeriesInstanceUID"]) for event, row in rows(office)]
        assert told == [("dicom.series", f"{STUDY}.1"), ("dicom.series", f"{STUDY}.2")]
        office.home.apply()
        assert office.home.unapplied() == []
        (study,) = office.home.resources("ImagingStudy")
        assert {one["uid"] for one in study["series"]} == {f"{STUDY}.1", f"{STUDY}.2"}
        assert "00012345" in office.home.known("Patient")


def test_a_corrected_header_is_news(office: Office) -> None:
    with Modality(*office.address) as ct:
        assert ct.store(instance(PATIENT, STUDY)) == 0
        assert ct.store(instance(PATIENT | {"AccessionNumber": "A-2"}, STUDY, number=2)) == 0
    assert [row["AccessionNumber"] for _, row in rows(office)] == ["A-1", "A-2"]
    assert office.home.alerts() == []


def test_a_header_that_is_corrected_back_is_news_on_every_process_and_after_a_restart(tmp_path: Path) -> None:
    """QC moves a study to another patient by mistake, forwards it, and moves it back."""
    right, wrong = PATIENT, PATIENT | {"PatientID": "00099999", "PatientName": "Kim^B"}
    with hub(tmp_path / "hub") as one, hub(tmp_path / "hub") as two, Modality(*one.address) as ct, Modality(*two.address) as qc:
        assert ct.store(instance(right, STUDY)) == 0
        assert [qc.store(instance(wrong, STUDY, number=n)) for n in (2, 3)] == [0, 0]
        time.sleep(TRUSTED)
        assert ct.store(instance(right, STUDY, number=4)) == 0
    with hub(tmp_path / "hub") as office:
        with Modality(*office.address) as ct:
            assert [ct.store(instance(one, STUDY, number=n)) for n, one in enumerate([right, wrong, right], 7)] == [0, 0, 0]
        told = [row["PatientID"] for _, row in rows(office)]
        assert told == [right["PatientID"], wrong["PatientID"]] * 2 + [right["PatientID"]]
        office.home.apply()
        assert office.home.alerts() == []
        with office.home.hub.store.snapshot() as tx:
            ((owner,),) = tx.many(
                "SELECT p.data FROM resource s JOIN resource p ON p.id = s.patient_id WHERE s.kind = 'ImagingStudy'"
            )
        assert right["PatientID"] in owner


def test_a_correction_is_seen_whatever_a_checksum_says(office: Office) -> None:
    """Sixteen bits of CRC-32, which once stood in the control id, are the same for both."""
    with Modality(*office.address) as ct:
        assert ct.store(instance(PATIENT, STUDY)) == 0
        ((event, row),) = rows(office)
        want = zlib.crc32(row_body(event, row)) & 0xFFFF
        numbers = (f"B{n}" for n in itertools.count())
        other = next(one for one in numbers if zlib.crc32(row_body(event, row | {"AccessionNumber": one})) & 0xFFFF == want)
        assert ct.store(instance(PATIENT | {"AccessionNumber": other}, STUDY, number=2)) == 0
    assert [row["AccessionNumber"] for _, row in rows(office)] == ["A-1", other]


def test_two_hubs_that_are_told_of_one_series_at_once_take_what_each_is_told(tmp_path: Path) -> None:
    """Another process stores a correction between our look and our commit: ours is decided anew."""
    with hub(tmp_path / "hub") as first, hub(tmp_path / "hub") as second:
        with Modality(*first.address) as ct:
            corrected = instance(PATIENT | {"AccessionNumber": "A-2"}, STUDY, number=2)
            memory = second.home.hub.memory(second.home.channel.name)
            second.stop()
            second.listener.remember_in(Torn(memory, lambda: ct.store(corrected)))  # type: ignore[attr-defined]
            second.start()
            with Modality(*second.address, seconds=20) as again:
                assert again.store(instance(PATIENT, STUDY)) == 0
        assert [row["AccessionNumber"] for _, row in rows(first)] == ["A-2", "A-1"]


@pytest.mark.parametrize(
    ("charset", "raw", "default"),
    [
        ("ISO_IR 192", "홍^길동".encode(), "cp949"),
        ("\\ISO 2022 IR 149", b"\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf", "cp949"),
        ("\\ISO 2022 IR 149", "홍^길동".encode("euc_kr"), "cp949"),
        ("ISO_IR 149", "홍^길동".encode("cp949"), "ISO_IR 192"),
        ("GB18030", "홍^길동".encode("gb18030"), "cp949"),
        ("", "홍^길동".encode("cp949"), "cp949"),
        ("ISO_IR 192", b"\x1b$)C" + "홍^길동".encode("cp949"), "cp949"),
    ],
)
@pytest.mark.usefixtures("dcmtk")
def test_dcmtk_stores_korean_in_every_character_set(tmp_path: Path, charset: str, raw: bytes, default: str) -> None:
    """The bytes are written as they stand: no library's idea of them is between dcmtk and us."""
    path = dicom_kit.image(tmp_path / "one.dcm", SpecificCharacterSet="ISO_IR 192", PatientName="N" * 64)
    data = path.read_bytes().replace(b"PN" + struct.pack("<H", 64) + b"N" * 64, b"PN" + struct.pack("<H", 64) + raw.ljust(64))
    declared = charset.encode().ljust(len(charset) + len(charset) % 2)
    data = data.replace(b"CS\x0a\x00ISO_IR 192", b"CS" + struct.pack("<H", len(declared)) + declared)
    path.write_bytes(data)
    with hub(tmp_path / "hub", charset=default) as office:
        told = dicom_kit.storescu(office.address[1], "HUB", [path])
        assert told.ok, told.text
        ((_, row),) = rows(office)
        assert row["PatientName"] == "홍^길동"


@pytest.mark.usefixtures("dcmtk")
def test_dcmtk_is_told_who_may_and_who_may_not(office: Office) -> None:
    port = office.address[1]
    assert dicom_kit.echoscu(port, "HUB").ok
    assert "Called AE Title Not Recognized" in dicom_kit.echoscu(port, "ANOTHER").text
    assert "Calling AE Title Not Recognized" in dicom_kit.echoscu(port, "HUB", calling="STRANGER").text
    assert "Calling AE Title Not Recognized" in dicom_kit.echoscu(port, "HUB", calling="FAR").text


def test_private_classes_and_compressed_pixels_are_taken_and_commitment_is_not_offered(office: Office) -> None:
    jpeg2000, private = "1.2.840.10008.1.2.4.90", "1.3.12.2.1107.5.9.1"
    with Modality(*office.address, storage=[CT_IMAGE, private], syntaxes=[jpeg2000, uid.DEFLATED_LITTLE]) as ct:
        assert {CT_IMAGE, private, modality.MPPS, modality.VERIFICATION} <= ct.offered()
        assert not {modality.COMMITMENT, modality.WORKLIST} & ct.offered()
        one = instance(PATIENT, STUDY)
        one.file_meta.TransferSyntaxUID = jpeg2000
        one["PixelData"].is_undefined_length = True
        one.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\x04\0\0\0abcd\xfe\xff\xdd\xe0\0\0\0\0"
        assert ct.store(one) == 0
    assert len(rows(office)) == 1


def test_what_can_never_be_taken_is_kept_and_said(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    with office.connect() as sock:
        row = dicom_wire.header("1", STUDY)
        no_study = {name: value for name, value in row.items() if name != "StudyInstanceUID"}
        bad_uid = row | {"SeriesInstanceUID": "../../etc/passwd"}
        for n, one in enumerate((no_study, bad_uid), 1):
            sock.sendall(dicom_wire.store(one, n))
        sock.sendall(dicom_wire.request(1, 3, dicom_wire.SECONDARY_CAPTURE, "1.2.3", b"\x08\x00\x05\x00CS\xff\xffAB"))
        sock.sendall(dicom_wire.request(1, 4, dicom_wire.SECONDARY_CAPTURE, "1.2.3"))
        assert dicom_wire.statuses(office.answer(sock, 4)) == [0xA900, 0xC000, 0xC000, 0xA900]
    assert rows(office) == []
    reasons = refused(office)
    assert "StudyInstanceUID is missing" in reasons[0]
    assert "(0020,000E) SeriesInstanceUID: no UID" in reasons[1]
    assert "(0008,0005) says 65535 bytes" in reasons[2]
    assert not any(secret in "".join(reasons) + caplog.text for secret in ("passwd", "Hong", "홍", "19870504"))


def test_a_flood_of_what_is_refused_does_not_fill_the_disk(office: Office) -> None:
    with office.connect() as sock:
        for n in range(1, 61):
            sock.sendall(dicom_wire.request(1, n, dicom_wire.SECONDARY_CAPTURE, "1.2.3", b"\x08\x00\x05\x00CS\xff\xffAB"))
            assert dicom_wire.statuses(office.answer(sock)) == [0xC000]
    assert 20 <= len(refused(office)) < 40


def test_orthanc_sends_a_study_on(orthanc: servers.Orthanc, tmp_path: Path) -> None:
    """Its own name for what is multi-valued in (0008,0005) does not cost a syllable."""
    names = {"\\ISO 2022 IR 149": "Hong^Gildong=洪^吉洞=홍^길동", "ISO_IR 192": "똠방^각하"}
    with hub(tmp_path / "hub", peers={orthanc.aet: "127.0.0.1"}) as office:
        orthanc.knows("HUB", office.address[1])
        for charset, name in names.items():
            path = dicom_kit.image(
                tmp_path / "one.dcm", SpecificCharacterSet=charset.split("\\"), PatientName=name, PatientID=name[-2:]
            )
            sent = httpx.post(f"{orthanc.url}/instances", content=path.read_bytes())
            told = httpx.post(f"{orthanc.url}/modalities/HUB/store", content=sent.raise_for_status().json()["ID"])
            assert told.raise_for_status().json()["FailedInstancesCount"] == 0
        assert [row["PatientName"] for _, row in rows(office)] == list(names.values())


def test_only_the_modality_whose_certificate_is_bound_is_heard(tmp_path: Path) -> None:
    """Mutual TLS, as PS3.15 annex B has it."""
    authority = Authority()
    files = {"tls_cert": "hub.pem", "tls_key": "hub.key", "tls_ca": "ca.pem"}
    pairs = {name: authority.issue(name) for name in ("127.0.0.1", "ct1", "ct2")}
    (tmp_path / "hub.pem").write_bytes(pairs["127.0.0.1"][0])
    (tmp_path / "hub.key").write_bytes(pairs["127.0.0.1"][1])
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    settings = {name: str(tmp_path / file) for name, file in files.items()}
    with hub(tmp_path / "hub", tls_peers=["ct1"], **settings) as office:
        for who in ("ct1", "ct2"):
            (tmp_path / f"{who}.pem").write_bytes(b"".join(pairs[who]))
            context = client_context(settings["tls_ca"], str(tmp_path / f"{who}.pem"))
            if who == "ct1":
                with Modality(*office.address, tls=context) as ct:
                    assert ct.store(instance(PATIENT, STUDY)) == 0
            else:
                with pytest.raises(NoAssociationError), Modality(*office.address, tls=context):
                    pass
        assert len(rows(office)) == 1


# ---------------------------------------------------------------------------------------------------- performed steps


def test_a_step_outlives_the_hub_and_is_final_once(tmp_path: Path) -> None:
    step = f"{STUDY}.9"
    with hub(tmp_path / "hub") as office, Modality(*office.address) as ct:
        assert ct.set_step(step_ended(STUDY), step) == 0x0112
        assert ct.create_step(step_begun(PATIENT, STUDY, "A-1", charset=KOREAN), step) == 0
        assert ct.create_step(step_begun(PATIENT, STUDY, "A-1", charset=KOREAN), step) == 0  # it did not hear our answer
        assert ct.create_step(step_begun(PATIENT, STUDY, "A-2", charset=KOREAN), step) == 0x0111
    with hub(tmp_path / "hub") as office, Modality(*office.address) as ct:
        assert ct.set_step(step_ended(STUDY, "PAUSED"), step) == 0x0106
        memory = office.home.hub.memory(office.home.channel.name)
        assert memory.recall(step).what["row"]["PatientID"] == PATIENT["PatientID"]
        assert ct.set_step(step_ended(STUDY), step) == 0
        assert ct.set_step(step_ended(STUDY), step) == 0
        assert memory.recall(step).n == 2
        assert memory.recall(step).what.keys() == {"last"}  # nothing of the patient any more
    with hub(tmp_path / "hub") as office, Modality(*office.address) as ct:
        assert ct.set_step(step_ended(STUDY, "DISCONTINUED"), step) == 0x0110
        told = rows(office)
        assert [(event, row["PerformedProcedureStepStatus"]) for event, row in told] == [
            ("dicom.mpps", "IN PROGRESS"), ("dicom.mpps", "COMPLETED"),
        ]  # fmt: skip
        assert told[1][1]["PatientName"] == PATIENT["PatientName"]
        assert told[1][1]["ScheduledStepAttributesSequence"][0]["StudyInstanceUID"] == STUDY
        assert told[1][1]["PerformedSeriesSequence"] == [{"SeriesInstanceUID": f"{STUDY}.1", "SeriesDescription": "Chest"}]
        office.home.apply()
        assert office.home.unapplied() == refused(office)
        assert [one["state"] for one in office.home.resources("ImagingStudy")] == ["completed"]
        assert [reason.partition(":")[0] for reason in refused(office)] == [
            "no N-CREATE of this step was heard", "this step was created before",
            "PerformedProcedureStepStatus is none of its three", "Performed Procedure Step Object may no longer be updated",
        ]  # fmt: skip


def test_a_step_must_begin_in_progress_and_name_its_study(office: Office) -> None:
    ended, unnamed, silent = (step_begun(PATIENT, STUDY, "A-1") for _ in range(3))
    ended.PerformedProcedureStepStatus = "COMPLETED"
    unnamed.ScheduledStepAttributesSequence = [Dataset()]
    del silent.PerformedProcedureStepStatus
    with Modality(*office.address) as ct:
        assert [ct.create_step(one, f"{STUDY}.8") for one in (ended, unnamed, silent)] == [0x0106, 0x0120, 0x0120]
        assert ct.create_step(step_begun(PATIENT, STUDY, "A-1"), None) == 0  # unnamed: the hub names it
    ((_, row),) = rows(office)
    assert row["SOPInstanceUID"].startswith("2.25.")


class Torn:
    """A memory that lets another hub process in between: what was recalled is no longer so when it is written."""

    def __init__(self, memory: Memory, between: Any) -> None:
        self._memory = memory
        self._between = between

    def recall(self, name: str) -> Any:
        found = self._memory.recall(name)
        if self._between is not None:
            between, self._between = self._between, None
            between()
        return found

    def mark(self, *what: Any) -> Any:
        return self._memory.mark(*what)


def test_two_hubs_that_are_told_of_one_step_decide_one_after_the_other(tmp_path: Path) -> None:
    """Another process ends the step between our look and our commit: the commit sees it, and ours is decided anew."""
    step = f"{STUDY}.7"
    with hub(tmp_path / "hub") as first, hub(tmp_path / "hub") as second:
        with Modality(*first.address) as ct:
            assert ct.create_step(step_begun(PATIENT, STUDY, "A-1"), step) == 0
            memory = second.home.hub.memory(second.home.channel.name)
            second.stop()
            second.listener.remember_in(Torn(memory, lambda: ct.set_step(step_ended(STUDY, "DISCONTINUED"), step)))  # type: ignore[attr-defined]
            second.start()
            with Modality(*second.address, seconds=20) as again:
                assert again.set_step(step_ended(STUDY, "COMPLETED"), step) == 0x0110
        assert [row["PerformedProcedureStepStatus"] for _, row in rows(first)] == ["IN PROGRESS", "DISCONTINUED"]


def test_while_the_store_is_not_there_nothing_is_taken(tmp_path: Path) -> None:
    class Away:
        def recall(self, name: str) -> Any:
            raise TryAgain("no database")

        mark = recall

    with hub(tmp_path / "hub") as office:
        office.stop()
        office.listener.remember_in(Away())  # type: ignore[attr-defined]
        office.start()
        with Modality(*office.address) as ct:
            assert ct.create_step(step_begun(PATIENT, STUDY, "A-1"), f"{STUDY}.6") == 0xA700
            assert ct.store(instance(PATIENT, STUDY)) == 0xA700
    assert rows(office) == []


# ---------------------------------------------------------------------------------------------------- who does not behave


def said(sock: socket.socket, seconds: float = 10.0) -> tuple[list[int], bool]:
    """The types of the PDUs that come back, and whether the other end then closed."""
    received, until = b"", time.monotonic() + seconds
    while time.monotonic() < until:
        sock.settimeout(max(until - time.monotonic(), 0.01))
        try:
            more = sock.recv(65536)
        except (TimeoutError, ConnectionError) as error:
            return [kind for kind, _ in dicom_wire.pdus(received)], isinstance(error, ConnectionError)
        if not more:
            return [kind for kind, _ in dicom_wire.pdus(received)], True
        received += more
    return [kind for kind, _ in dicom_wire.pdus(received)], False


GREETING = dicom_wire.associate()
STORE = dicom_wire.store(dicom_wire.header("1", STUDY), 1)


@pytest.mark.parametrize(
    ("sent", "kinds"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", [7]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", [7]),
        (dicom_wire.HUGE, [7]),
        (b"\x01\x00\xff\xff\xff\xff", [7]),  # an A-ASSOCIATE-RQ of 4 GB
        (STORE, [7]),  # without an association
        (GREETING[:20] + b"\xff" * (len(GREETING) - 20), [7]),
        (GREETING + dicom_wire.HUGE, [2, 7]),
        (GREETING + b"\x09\x00\x00\x00\x00\x04\x00\x00\x00\x00", [2, 7]),  # no such type
        (GREETING + GREETING, [2, 7]),
        (GREETING + b"\x04\x00\x00\x00\x00\x06\x00\x00\x00\x99\x01\x03", [2, 7]),  # a value longer than its PDU
        (GREETING + b"\x04\x00\x00\x00\x00\x08\x00\x00\x00\x04\x07\x03\x00\x00", [2, 7]),  # a context that was never accepted
        (GREETING + dicom_wire.RELEASE, [2, 6]),
        (dicom_wire.associate(called="ANOTHER"), [3]),
        (dicom_wire.associate(calling="STRANGER"), [3]),
    ],
)
def test_what_is_no_dicom_is_aborted_at_once(office: Office, sent: bytes, kinds: list[int]) -> None:
    with socket.create_connection(office.address) as sock:
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        assert said(sock) == (kinds, True)
    assert office.send(1)


def test_a_wrong_transfer_syntax_is_told_and_what_comes_in_its_context_is_not_read(office: Office) -> None:
    with Modality(*office.address, syntaxes=["1.2.3.4.5"]) as ct:
        assert CT_IMAGE not in ct.offered()
        with pytest.raises(ValueError, match="presentation context"):
            ct.store(instance(PATIENT, STUDY))
    assert rows(office) == []


def test_who_says_nothing_or_goes_on_for_ever_is_ended(tmp_path: Path) -> None:
    with hub(tmp_path / "hub", **QUICK) as office, contextlib.ExitStack() as held:
        begun = time.monotonic()
        for what in (b"", GREETING[:10], GREETING, GREETING + STORE[:10]):
            held.enter_context(socket.create_connection(office.address)).sendall(what)
        loris = held.enter_context(socket.create_connection(office.address))
        loris.sendall(GREETING)
        with contextlib.suppress(ConnectionError):
            for at in range(len(STORE)):
                loris.sendall(STORE[at : at + 1])
                time.sleep(0.05)
                if time.monotonic() - begun > 15:
                    break
        assert time.monotonic() - begun < 15, "a slow loris was read to its end"
        until = time.monotonic() + 10
        while office.listener.health().connections and time.monotonic() < until:
            time.sleep(0.05)
        assert office.listener.health().connections == 0
        assert office.send(1)


def test_silent_associations_keep_nobody_out_for_long_and_too_many_are_told(tmp_path: Path) -> None:
    with hub(tmp_path / "hub", max_associations=3) as office, contextlib.ExitStack() as held:
        for _ in range(3):
            sock = held.enter_context(socket.create_connection(office.address))
            sock.sendall(GREETING)
            sock.settimeout(5)
            assert sock.recv(65536)[0] == 2
        with socket.create_connection(office.address) as sock:
            sock.sendall(GREETING)
            assert said(sock) == ([3], True)
        office.listener._listener.limits = Limits(associations=3, spared_seconds=0.0)  # type: ignore[attr-defined]
        assert office.send(1)  # whoever has been silent longest gave way


def test_a_storm_of_aborts_leaves_nothing_behind(office: Office) -> None:
    def abort(n: int) -> None:
        with socket.create_connection(office.address) as sock:
            sock.sendall(GREETING + STORE[: n % len(STORE)])
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(abort, range(300)))
    until = time.monotonic() + 10
    while office.listener.health().connections and time.monotonic() < until:
        time.sleep(0.02)
    assert office.listener.health().connections == 0
    assert office.send(1)


@pytest.mark.parametrize(
    ("more", "said_"),
    [
        ({"peers": {}}, "peers is empty"),
        ({"peers": {"A" * 17: ""}}, "no AE title"),
        ({"peers": {"CT1": "ct1.example.org"}}, "address of CT1"),
        ({"ae_title": "A\\B"}, "no AE title"),
        ({"charset": "klingon"}, "charset"),
        ({"sop_classes": ["CT"]}, "no UID"),
        ({"tls_ca": "x.pem"}, "need tls_cert"),
    ],
)
def test_wrong_settings_are_told(more: dict[str, Any], said_: str) -> None:
    with pytest.raises(Misconfigured, match=said_):
        CASE.module.Settings.from_table({"port": 0, "peers": {"CT1": ""}, **more})
