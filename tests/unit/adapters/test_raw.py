"""Pass-through adapters without a network: charsets, names and marks of files, keys of requests."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hub.adapters.raw import folder_out, http_out, mllp_out, recode
from hub.codecs.hl7v2 import parse
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown, Refused
from hub.domain.ports import Outbound
from hub.testing.case import message_received

NAMES = ["홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수", "洪吉洞"]
HEAD = "MSH|^~\\&|LAB|HOSP|HUB|HOSP|20261122090000||ORU^R01|7|P|2.5"


def message(text: str, charset: str, declared: str | None = None) -> Outbound:
    head = HEAD + (f"|||||KOR|{declared}" if declared is not None else "")
    body = "\r".join([head, f"PID|1||100||{text}", ""]).encode(charset)
    return message_received(1, body=body, charset=charset)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("before", "declared"), [("utf-8", "UNICODE UTF-8"), ("cp949", "KS X 1001"), ("cp949", None)])
@pytest.mark.parametrize(("after", "says"), [("cp949", "KS X 1001"), ("utf-8", "UNICODE UTF-8"), ("KS X 1001", "KS X 1001")])
def test_a_name_stays_itself_in_another_charset(name: str, before: str, declared: str | None, after: str, says: str) -> None:
    came = message(name, before, declared)
    sent = recode.in_charset(came, after)
    if before == ("utf-8" if after == "utf-8" else "cp949"):
        assert sent == came.body  # nothing to do: not a byte is another
        return
    read = parse(sent)
    assert read.all("PID")[0].value(5) == name
    assert read.all("MSH")[0].value(18) == says
    back = recode.in_charset(message_received(1, body=sent, charset="utf-8" if after == "utf-8" else "cp949"), before)
    assert parse(back).all("PID")[0].value(5) == name
    assert back == came.body or declared is None  # then it says now what it is in


@pytest.mark.parametrize(
    ("text", "charset", "code_point"),
    [("홍길동😀", "cp949", "U+1F600"), ("홍길동", "iso8859-1", "U+D64D"), ("𠮷", "cp949", "U+20BB7")],
)
def test_what_the_target_cannot_hold_is_refused_with_its_character(text: str, charset: str, code_point: str) -> None:
    with pytest.raises(Refused, match=code_point.replace("+", r"\+")) as caught:
        recode.in_charset(message(text, "utf-8", "UNICODE UTF-8"), charset)
    assert caught.value.code == "unencodable"
    assert not any(name in str(caught.value) for name in NAMES)


def test_a_row_declares_no_charset() -> None:
    row = message_received(1, body='{"event":"X","row":{"SNAME":"뷁"}}'.encode(), charset="utf-8")
    assert recode.in_charset(row, "cp949").decode("cp949") == '{"event":"X","row":{"SNAME":"뷁"}}'


@pytest.mark.parametrize("adapter", [folder_out, http_out, mllp_out])
def test_a_charset_that_nobody_knows_is_told_at_once(adapter: object) -> None:
    where = (
        {"folder": "/x"} if adapter is folder_out else {"url": "http://h/"} if adapter is http_out else {"host": "h", "port": 1}
    )
    with pytest.raises(Misconfigured, match="cp949"):
        adapter.Settings.from_table({**where, "charset": "koran"})  # type: ignore[attr-defined]


# -- files --------------------------------------------------------------------------------------------------------


@pytest.fixture
def target(tmp_path: Path) -> folder_out.FolderTarget:
    return folder_out.build(folder_out.Settings(folder=tmp_path))


def files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()]


def test_a_file_is_whole_named_without_a_patient_and_written_once(target: folder_out.FolderTarget, tmp_path: Path) -> None:
    one = message_received(1)
    assert target.send(one).detail == "written"
    (file,) = files(tmp_path)
    assert file.read_bytes() == one.body
    assert file.name.startswith("000000001001-")
    assert file.name.endswith(".hl7")
    file.unlink()  # the receiver took it, and the worker died before it could say so
    assert target.send(one).detail == "was there before"
    assert files(tmp_path) == []


@pytest.mark.parametrize("step", ["write", "mark", "rename", "sync"])
def test_a_worker_that_dies_anywhere_leaves_one_file(
    target: folder_out.FolderTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whatever the step, the message sent again gives one file, and a file that was taken does not come again."""
    real_write, real_rename, real_sync = folder_out._write, os.rename, folder_out._sync

    def write(path: Path, body: bytes) -> None:
        if step == "write" and not path.name.endswith(folder_out.SENT):
            real_write(path, body[:10])
            raise KeyboardInterrupt
        if step == "mark" and path.name.endswith(folder_out.SENT):
            raise KeyboardInterrupt
        real_write(path, body)

    def rename(source: Path, to: Path) -> None:
        if step == "rename":
            raise KeyboardInterrupt
        real_rename(source, to)

    def sync(folder: Path) -> None:
        if step == "sync" and folder == tmp_path:
            raise KeyboardInterrupt
        real_sync(folder)

    monkeypatch.setattr(folder_out, "_write", write)
    monkeypatch.setattr(os, "rename", rename)
    monkeypatch.setattr(folder_out, "_sync", sync)
    with pytest.raises(KeyboardInterrupt):
        target.send(message_received(1))
    taken = files(tmp_path)
    assert len(taken) == (step == "sync")
    for file in taken:
        file.unlink()
    monkeypatch.undo()
    target.send(message_received(1))
    assert [file.read_bytes() for file in files(tmp_path)] == ([] if step == "sync" else [message_received(1).body])


@pytest.mark.parametrize(
    ("number", "kind", "reached"),
    [(errno.ENOSPC, NotDelivered, False), (errno.EACCES, Misconfigured, None), (errno.ESTALE, NotDelivered, False)],
)
def test_a_folder_that_takes_nothing(
    target: folder_out.FolderTarget, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[HubError], reached: bool | None
) -> None:
    def fail(path: Path, body: bytes) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(folder_out, "_write", fail)
    with pytest.raises(kind) as caught:
        target.send(message_received(1))
    assert getattr(caught.value, "reached", None) is reached


def test_a_rename_that_fails_leaves_the_outcome_open_and_is_made_up_for(
    target: folder_out.FolderTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: Path, to: Path) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OutcomeUnknown):
        target.send(message_received(1))
    monkeypatch.undo()
    assert target.send(message_received(1)).detail == "written"
    assert len(files(tmp_path)) == 1


def test_old_marks_are_cleared_and_young_ones_kept(target: folder_out.FolderTarget, tmp_path: Path) -> None:
    target.send(message_received(1))
    (old,) = (tmp_path / folder_out.SENDING).iterdir()
    os.utime(old, (1, 1))
    later = folder_out.build(folder_out.Settings(folder=tmp_path))
    later.send(message_received(2))
    assert [path.name[:12] for path in (tmp_path / folder_out.SENDING).iterdir()] == ["000000001002"]


# -- HTTP ---------------------------------------------------------------------------------------------------------


def test_a_key_is_of_one_message_and_its_bytes() -> None:
    one, other = message_received(1), message_received(2)
    assert http_out.key_of(one, b"x") == http_out.key_of(one, b"x")
    assert len({http_out.key_of(one, b"x"), http_out.key_of(one, b"y"), http_out.key_of(other, b"x")}) == 3


def test_what_is_posted_says_what_it_is() -> None:
    assert http_out.content_type(b"MSH|", "cp949") == "x-application/hl7-v2+er7; charset=cp949"
    assert http_out.content_type(b'{"event":', "utf-8") == "application/json"


def test_where_repeats_are_not_dropped_nobody_says_that_it_did_not_act() -> None:
    target = http_out.build(http_out.Settings.from_table({"url": "http://127.0.0.1:9/", "drops_repeats": False}))
    assert target.resend_is_safe is False
    with pytest.raises(NotDelivered, match="by hand"):
        target.find(message_received(1))
    target.close()


def test_mllp_carries_hl7_only() -> None:
    target = mllp_out.build(mllp_out.Settings.from_table({"host": "127.0.0.1", "port": 9}))
    with pytest.raises(Refused, match="no HL7"):
        target.send(message_received(1, body=b'{"event":"X","row":{}}'))
    target.close()
