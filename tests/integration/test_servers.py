"""The servers that other tests stand on: they come up, take a database each, and go again."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import psycopg
import pytest

from hub.simulator.certificates import Authority
from tests import dicom_kit, servers


@pytest.mark.postgres
def test_a_fresh_database_is_empty_and_korean_survives(postgres_url: str) -> None:
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        row = connection.execute(
            "SELECT %s, (SELECT count(*) FROM pg_stat_user_tables)", ["똠방각하 펲시콜라 뷁 洪吉洞"]
        ).fetchone()
    assert row == ("똠방각하 펲시콜라 뷁 洪吉洞", 0)


@pytest.mark.redis
def test_redis_answers_and_forgets(redis: servers.Redis) -> None:
    with socket.create_connection(("127.0.0.1", redis.port), 5) as sock:
        sock.sendall(b"SET a 1\r\n")
        assert sock.recv(64) == b"+OK\r\n"
        redis.flush()
        sock.sendall(b"GET a\r\n")
        assert sock.recv(64) == b"$-1\r\n"


@pytest.mark.redis
def test_a_stopped_server_is_gone() -> None:
    server = servers.Redis().start()
    pid = server.process.pid
    server.stop()
    assert server.process.poll() is not None
    assert not server.folder.exists()
    assert pid > 0


def test_the_fhir_server_keeps_versions_and_pages(fhir_server: servers.FhirServer) -> None:
    with httpx.Client(base_url=fhir_server.url, timeout=10) as http:
        patient = {
            "resourceType": "Patient",
            "identifier": [{"system": "urn:t", "value": "펲-1"}],
            "name": [{"text": "똠방각하"}],
        }
        made = http.post("/Patient", json=patient, headers={"If-None-Exist": quote("identifier=urn:t|펲-1", safe="=")})
        assert (made.status_code, made.json()["name"]) == (201, patient["name"])
        assert made.headers["location"].startswith(f"{fhir_server.url}/Patient/{made.json()['id']}/_history/")
        again = http.post("/Patient", json=patient, headers={"If-None-Exist": quote("identifier=urn:t|펲-1", safe="=")})
        assert (again.status_code, again.json()["id"]) == (200, made.json()["id"])
        where, changed = f"/Patient/{made.json()['id']}", made.json() | {"active": True}
        assert http.put(where, json=changed, headers={"If-Match": 'W/"another"'}).status_code == 412
        assert http.put(where, json=changed, headers={"If-Match": made.headers["etag"]}).status_code == 200
        assert http.get(where).headers["etag"] != made.headers["etag"]
        found = http.post("/Patient/_search", data={"identifier": "urn:t|펲-1"}).json()
        assert [one["resource"]["active"] for one in found["entry"]] == [True]
        for number in range(5):
            http.post("/Slot", json={"resourceType": "Slot", "comment": str(number)})
        page, seen = http.get("/Slot", params={"_count": 2, "_sort": "_lastUpdated"}).json(), []
        while True:
            seen += [one["resource"]["comment"] for one in page["entry"]]
            links = {one["relation"]: one["url"] for one in page["link"]}
            if "next" not in links:
                break
            page = http.get(links["next"]).json()
        assert seen == ["0", "1", "2", "3", "4"]


def test_the_pacs_stores_finds_and_says_what_changed(orthanc: servers.Orthanc, tmp_path: Path) -> None:
    """Each of its doors once: C-ECHO, C-STORE, C-FIND, QIDO-RS, /changes, and worklists; Korean names in and out."""
    name, uid = "Ddom^Bang=똠방^각하=펲시^콜라", "1.2.3.4.1"
    file = dicom_kit.image(tmp_path / "a.dcm", PatientName=name, PatientID="S-똠", StudyInstanceUID=uid, AccessionNumber="S1")
    assert dicom_kit.echoscu(orthanc.port, orthanc.aet).ok
    assert not dicom_kit.echoscu(orthanc.port, "ANOTHER").ok
    stored = dicom_kit.storescu(orthanc.port, orthanc.aet, [file])
    assert stored.ok, stored.text
    orthanc.knows("FINDER")
    keys = {"QueryRetrieveLevel": "STUDY", "PatientName": "", "StudyInstanceUID": uid}
    (tmp_path / "found").mkdir()
    [found] = dicom_kit.findscu(orthanc.port, orthanc.aet, keys, tmp_path / "found", model="-S", calling="FINDER")
    assert str(found.PatientName) == name
    with httpx.Client(timeout=10) as http:
        [study] = http.get(f"{orthanc.dicomweb}/studies", params={"AccessionNumber": "S1"}).json()
        assert study["00100010"]["Value"][0] == {
            "Alphabetic": "Ddom^Bang", "Ideographic": "똠방^각하", "Phonetic": "펲시^콜라",
        }  # fmt: skip
        changes = http.get(f"{orthanc.url}/changes", params={"limit": 1000}).json()["Changes"]
    assert {"NewPatient", "NewStudy", "NewSeries", "NewInstance"} <= {one["ChangeType"] for one in changes}


WORKLIST = """(0008,0005) CS [ISO_IR 192]
(0010,0010) PN [Hong^Gildong=홍^길동]
(0010,0020) LO [W-1]
(0020,000d) UI [1.2.3.4.2]
(0040,0100) SQ
(fffe,e000) -
(0008,0060) CS [CT]
(0040,0001) AE [CT01]
(0040,0002) DA [20260301]
(0040,0003) TM [101500]
(fffe,e00d) -
(fffe,e0dd) -
(0040,1001) SH [RP1]""".splitlines()


@pytest.fixture
def worklist_server() -> Iterator[servers.Wlmscpfs]:
    try:
        server = servers.Wlmscpfs().start()
    except servers.NotInstalledError as missing:
        pytest.skip(str(missing))
    yield server
    server.stop()


def test_two_worklist_servers_say_the_same(orthanc: servers.Orthanc, worklist_server: servers.Wlmscpfs, tmp_path: Path) -> None:
    orthanc.knows("FINDER")
    for server in (orthanc, worklist_server):
        dicom_kit.dump2dcm(WORKLIST, server.worklists / "one.wl")
        answers = tmp_path / server.aet
        answers.mkdir()
        keys = {"PatientName": "", "PatientID": "", "ScheduledProcedureStepSequence[0].Modality": "CT"}
        [item] = dicom_kit.findscu(server.port, server.aet, keys, answers, calling="FINDER")
        assert (str(item.PatientName), item.PatientID) == ("Hong^Gildong=홍^길동", "W-1")


def test_a_pacs_behind_tls_and_a_password(tmp_path: Path) -> None:
    authority = Authority()
    try:
        server = servers.Orthanc(authority=authority, users={"hub": "secret"}, clients=True).start()
    except servers.NotInstalledError as missing:
        pytest.skip(str(missing))
    try:
        certificate, key = authority.issue("127.0.0.1")
        paths = [tmp_path / name for name in ("key.pem", "cert.pem", "ca.pem")]
        for path, content in zip(paths, (key, certificate, authority.pem), strict=True):
            path.write_bytes(content)
        tls = ["+tls", str(paths[0]), str(paths[1]), "+cf", str(paths[2])]
        assert not dicom_kit.echoscu(server.port, server.aet).ok
        told = dicom_kit.echoscu(server.port, server.aet, *tls)
        assert told.ok, told.text
        assert not dicom_kit.echoscu(server.port, server.aet, "+tla", "+cf", str(paths[2])).ok  # no certificate of ours
        assert httpx.get(f"{server.url}/system").status_code == 401
        assert httpx.get(f"{server.url}/system", auth=("hub", "secret")).json()["DicomAet"] == "ORTHANC"
        server.knows("FINDER")
    finally:
        server.stop()
