"""$batch: written as OData V2 and RFC 2046 say, read with suspicion; half an answer is half an answer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.codecs.sap import odata_batch as batch
from hub.codecs.sap.odata_batch import Answer, Request
from hub.domain.errors import Unreadable

GET = Request("GET", "A_BusinessPartner?$filter=BusinessPartner%20eq%20'1'")
SET = [
    Request("PATCH", "A_BusinessPartner('1')", {"If-Match": "W/\"'1'\""}, '{"LastName":"똠방각하"}'.encode(), "1"),
    Request("POST", "A_BusinessPartner('1')/to_BusinessPartnerRole", {}, b'{"BusinessPartnerRole":"FLCU01"}', "2"),
    Request("DELETE", "$2/to_X", {"If-Match": "*"}, b"", "3"),
]
ANSWERS: list[Answer | list[Answer]] = [
    Answer(200, {"content-type": "application/json"}, '{"d":{"results":[{"LastName":"뷁"}]}}'.encode()),
    [Answer(204, {"etag": "W/\"'2'\""}, b"", "1"), Answer(201, {}, b"{}", "2"), Answer(204, {}, b"", "3")],
    Answer(412, {}, b'{"error":{"code":"X/1"}}'),
]


def read(body: bytes, boundary: str = "b") -> batch.Answers:
    return batch.parse_answers(batch.content_type(boundary), body)


def test_as_it_stands_on_the_wire() -> None:
    text = batch.dump([GET, SET[:1]], "b").decode()
    assert text == (
        "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        "GET A_BusinessPartner?$filter=BusinessPartner%20eq%20'1' HTTP/1.1\r\nAccept: application/json\r\n\r\n\r\n"
        "--b\r\nContent-Type: multipart/mixed; boundary=b-1\r\n\r\n"
        "--b-1\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: 1\r\n\r\n"
        "PATCH A_BusinessPartner('1') HTTP/1.1\r\nAccept: application/json\r\nIf-Match: W/\"'1'\"\r\n"
        'Content-Type: application/json\r\nContent-Length: 27\r\n\r\n{"LastName":"똠방각하"}\r\n'
        "--b-1--\r\n\r\n--b--\r\n"
    )


def test_what_a_service_reads_is_what_was_written() -> None:
    query, changes = batch.parse_requests('multipart/mixed; charset=utf-8; boundary="b"', batch.dump([GET, SET], "b"))
    assert isinstance(query, Request)
    assert (query.method, query.target) == (GET.method, GET.target)
    assert isinstance(changes, list)
    assert [(one.method, one.target, one.body, one.content_id) for one in changes] == [
        (one.method, one.target, one.body, one.content_id) for one in SET
    ]


def test_answers_come_back_item_by_item() -> None:
    found = read(batch.dump_answers(ANSWERS, "b"))
    assert found.whole
    assert [[one.status for one in item] if item else None for item in found.items] == [[200], [204, 201, 204], [412]]
    assert found.items[1] is not None
    assert [one.content_id for one in found.items[1]] == ["1", "2", "3"]
    assert found.items[1][0].headers["etag"] == "W/\"'2'\""


def test_wherever_it_is_cut_nothing_is_made_up() -> None:
    body = batch.dump_answers(ANSWERS, "b")
    told = read(body).items
    for length in range(len(body)):
        cut = read(body[:length])
        assert cut.items == told[: len(cut.items)]
        assert not cut.whole or length >= len(body) - 2


def test_a_change_set_that_lost_its_end_is_not_trusted() -> None:
    body = batch.dump_answers(ANSWERS, "b").replace(b"--b-1--\r\n", b"")
    assert [item is None for item in read(body).items] == [False, True, False]


@pytest.mark.parametrize(
    "part",
    [
        b"Content-Type: text/plain\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}",
        b"Content-Type: application/http\r\n\r\nHTTP/2 200\r\n\r\n{}",
        b"Content-Type: application/http\r\n\r\n",
        b"no header at all",
        b"Content-Type: application/http\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{}",
        b"Content-Type: multipart/mixed\r\n\r\nx",
        b"X: y\r\n" * 65 + b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"X: " + b"y" * 70_000 + b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_a_part_that_cannot_be_trusted_is_none(part: bytes) -> None:
    assert read(b"--b\r\n" + part + b"\r\n--b--").items == [None]


@pytest.mark.parametrize("length", ["2", "4", "", "x"])
def test_lengths_that_services_count_their_own_way(length: str) -> None:
    """Some count the CRLF before the delimiter, some say none."""
    head = f"Content-Length: {length}\r\n" if length else ""
    body = f"--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 200 OK\r\n{head}\r\n{{}}\r\n--b--".encode()
    assert read(body).items == [[Answer(200, {"content-length": length} if length else {}, b"{}")]]


@pytest.mark.parametrize(
    "header", ["", "application/json", "multipart/mixed", "multipart/mixed; boundary=", "multipart/mixed; boundary=뷁"]
)
def test_no_multipart_is_unreadable(header: str) -> None:
    with pytest.raises(Unreadable):
        batch.parse_answers(header, b"")


def test_a_boundary_that_is_the_beginning_of_another() -> None:
    inner = batch.dump_answers([Answer(200, {}, b"--b1\r\nno delimiter of b")], "b1")
    assert read(b"--b\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n" + inner + b"\r\n--b--").whole
    assert read(
        b"preamble\r\n--b \t\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 204 X\r\n\r\n\r\n--b--\r\nepilogue"
    ).items == [[Answer(204, {}, b"")]]


def test_more_parts_than_anybody_asked_for() -> None:
    part = b"--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 204 X\r\n\r\n\r\n"
    with pytest.raises(Unreadable, match="more than"):
        read(part * (batch.MOST_ITEMS + 2) + b"--b--")


@pytest.mark.parametrize(
    "request_", [Request("GET", "A\r\nX: y"), Request("GET", "A B"), Request("GET", "A", {"If-Match": "x\r\ny"})]
)
def test_nothing_ends_a_line_early(request_: Request) -> None:
    with pytest.raises(ValueError, match="end its line"):
        batch.dump([request_], "b")


@given(st.binary(max_size=300), st.text("ab-", min_size=1, max_size=3))
@settings(max_examples=80, deadline=None)
def test_any_bytes_are_read_or_not(body: bytes, boundary: str) -> None:
    read(body, boundary)
    read(b"--" + boundary.encode() + b"\r\n" + body, boundary)


@given(st.lists(st.tuples(st.integers(100, 599), st.binary(max_size=60)), max_size=4))
@settings(max_examples=60, deadline=None)
def test_whatever_the_bodies_are_they_come_back(answers: list[tuple[int, bytes]]) -> None:
    made = [Answer(status, {}, body) for status, body in answers]
    assert [item[0][::2] if item else None for item in read(batch.dump_answers(made, "q7Zx"), "q7Zx").items] == [
        (status, body) for status, body in answers
    ]
