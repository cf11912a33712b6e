"""The modality worklist as modalities ask for it: dcmtk's findscu, pynetdicom and our own SCU against orders of the hub."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import ModalityWorklistInformationFind
from sqlalchemy import update

from hub.adapters.pacs import worklist
from hub.codecs.dicom import columns, header, writer
from hub.db.tables import resource
from hub.domain.errors import Misconfigured, NotDelivered
from hub.domain.facts import Key
from hub.domain.ports import Received
from hub.sync.polled import row_body
from hub.transport.dicom_scu import WORKLIST, Association, ScuSettings, ask
from tests import dicom_kit, servers
from tests.hub_kit import Kit, make_kit
from tests.integration.test_worklist_orders import order, put

SEOUL = ZoneInfo("Asia/Seoul")
NAMES: list[list[dict[str, Any]]] = [
    [{"text": "홍길동", "family": "홍", "given": ["길동"]}],
    [
        {"text": "Hong Gildong", "family": "Hong", "given": ["Gildong"], "representation": "ABC"},
        {"text": "洪吉洞", "family": "洪", "given": ["吉洞"], "representation": "IDE"},
        {"text": "홍길동", "family": "홍", "given": ["길동"], "representation": "SYL"},
    ],
    [{"text": "남궁민수", "family": "남궁", "given": ["민수"]}],
    [{"text": "똠방각하"}],
]
PN = ["홍^길동", "Hong^Gildong=洪^吉洞=홍^길동", "남궁^민수", "똠방각하"]
STEP = "ScheduledProcedureStepSequence[0]"
MODALITIES = """
[channels.modalities]
adapter = "pacs.dicom_in"
system = "pacs"
port = 0
peers = { CT1 = "" }
"""


def today(days: int = 0, hour: int = 9) -> str:
    at = datetime.now(SEOUL).replace(hour=hour, minute=30, second=0, microsecond=0) + timedelta(days=days)
    return at.isoformat()


def day(days: int = 0) -> str:
    return f"{datetime.now(SEOUL) + timedelta(days=days):%Y%m%d}"


class Room:
    """A hub with orders and a worklist: four patients, an order each, on today and the days behind it."""

    def __init__(self, folder: Path, url: str, **more: Any) -> None:
        self.kit: Kit = make_kit(folder, url, more=MODALITIES)
        for n, names in enumerate(NAMES):
            patient = {
                "identifier": [{"assigner": "HOSP", "value": f"P{n}", "type": "MR"}],
                "name": names,
                "birthDate": "1987-05-04",
                "gender": "male",
            }
            whose = put(self.kit, "Patient", n + 1, patient, 0, "")
            at = today(n)
            wanted = {
                "occurrence": at,
                "modality": "MR" if n == 3 else "CT",
                "code": {"code": "CT001", "display": "흉부 CT", "system": "L"},
                "participant": [{"role": "requester", "name": "김의사"}],
                "priority": "stat",
                **({"station": "CT1"} if n == 0 else {}),
            }
            put(self.kit, "ServiceRequest", 100 + n, order(n, **wanted), int(datetime.fromisoformat(at).timestamp() * 1e6), whose)
        settings = worklist.Settings(
            port=0, ae_title="HUBWL", peers={"TEST": "127.0.0.0/8", "CT1": "", "HUB": ""}, assigner="HOSP", **more
        )
        self.listener = worklist.build(settings, "worklist")
        self.listener.look_up_in(self.kit.hub.lookup)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._do(self.listener.start(self.kit.intake))
        self.port = int(self.listener.health().address.rpartition(":")[2])

    def _do(self, what: Any) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    def close(self) -> None:
        self._do(self.listener.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.kit.close()

    def set(self, n: int, **more: Any) -> None:
        """An order says something else now."""
        id_ = self.kit.rows("SELECT resource_id FROM identifier WHERE value = ?", f"A{n}")[0][0]
        document = self.kit.resource(id_) | more
        with self.kit.hub.write_engine.begin() as conn:
            conn.execute(update(resource).where(resource.c.id == id_).values(data=orjson.dumps(document).decode()))

    def scu(self) -> ScuSettings:
        return ScuSettings(host="127.0.0.1", port=self.port, called_ae="HUBWL", timeout_seconds=5)

    def find(self, step: dict[str, str] | None = None, **keys: str) -> list[dict[str, Any]]:
        """By our own SCU."""
        asked: dict[str, Any] = {"PatientName": "", "PatientID": "", "AccessionNumber": "", "StudyInstanceUID": "", **keys}
        asked["ScheduledProcedureStepSequence"] = [
            {"Modality": "", "ScheduledStationAETitle": "", "ScheduledProcedureStepStartDate": "", **(step or {})}
        ]
        known = columns.columns(
            tuple(key for key in asked if key != "ScheduledProcedureStepSequence"),
            {"ScheduledProcedureStepSequence": tuple(asked["ScheduledProcedureStepSequence"][0])},
        )
        with Association(self.scu(), WORKLIST) as association:
            identifier = writer.data_set(asked, association.syntax(WORKLIST))
            return [header.read(one.data, one.syntax, known) for one in association.find(WORKLIST, identifier)]

    def found(self, step: dict[str, str] | None = None, **keys: str) -> set[str]:
        return {row["PatientID"] for row in self.find(step, **keys)}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    folder = tmp_path_factory.mktemp("worklist")
    made = Room(folder, f"sqlite:///{folder}/hub.db")
    yield made
    made.close()


def test_what_matches_comes_and_nothing_else(room: Room) -> None:
    everybody = {"P0", "P1", "P2", "P3"}
    assert room.found() == everybody
    date, modality, station = "ScheduledProcedureStepStartDate", "Modality", "ScheduledStationAETitle"
    assert room.found({date: day()}) == {"P0"}
    assert room.found({date: f"{day(1)}-{day(2)}"}) == {"P1", "P2"}
    assert room.found({date: f"{day(2)}-"}) == {"P2", "P3"}
    assert room.found({date: f"-{day(0)}"}) == {"P0"}
    assert room.found({date: f"{day()}-{day(1)}", "ScheduledProcedureStepStartTime": "1000-0900"}) == set()
    assert room.found({date: f"{day()}-{day(1)}", "ScheduledProcedureStepStartTime": "0900-0900"}) == {"P0"}
    assert room.found({date: day(), "ScheduledProcedureStepStartTime": "0900-1000"}) == {"P0"}
    assert room.found({modality: "MR"}) == {"P3"}
    assert room.found({station: "CT1", modality: "CT"}) == {"P0", "P1", "P2"}  # those of no station are everybody's
    assert room.found({station: "CT2", modality: "CT"}) == {"P1", "P2"}
    assert room.found(PatientID="P1") == {"P1"}
    assert room.found(PatientID="P*") == everybody
    assert room.found(AccessionNumber="A2") == {"P2"}
    assert room.found(RequestedProcedureID="A2") == {"P2"}
    assert room.found(PatientName="홍*") == {"P0", "P1"}
    assert room.found(PatientName="*길동") == {"P0", "P1"}
    assert room.found(PatientName="홍길동") == {"P0", "P1"}
    assert room.found(PatientName="hong^*") == {"P1"}
    assert room.found(PatientName="남궁?수") == {"P2"}
    assert room.found(PatientName="똠*") == {"P3"}
    assert room.found(PatientSex="F") == set()
    assert room.found(PatientBirthDate="19870504") == everybody


def test_names_come_in_the_character_set_that_is_asked_for(room: Room) -> None:
    assert {row["PatientID"]: row["PatientName"] for row in room.find()} == {f"P{n}": name for n, name in enumerate(PN)}
    korean = {row["PatientID"]: row["PatientName"] for row in room.find(SpecificCharacterSet="\\ISO 2022 IR 149")}
    assert korean == {f"P{n}": name for n, name in enumerate(PN)}  # and where KS X 1001 lacks a syllable, in UTF-8


def test_findscu_reads_the_worklist(room: Room, tmp_path: Path) -> None:
    keys = {
        "PatientName": "",
        "PatientID": "P1",
        "PatientBirthDate": "",
        "PatientSex": "",
        "AccessionNumber": "",
        "StudyInstanceUID": "",
        "RequestedProcedureDescription": "",
        "RequestedProcedureID": "",
        "RequestedProcedurePriority": "",
        "ReferringPhysicianName": "",
        f"{STEP}.Modality": "CT",
        f"{STEP}.ScheduledStationAETitle": "",
        f"{STEP}.ScheduledProcedureStepStartDate": "",
        f"{STEP}.ScheduledProcedureStepStartTime": "",
        f"{STEP}.ScheduledProcedureStepID": "",
        f"{STEP}.ScheduledProcedureStepDescription": "",
    }
    try:
        (found,) = dicom_kit.findscu(room.port, "HUBWL", keys, tmp_path)
    except servers.NotInstalledError as missing:
        pytest.skip(str(missing))
    step = found.ScheduledProcedureStepSequence[0]
    assert (found.SpecificCharacterSet, str(found.PatientName)) == ("ISO_IR 192", PN[1])
    assert (found.PatientBirthDate, found.PatientSex, found.AccessionNumber) == ("19870504", "M", "A1")
    assert (found.RequestedProcedureDescription, found.RequestedProcedurePriority) == ("흉부 CT", "STAT")
    assert str(found.ReferringPhysicianName) == "김의사"
    assert found.StudyInstanceUID == f"2.25.{101}"  # the UUID of the order, as PS3.5 B.2 writes one
    assert (step.Modality, step.ScheduledStationAETitle, step.ScheduledProcedureStepStartDate) == ("CT", "TEST", day(1))
    assert (step.ScheduledProcedureStepStartTime, step.ScheduledProcedureStepID) == ("093000", "A1")


def test_pynetdicom_asks_with_universal_keys_and_without_a_step(room: Room) -> None:
    ae = AE(ae_title="CT1")
    ae.add_requested_context(ModalityWorklistInformationFind)
    association = ae.associate("127.0.0.1", room.port, ae_title="HUBWL")
    assert association.is_established
    asked = Dataset()
    asked.PatientName, asked.PatientID = "", "P0"
    answers = list(association.send_c_find(asked, ModalityWorklistInformationFind))
    assert [status.Status for status, _ in answers] == [0xFF00, 0x0000]
    assert str(answers[0][1].PatientName) == PN[0]
    asked.ScheduledProcedureStepSequence = []
    answers = list(association.send_c_find(asked, ModalityWorklistInformationFind))
    assert answers[0][1].ScheduledProcedureStepSequence[0].ScheduledStationAETitle == "CT1"
    association.release()


def test_who_may_not_ask_is_rejected(room: Room) -> None:
    with pytest.raises(Misconfigured, match="STRANGER"):
        ask(ScuSettings(host="127.0.0.1", port=room.port, called_ae="HUBWL", calling_ae="STRANGER"), (WORKLIST,))
    with pytest.raises(Misconfigured, match="ELSE"):
        ask(ScuSettings(host="127.0.0.1", port=room.port, called_ae="ELSE"), (WORKLIST,))
    assert "C-ECHO" in ask(room.scu(), (WORKLIST,))


def test_what_is_cancelled_or_performed_is_gone_at_once(tmp_path: Path) -> None:
    room = Room(tmp_path, f"sqlite:///{tmp_path}/hub.db")
    try:
        room.set(0, status="revoked")
        room.set(1, state="completed")
        room.set(2, state="in-progress")
        began = time.monotonic()
        assert room.found() == {"P2", "P3"}
        assert time.monotonic() - began < 1
        (started,) = room.find({"ScheduledProcedureStepStatus": "STARTED"})
        assert started["PatientID"] == "P2"
    finally:
        room.close()


def test_every_answer_is_recorded_before_it_goes_out(room: Room) -> None:
    def entries() -> list[tuple[Any, ...]]:
        return room.kit.rows("SELECT actor, channel, detail FROM entry WHERE action = 'patient.searched' ORDER BY id")

    before = len(entries())
    room.found(PatientID="P1")
    room.found(PatientID="P99")
    told, nobody = entries()[before:]
    patient = room.kit.patient_id("P1")
    assert told[0] == "peer:HUB"
    assert told[1] == "worklist"
    assert patient in str(told[2])
    assert "dicom.worklist" in str(told[2])
    assert "PatientID" in str(told[2])
    assert patient not in str(nobody[2])


def test_more_than_are_told_at_once_is_said_and_a_cancel_is_heard(tmp_path: Path) -> None:
    room = Room(tmp_path, f"sqlite:///{tmp_path}/hub.db", most=2)
    try:
        with pytest.raises(NotDelivered) as caught:
            room.find()
        assert caught.value.code == "status_a700"
        with Association(room.scu(), WORKLIST) as association:
            matches = association.find(WORKLIST, writer.data_set({"PatientID": ""}, association.syntax(WORKLIST)))
            next(matches)
            matches.close()
            again = association.find(WORKLIST, writer.data_set({"PatientID": "P1"}, association.syntax(WORKLIST)))
            assert len(list(again)) == 1
    finally:
        room.close()


OMI = """MSH|^~\\&|OCS|HOSP|HUB|HOSP|20261122090000||OMI^O23^OMI_O23|{control}|P|2.5.1|||||KOR|UNICODE UTF-8
PID|1||77^^^HOSP^MR||남궁^민수||19870504|M
ORC|{order}|PL77|FL77||{status}|||||||||20261122090000
TQ1|1||||||{at}||R
OBR|1|PL77|FL77|CT001^흉부 CT^L
IPC|ACC77|RP77|1.2.410.99.77|SPS77|CT||||CT1
"""


def test_an_order_of_the_ocs_stands_in_the_worklist_until_it_is_cancelled(tmp_path: Path) -> None:
    room = Room(tmp_path, f"sqlite:///{tmp_path}/hub.db")
    try:
        at = datetime.now(SEOUL).strftime("%Y%m%d1030")
        room.kit.tell(OMI.format(control="1", order="NW", status="SC", at=at).replace("\n", "\r").encode())
        (row,) = room.find({"Modality": "CT", "ScheduledProcedureStepStartDate": day()}, PatientID="77")
        assert row["PatientName"] == "남궁^민수"
        assert (row["AccessionNumber"], row["StudyInstanceUID"]) == ("ACC77", "1.2.410.99.77")
        assert row["ScheduledProcedureStepSequence"][0]["ScheduledStationAETitle"] == "CT1"
        room.kit.tell(OMI.format(control="2", order="CA", status="CA", at=at).replace("\n", "\r").encode())
        assert room.find(PatientID="77") == []
    finally:
        room.close()


def test_an_order_without_numbers_gets_them_and_is_found_by_them_when_it_was_performed(tmp_path: Path) -> None:
    """The worklist gives study UID and accession number; MPPS brings them back, and the order is off the list."""
    room = Room(tmp_path, f"sqlite:///{tmp_path}/hub.db")
    try:
        at = datetime.now(SEOUL).strftime("%Y%m%d1030")
        modality = OMI.replace("IPC|ACC77|RP77|1.2.410.99.77|SPS77|CT||||CT1", "IPC|||||CT")
        room.kit.tell(modality.format(control="2", order="NW", status="SC", at=at).replace("\n", "\r").encode())
        (row,) = room.find(PatientID="77")
        study, accession = row["StudyInstanceUID"], row["AccessionNumber"]
        assert study.startswith("2.25.")
        (again,) = room.find(PatientID="77", StudyInstanceUID=study)
        assert again["StudyInstanceUID"] == study
        assert [row["StudyInstanceUID"] for row in room.find(AccessionNumber=accession)] == [study]
        step = {
            "SOPInstanceUID": "1.2.9.1",
            "PerformedProcedureStepStatus": "IN PROGRESS",
            "PatientID": "77",
            "Modality": "CT",
            "ScheduledStepAttributesSequence": [{"StudyInstanceUID": study, "AccessionNumber": accession}],
        }
        perform(room.kit, step, 1)
        (started,) = room.find({"ScheduledProcedureStepStatus": "STARTED"}, PatientID="77")
        assert started["StudyInstanceUID"] == study
        perform(room.kit, step | {"PerformedProcedureStepStatus": "COMPLETED"}, 2)
        assert room.find(PatientID="77") == []
        (order_,) = room.kit.owned("77", "ServiceRequest")
        assert order_["state"] == "completed"
        assert study in {one["value"] for one in order_["identifier"]}
    finally:
        room.close()


def perform(kit: Kit, step: dict[str, Any], n: int) -> None:
    """What a modality says by MPPS, as its listener stores it."""
    body = row_body("dicom.mpps", step)
    told = Received("modalities", body, "CT1", str(n), "dicom.mpps", Key("HOSP", "77"), charset="utf-8")
    kit.intake.store([told])
    kit.apply()
