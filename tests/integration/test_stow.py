"""pacs.dicomweb_in: what may be stored at the hub's own address by STOW-RS, by whom, what it is answered, and what it costs."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient

from hub.bootstrap import open_hub
from hub.config import load
from hub.db.crypt import KeyRing
from hub.domain.errors import TryAgain
from hub.testing.home import _empty
from hub.web.app import create_app
from hub.web.serve import web_hub
from tests.dicom_kit import image

CONFIG = """[hub]
name = "test hub"
assigner = "HOSP"
[database]
url = "sqlite:///hub.db"
[channels.pacs]
adapter = "pacs.dicomweb_in"
system = "pacs"
tokens = ["pacs"]
[channels.emr]
adapter = "emr.fhir_in"
system = "emr"
tokens = ["emr"]
"""
NAME = "Hong^Gildong=洪^吉洞=홍^길동"


class Web:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "hub.toml").write_text(CONFIG, encoding="utf-8")
        KeyRing.create(folder / "secrets")
        (folder / "hub.db").write_bytes(_empty())
        self.hub = open_hub(load(folder / "hub.toml"))
        self.web = web_hub(self.hub)
        roles: list[tuple[str, Any]] = [("pacs", "sender"), ("emr", "sender"), ("nobody", "sender"), ("crm", "crm")]
        self.secrets = {name: self.web.access.create_token(name, role, now=0)[1] for name, role in roles}
        self.client = TestClient(create_app(self.web), raise_server_exceptions=False)

    def post(self, content: Any, media: str, name: str = "pacs", study: str = "", **headers: str) -> Any:
        more = {"Authorization": f"Bearer {self.secrets[name]}", "Content-Type": media, **headers}
        return self.client.post(f"/dicom-web/studies{study}", content=content, headers=more)

    def store(self, *instances: bytes, **more: Any) -> Any:
        return self.post(multipart(*instances), 'multipart/related; type="application/dicom"; boundary=edge', **more)

    def door(self) -> Any:
        """The channel's name and its Door."""
        assert self.web.doors is not None
        return self.web.doors.of_token("pacs")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.hub.store.snapshot() as tx:
            return tx.many(sql)

    def apply(self) -> None:
        applier = self.hub.applier()
        with self.hub.store.transaction() as tx:
            lease = tx.take("test", "in", range(self.hub.buckets), 99, 600)
        assert lease is not None
        while applier.step(lease):
            continue

    def instance(self, n: int, **elements: Any) -> bytes:
        said = {
            "PatientID": "P1",
            "PatientName": NAME,
            "StudyInstanceUID": "1.2.410.5",
            "SeriesInstanceUID": "1.2.410.5.1",
            "SOPInstanceUID": f"1.2.410.5.1.{n}",
            "AccessionNumber": "A5",
            **elements,
        }
        return image(self.folder / "one.dcm", **said).read_bytes()


def multipart(*bodies: bytes, media: str = "application/dicom") -> bytes:
    parts = [b"--edge\r\nContent-Type: " + media.encode() + b"\r\n\r\n" + body + b"\r\n" for body in bodies]
    return b"".join(parts) + b"--edge--\r\n"


def references(answer: Any, tag: str) -> list[str]:
    return [item["00081155"].get("Value", [""])[0] for item in answer.json().get(tag, {}).get("Value", [])]


def accessions(web: Web) -> list[str]:
    """Of all messages, in the order in which they came."""
    found = web.rows("SELECT id, body FROM message ORDER BY id")
    return [orjson.loads(web.hub.keys.open_("message", n, bytes(body)))["row"]["AccessionNumber"] for n, body in found]


STORED, FAILED = "00081199", "00081198"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    made = Web(tmp_path)
    yield made
    made.hub.close()


def test_a_series_is_one_message_however_many_instances_tell_it(web: Web) -> None:
    answer = web.store(*(web.instance(n) for n in range(5)), web.instance(9, SeriesInstanceUID="1.2.410.5.2", Modality="MR"))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom+json")
    assert references(answer, STORED) == [*(f"1.2.410.5.1.{n}" for n in range(5)), "1.2.410.5.1.9"]
    assert web.store(web.instance(7)).status_code == 200  # the same series again
    assert web.rows("SELECT count(*) FROM message") == [(2,)]
    web.apply()
    (study,) = (orjson.loads(data) for (data,) in web.rows("SELECT data FROM resource WHERE kind = 'ImagingStudy'"))
    assert sorted(study["modality"]) == ["CT", "MR"]
    assert len(study["series"]) == 2
    (patient,) = (data for (data,) in web.rows("SELECT data FROM resource WHERE kind = 'Patient'"))
    assert "홍길동" in patient
    assert web.rows("SELECT DISTINCT actor, channel FROM entry WHERE action = 'message.received'") == [("token:pacs", "pacs")]


def test_a_header_that_is_corrected_back_is_news(web: Web) -> None:
    told = ["A5", "A6", "A6", "A5"]
    assert [web.store(web.instance(n, AccessionNumber=one)).status_code for n, one in enumerate(told)] == [200] * 4
    assert web.store(web.instance(5), web.instance(6, AccessionNumber="A6"), web.instance(7)).status_code == 200
    assert accessions(web) == ["A5", "A6", "A5", "A6", "A5"]  # of one request each row once, and what it said last is the last
    assert web.rows("SELECT count(*) FROM alert") == [(0,)]


def test_what_another_process_is_told_meanwhile_is_decided_anew(web: Web) -> None:
    _, door = web.door()
    taking = door.begin("application/dicom", "", "pacs")
    taking.feed(web.instance(1))
    taking.end()
    intake = web.hub.intake()

    class Torn:
        """Stores a correction of somebody else between the look and the commit."""

        def store(self, batch: Any) -> Any:
            if not accessions(web):
                assert web.store(web.instance(2, AccessionNumber="A6")).status_code == 200
            return intake.store(batch)

    assert door.take(taking, Torn()).status == 200
    assert accessions(web) == ["A6", "A5"]


def test_while_the_store_is_not_there_the_sender_is_told_to_come_again(web: Web) -> None:
    class Away:
        def recall(self, name: str) -> Any:
            raise TryAgain("no database")

        mark = recall

    web.door()[1].remember_in(Away())
    answer = web.store(web.instance(1))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert web.rows("SELECT count(*) FROM message") == [(0,)]


def test_what_cannot_be_read_is_said_of_each_and_kept(web: Web) -> None:
    answer = web.store(web.instance(1), b"no dicom at all", web.instance(2, StudyInstanceUID="1.2.9"), study="/1.2.410.5")
    assert answer.status_code == 202
    assert references(answer, STORED) == ["1.2.410.5.1.1"]
    assert references(answer, FAILED) == ["", "1.2.410.5.1.2"]  # whose UIDs were read is named
    reasons = [item["00081197"]["Value"] for item in answer.json()[FAILED]["Value"]]
    assert reasons == [[0xC000], [0xA900]]
    assert web.store(b"rubbish").status_code == 409
    states = web.rows("SELECT state, reason FROM outcome ORDER BY message_id")
    assert [state for state, _ in states] == ["refused"] * 3


def test_metadata_comes_as_json_too(web: Web) -> None:
    def element(tag: str, vr: str, *values: Any) -> tuple[str, Any]:
        return tag, {"vr": vr, "Value": list(values)}

    one = dict(
        [
            element("0020000D", "UI", "1.2.3"),
            element("0020000E", "UI", "1.2.3.4"),
            element("00080016", "UI", "1.2.840.10008.5.1.4.1.1.2"),
            element("00080018", "UI", "1.2.3.4.5"),
            element("00100020", "LO", "P7"),
            element("00080060", "CS", "CT"),
            element("00100010", "PN", {"Alphabetic": "Hong^Gildong", "Phonetic": "홍^길동"}),
            ("7FE00010", {"vr": "OW", "BulkDataURI": "b1"}),
        ]
    )
    body = multipart(orjson.dumps([one]), media="application/dicom+json")
    pixels = b"--edge\r\nContent-Type: application/octet-stream\r\nContent-Location: b1\r\n\r\n" + bytes(5000) + b"\r\n--edge--"
    whole = body.removesuffix(b"--edge--\r\n") + pixels
    answer = web.post(whole, 'multipart/related; type="application/dicom+json"; boundary="edge"')
    assert (answer.status_code, references(answer, STORED)) == (200, ["1.2.3.4.5"])
    assert web.post(orjson.dumps([one]), "application/dicom+json").status_code == 200
    assert web.rows("SELECT count(*) FROM message") == [(1,)]
    web.apply()
    assert web.rows("SELECT count(*) FROM resource WHERE kind = 'ImagingStudy'") == [(1,)]


@pytest.mark.parametrize(("name", "status"), [("crm", 403), ("nobody", 403), ("emr", 403)])
def test_who_may_not_send_is_told(web: Web, name: str, status: int) -> None:
    assert web.store(web.instance(1), name=name).status_code == status
    assert web.rows("SELECT count(*) FROM message") == [(0,)]


def test_what_is_no_body_of_stow_takes_nothing(web: Web) -> None:
    media = 'multipart/related; type="application/dicom"; boundary=edge'
    good = multipart(web.instance(1))
    assert web.post(good, "text/plain").status_code == 415
    assert web.post(good, "multipart/related").status_code == 415
    assert web.post(good, media, Accept="application/dicom+xml").status_code == 406
    assert web.post(good, media, study="/../etc").status_code in (400, 404)
    assert web.post(good, media, study="/one").status_code == 400
    for broken in (b"", b"rubbish", good[:-20], good.removesuffix(b"--edge--\r\n"), b"--edge\r\n" + bytes(20_000)):
        assert web.post(broken, media).status_code == 400
    assert web.rows("SELECT count(*) FROM message") == [(0,)]
    assert web.post(web.instance(1), "application/dicom").status_code == 200  # one by itself


def test_pixels_are_dropped_as_they_come(web: Web) -> None:
    """A quarter of a gigabyte, in chunks that cut delimiters anywhere."""
    head = web.instance(1)
    head = head[: head.index(b"\xe0\x7f\x10\x00")] + b"\xe0\x7f\x10\x00OW\0\0" + (256 << 20).to_bytes(4, "little")

    def body() -> Iterator[bytes]:
        yield b"--edge\r\nContent-Type: application/dicom\r\n\r\n" + head
        for _ in range(256):
            yield bytes(1 << 20)
        yield b"\r\n--ed"
        yield b"ge--\r\n"

    from hub.adapters.pacs.dicomweb_in import Settings, build

    taking = build(Settings(tokens=("pacs",)), "pacs").begin(
        'multipart/related; type="application/dicom"; boundary=edge', "", "pacs"
    )
    tracemalloc.start()
    for chunk in body():
        taking.feed(chunk)
    taking.end()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20
    assert [one.failure for one in taking.instances] == [0]
    assert len(taking.messages) == 1
