"""A PACS that is not ours, asked: Orthanc by C-FIND, by its log of changes, and by QIDO-RS; dcmtk's worklist server, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.adapters.pacs import dicom_poll, dicomweb_poll, orthanc
from hub.codecs.dicom import columns, header, writer
from hub.domain.errors import Misconfigured, Refused
from hub.testing.home import Home
from hub.transport.dicom_scu import STUDY_ROOT, VERIFICATION, WORKLIST, Association, ScuSettings
from tests import dicom_kit, servers

# Each name in the character sets that can say it: KS X 1001 has no 똠 and no 뷁, but cp949 has
NAMES = [
    ("ISO_IR 192", "홍길동"),
    ("ISO_IR 192", "똠방각하^펲시콜라=뷁"),
    ("ISO_IR 192", "NamKung^MinSoo=南宮^民秀=남궁^민수"),
    ("\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞=홍^길동"),
    ("\\ISO 2022 IR 149", "남궁^민수"),
]


@pytest.fixture(scope="module", params=["Utf8", "Korean"])
def pacs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Orthanc]:
    """With a study for each name; it answers in UTF-8, and in ISO 2022 IR 149."""
    folder = tmp_path_factory.mktemp("images")
    try:
        server = servers.Orthanc(encoding=request.param).start()
    except servers.NotInstalledError as error:
        pytest.skip(str(error))
    try:
        server.knows("HUB")
        for n, (charset, name) in enumerate(NAMES):
            store(
                server,
                folder / f"{n}.dcm",
                SpecificCharacterSet=charset,
                PatientName=name,
                PatientID=f"P{n}",
                StudyInstanceUID=uid(n),
            )
        yield server
    finally:
        server.stop()


def uid(n: int) -> str:
    return f"1.2.410.200010.7.{n}"


def store(server: servers.Orthanc, path: Path, **elements: Any) -> str:
    """Orthanc's id of the study."""
    answer = httpx.post(f"{server.url}/instances", content=dicom_kit.image(path, **elements).read_bytes(), timeout=10)
    answer.raise_for_status()
    return str(answer.json()["ParentStudy"])


def scu(server: servers.Orthanc) -> ScuSettings:
    return ScuSettings(host="127.0.0.1", port=server.port, called_ae=server.aet, timeout_seconds=10)


def test_korean_names_come_as_they_are_by_c_find(pacs: servers.Orthanc) -> None:
    asked = dict.fromkeys(columns.STUDY, "") | {"QueryRetrieveLevel": "STUDY"}
    with Association(scu(pacs), STUDY_ROOT) as association:
        identifier = writer.data_set(asked, association.syntax(STUDY_ROOT))
        rows = [dicom_poll.read(match, "").row for match in association.find(STUDY_ROOT, identifier)]
        assert {row["PatientID"]: row["PatientName"] for row in rows} == {f"P{n}": name for n, (_, name) in enumerate(NAMES)}
        hangul = writer.data_set(asked | {"PatientName": "*길동*"}, association.syntax(STUDY_ROOT))
        assert {dicom_poll.read(match, "").row["PatientID"] for match in association.find(STUDY_ROOT, hangul)} == {"P0", "P3"}


def test_a_hub_polls_and_loads_orthanc(pacs: servers.Orthanc, tmp_path: Path) -> None:
    table = {
        "adapter": "pacs.dicom_poll", "system": "pacs", "host": "127.0.0.1", "port": pacs.port, "called_ae": pacs.aet,
        "since": "2026-02-27", "window_days": 3650, "poll_seconds": 0.1,
    }  # fmt: skip
    settings = dicom_poll.Settings.from_table({key: value for key, value in table.items() if key not in ("adapter", "system")})
    source = dicom_poll.build(settings)
    assert "C-ECHO" in source.ping()
    with Home(tmp_path / "hub", table) as home:
        feed = home.poller()._feed
        feed.looking()
        assert source.request(feed, "ImagingStudy", uid(1), ["StudyInstanceUID"]) == 1
        loaded = list(source.load(feed, "ImagingStudy", [], ""))
        assert sum(one.read for one in loaded) == len(NAMES)
        assert sum(one.told for one in loaded) == len(NAMES) - 1  # one was known
        assert sum(one.told for one in source.load(feed, "ImagingStudy", [], "2026-03-01")) == 0
        assert len(home.messages()) == len(NAMES)


def test_an_ae_title_that_orthanc_does_not_know_is_told(pacs: servers.Orthanc) -> None:
    with pytest.raises(Misconfigured, match="NOTHERE"):
        dicom_poll.ask(ScuSettings(host="127.0.0.1", port=pacs.port, called_ae="NOTHERE"))


@pytest.fixture(scope="module")
def wlm() -> Iterator[servers.Wlmscpfs]:
    try:
        server = servers.Wlmscpfs().start()
    except servers.NotInstalledError as error:
        pytest.skip(str(error))
    yield server
    server.stop()


@pytest.mark.parametrize("charset", ["ISO_IR 192", "\\ISO 2022 IR 149"])
def test_dcmtks_worklist_is_read_by_our_scu(wlm: servers.Wlmscpfs, charset: str) -> None:
    name = "Hong^Gildong=洪^吉洞=홍^길동"
    row = {
        "SpecificCharacterSet": "ISO_IR 192", "PatientName": name, "PatientID": "100", "StudyInstanceUID": "1.2.3",
        "AccessionNumber": "A1", "PatientBirthDate": "19870504", "PatientSex": "M", "RequestedProcedureID": "R1",
        "RequestedProcedureDescription": "흉부 CT",
        "ScheduledProcedureStepSequence": [
            {"Modality": "CT", "ScheduledStationAETitle": "CT1", "ScheduledProcedureStepStartDate": "20260301",
             "ScheduledProcedureStepStartTime": "0900", "ScheduledProcedureStepID": "S1"}
        ],
    }  # fmt: skip
    body = writer.data_set(
        {key: value for key, value in row.items() if key != "SpecificCharacterSet"},
        "1.2.840.10008.1.2.1",
        tuple(charset.split("\\")),
    )
    meta = writer.data_set(
        {
            "FileMetaInformationVersion": b"\0\1",
            "MediaStorageSOPClassUID": WORKLIST,
            "MediaStorageSOPInstanceUID": "1.2.9",
            "TransferSyntaxUID": "1.2.840.10008.1.2.1",
        },
        "1.2.840.10008.1.2.1",
    )
    meta = meta[: meta.index(b"\x08\x00\x05\x00")]
    (wlm.worklists / "one.wl").write_bytes(
        bytes(128) + b"DICM" + b"\x02\0\0\0UL\4\0" + len(meta).to_bytes(4, "little") + meta + body
    )
    settings = ScuSettings(host="127.0.0.1", port=wlm.port, called_ae=wlm.aet, timeout_seconds=10)
    keys: dict[str, Any] = dict.fromkeys(row, "") | {
        "ScheduledProcedureStepSequence": [{"Modality": "CT", "ScheduledStationAETitle": ""}]
    }
    with Association(settings, WORKLIST) as association:
        identifier = writer.data_set(keys, association.syntax(WORKLIST))
        (match,) = association.find(WORKLIST, identifier)
    found = header.read(match.data, match.syntax, columns.columns(("PatientName", "PatientID", "RequestedProcedureDescription")))
    assert found == {"PatientName": name, "PatientID": "100", "RequestedProcedureDescription": "흉부 CT"}


def test_what_dcmtks_worklist_does_not_offer_is_told(wlm: servers.Wlmscpfs) -> None:
    settings = ScuSettings(host="127.0.0.1", port=wlm.port, called_ae=wlm.aet, timeout_seconds=10)
    with pytest.raises(Refused, match="Study Root"), Association(settings, VERIFICATION, STUDY_ROOT):
        pass


def hub_of(folder: Path, server: servers.Orthanc, adapter: str, url: str, **more: Any) -> Home:
    return Home(folder, {"adapter": adapter, "system": "pacs", "url": url, "poll_seconds": 0.1, **more})


def told(home: Home) -> list[str]:
    """What is wrong, after a poll."""
    poller = home.poller()
    poller.round()
    poller._close()
    return home.alerts()


def test_orthancs_log_is_followed_over_restarts_and_a_new_beginning(tmp_path: Path) -> None:
    server = servers.Orthanc(users={"hub": "secret"})
    try:
        server.start()
    except servers.NotInstalledError as error:
        pytest.skip(str(error))
    (tmp_path / "password").touch(0o600)
    (tmp_path / "password").write_text("secret")
    more = {
        "user": "hub",
        "password": {"file": str(tmp_path / "password")},
        "changes": ["NewStudy"],
        "gone_event": "dicom.study_gone",
    }
    try:
        client = httpx.Client(base_url=server.url, auth=("hub", "secret"), timeout=10)

        def put(n: int, **elements: Any) -> str:
            file = dicom_kit.image(
                tmp_path / f"{n}-{len(elements)}.dcm",
                PatientID=f"P{n}",
                PatientName=NAMES[n % 3][1],
                StudyInstanceUID=uid(n),
                AccessionNumber=f"A{n}",
                **elements,
            )
            return str(client.post("/instances", content=file.read_bytes()).json()["ParentStudy"])

        with hub_of(tmp_path / "hub", server, "pacs.orthanc", server.url, **more | {"count": 3, "sweep_seconds": 1}) as home:
            first = put(1)
            put(2)
            assert told(home) == []
            assert [number for _, number in home.messages()] == ["P1", "P2"]
            assert told(home) == []  # built anew: it goes on where it was
            put(3)
            assert told(home) == []
            client.delete("/changes").raise_for_status()
            put(4)
            assert told(home) == []
            assert [number for _, number in home.messages()] == ["P1", "P2", "P3", "P4"]
            client.delete(f"/studies/{first}").raise_for_status()
            home.poller()._feed.keep("swept", "1")
            assert told(home) == []
            assert [kind for kind, _ in home.messages()][-1] == "dicom.study_gone"
            home.apply()
            assert home.unapplied() == []
            statuses = {one["identifier"][0]["value"]: one for one in home.resources("ImagingStudy")}
            assert set(statuses) == {uid(2), uid(3), uid(4)}
            assert statuses[uid(2)]["modality"] == ["CT"]
            source = orthanc.build(orthanc.Settings(url=server.url, user="hub", password="secret"))
            feed = home.poller()._feed
            assert source.total("ImagingStudy", []) == 3
            assert [one.told for one in source.load(feed, "ImagingStudy", [], "")] == [0]
            assert source.request(feed, "ImagingStudy", "A3", ["AccessionNumber"]) == 1
            assert "1.10" in source.ping()
            feed.keep("changes", "999999 another database")
            assert told(home) == []
            assert len(home.messages()) == 5  # read again from the beginning: all known
    finally:
        server.stop()


def test_qido_gives_what_c_find_gives(pacs: servers.Orthanc, tmp_path: Path) -> None:
    with hub_of(tmp_path / "hub", pacs, "pacs.dicomweb_poll", pacs.dicomweb, count=2, since="2026-02-27") as home:
        source = dicomweb_poll.build(dicomweb_poll.Settings(url=pacs.dicomweb, count=2, since="2026-02-27"))
        assert "QIDO" in source.ping()
        rows = {str(one.row["PatientID"]): one.row for one in source._find({"StudyDate": "20260301"})}
        assert {key: row["PatientName"] for key, row in rows.items()} == {f"P{n}": name for n, (_, name) in enumerate(NAMES)}
        by_find = {
            str(one.row["PatientID"]): one.row
            for one in dicom_poll.find(
                dicom_poll.Settings(host="127.0.0.1", port=pacs.port, called_ae=pacs.aet), {"StudyDate": "20260301"}
            )
        }
        assert rows == by_find
        feed = home.poller()._feed
        feed.looking()
        assert sum(one.told for one in source.load(feed, "ImagingStudy", [], "")) == len(NAMES)
        assert source.request(feed, "ImagingStudy", uid(1), ["StudyInstanceUID"]) == 1
        with pytest.raises(Misconfigured, match="access logs"):
            source.request(feed, "Patient", "P1", ["PatientID"])
        home.apply()
        assert home.unapplied() == []
        assert home.known("Patient") == {f"P{n}" for n in range(len(NAMES))}
