"""DICOM JSON and multipart bodies: what is read of them, however they are cut."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs.dicom import columns, json
from hub.codecs.dicom.multipart import Part, Parts, content_type
from hub.domain.errors import Unreadable
from hub.simulator.pacs_archive import as_json


def test_a_study_reads_as_it_would_from_c_find() -> None:
    study = {
        "StudyInstanceUID": "1.2.3",
        "PatientName": "Hong^Gildong=洪^吉洞=홍^길동",
        "ModalitiesInStudy": "CT\\MR",
        "StudyDate": "20261122",
        "NumberOfStudyRelatedSeries": "2",
        "AccessionNumber": "",
    }
    (document,) = json.documents(orjson.dumps([as_json(study)]))
    assert json.row(document, columns.study()) == {
        "StudyInstanceUID": "1.2.3",
        "PatientName": "Hong^Gildong=洪^吉洞=홍^길동",
        "ModalitiesInStudy": ["CT", "MR"],
        "StudyDate": "20261122",
        "NumberOfStudyRelatedSeries": 2,
    }


@pytest.mark.parametrize(
    ("element", "row"),
    [
        ({"vr": "PN", "Value": [{"Phonetic": "똠^방각하"}]}, {"PatientName": "==똠^방각하"}),
        ({"vr": "PN", "Value": [None]}, {}),
        ({"vr": "PN", "Value": ["펲시콜라"]}, {"PatientName": "펲시콜라"}),  # not as F.2.2 wants it, and written
        ({"vr": "PN"}, {}),
        ({"vr": "PN", "BulkDataURI": "http://elsewhere"}, {}),
        ({"vr": "PN", "Value": [True, ["x"]]}, {}),
    ],
)
def test_a_name(element: dict[str, Any], row: dict[str, Any]) -> None:
    assert json.row({"00100010": element}, columns.study()) == row


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"text"', b"\xff", b"[" * 2000])
def test_what_is_no_dicom_json_is_refused(body: bytes) -> None:
    with pytest.raises(Unreadable):
        json.documents(body)


@pytest.mark.parametrize(
    "element", [{"0020000D": {"vr": "UI", "Value": ["../etc"]}}, {"0020000D": "1.2"}, {"0020000D": {"Value": "1.2"}},
                {"00100020": {"vr": "LO", "Value": ["x" * 20_000]}}, {"00100020": {"vr": "LO", "Value": ["x"] * 2000}}],
)  # fmt: skip
def test_what_is_no_value_of_its_element_is_refused(element: dict[str, Any]) -> None:
    with pytest.raises(Unreadable) as caught:
        json.row(element, columns.study())
    assert "etc" not in str(caught.value)


def body_of(*bodies: bytes) -> bytes:
    return (
        b"preamble\r\n"
        + b"".join(b"--b\r\nContent-Type: a/b; c=d\r\nX: y\r\n\r\n" + one + b"\r\n" for one in bodies)
        + b"--b--\r\nepilogue"
    )


def parts_of(body: bytes, cuts: list[int], keep: int = 1000) -> list[Part]:
    parts, found, at = Parts("b", keep=keep, most=50), [], 0
    for cut in [*sorted(cuts), len(body)]:
        found += parts.feed(body[at : max(cut, at)])
        at = max(cut, at)
    assert parts.ended
    return found


@given(
    st.lists(st.binary(max_size=40).filter(lambda one: b"--b" not in one), max_size=4), st.lists(st.integers(0, 300), max_size=12)
)
def test_parts_are_the_same_wherever_the_body_is_cut(bodies: list[bytes], cuts: list[int]) -> None:
    assert parts_of(body_of(*bodies), cuts) == [Part("a/b", one, len(one)) for one in bodies]


def test_no_more_than_the_beginning_is_kept() -> None:
    (part,) = parts_of(body_of(b"x" * 5000 + b"\r\n--other"), list(range(0, 6000, 7)), keep=10)
    assert part == Part("a/b", b"x" * 10, 5009)


def test_bounds() -> None:
    for broken in (b"--b\r\n" + b"x" * 9000, body_of(*[b""] * 60)):
        with pytest.raises(Unreadable):
            list(Parts("b", keep=10, most=50).feed(broken))
    endless = Parts("b", keep=10, most=50)
    assert list(endless.feed(b"--b\r\n\r\n" + b"x" * 100_000)) == []
    assert not endless.ended
    assert len(endless._buffer) < 100


@pytest.mark.parametrize(
    ("text", "boundary"),
    [('multipart/related; type="application/dicom"; boundary="a b"', "a b"),
     ("multipart/related; boundary=x", "x"), ("multipart/related", ""),
     (f"multipart/related; boundary={'x' * 71}", ""), ("multipart/related; boundary=한국", ""), ("", ""), ("\r\nX: y", "")],
)  # fmt: skip
def test_content_types(text: str, boundary: str) -> None:
    assert content_type(text).boundary == boundary


def test_every_cut_of_a_small_body() -> None:
    body = body_of(b"one", b"--two")
    for first, second in itertools.combinations(range(len(body)), 2):
        if (second - first) % 5 == 0:
            assert [part.data for part in parts_of(body, [first, second])] == [b"one", b"--two"]
