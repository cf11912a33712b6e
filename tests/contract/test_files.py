"""Drop folders in a whole hub, with every fault that files have: nothing is lost, nothing is stored twice, and it is said why."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from hub.adapters.files import source as reading
from hub.adapters.files.folder import Folder
from hub.bootstrap.poll import Poller
from hub.cli import checks
from hub.config import load
from hub.domain.errors import Misconfigured
from tests.hub_kit import Kit, adt, make_kit, pv1, row_map

MAP = row_map(
    '"SNAME" = { to = "name", as = "name_text", each = true }',
    '"REMARK" = { to = "note" }',
)
CHANNELS = """
[channels.hl7-files]
adapter = "files.hl7_in"
system = "ocs"
folder = "drop/hl7"
quiet_seconds = 0
overlay = "maps"
max_message = 4096
[channels.csv-files]
adapter = "files.csv_in"
system = "ocs"
folder = "drop/csv"
quiet_seconds = 0
event = "OPD_PATIENT"
keys = ["PANO"]
charset = "cp949"
max_line = 1000
[channels.log-files]
adapter = "files.csv_in"
system = "ocs"
folder = "drop/log"
quiet_seconds = 0
event = "OPD_PATIENT"
[channels.fixed-files]
adapter = "files.fixed_in"
system = "ocs"
folder = "drop/fixed"
ready = "marker"
event = "OPD_PATIENT"
keys = ["PANO"]
charset = "cp949"
columns = { PANO = [1, 8], SNAME = [9, 12], REMARK = [21, 10] }
"""
NAMES = ("홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수", "洪吉洞")


class Drop:
    """A hub with drop folders, and pollers that are driven by hand."""

    def __init__(self, kit: Kit, folder: Path) -> None:
        self.kit = kit
        self.folder = folder / "drop"
        for name in ("hl7", "csv", "log", "fixed"):
            (self.folder / name).mkdir(parents=True)
        (folder / "maps").mkdir()
        (folder / "maps" / "legacy.toml").write_text(MAP, encoding="utf-8")
        file = kit.hub.config.path
        file.write_text(file.read_text(encoding="utf-8") + CHANNELS, encoding="utf-8")
        kit.hub.reload(load(file))
        self.pollers: dict[str, Poller] = {}

    def write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def poller(self, kind: str) -> Poller:
        name = f"{kind}-files"
        if name not in self.pollers:
            self.pollers[name] = Poller(self.kit.hub, self.kit.hub.config.channels[name], lambda: None)
        return self.pollers[name]

    def poll(self, kind: str) -> str:
        """One poll; what went wrong with the channel, if anything."""
        poller = self.poller(kind)
        poller.round()
        return poller._trouble

    def files(self, kind: str) -> dict[str, list[str]]:
        return {
            where: sorted(p.name for p in (self.folder / kind / where).iterdir() if p.is_file())
            for where in ("", "working", "done", "error")
        }

    def reason(self, path: str) -> str:
        return (self.folder / (path + ".reason")).read_text(encoding="utf-8")

    def stored(self) -> list[tuple[str, str]]:
        sql = "SELECT type, patient_no FROM message WHERE direction = 'in' ORDER BY id"
        return [(str(a), str(b)) for a, b in self.kit.rows(sql)]

    def refused(self) -> list[str]:
        return [str(r) for (r,) in self.kit.rows("SELECT reason FROM outcome WHERE state = 'refused' ORDER BY message_id")]


@pytest.fixture
def drop(tmp_path: Path) -> Any:
    kit = make_kit(tmp_path, f"sqlite:///{tmp_path}/hub.db")
    made = Drop(kit, tmp_path)
    yield made
    for poller in made.pollers.values():
        poller._close()
    kit.close()


def many(first: int, last: int) -> bytes:
    return b"".join(adt("A08", f"{n}", control=f"F{n}") for n in range(first, last))


def csv(rows: list[str], codec: str = "cp949") -> bytes:
    return "".join(f"{row}\r\n" for row in ["PANO,SNAME,REMARK", *rows]).encode(codec)


# ---- what is taken --------------------------------------------------------------------------------------------------------


def test_a_message_a_batch_and_what_a_gateway_wrote_down(drop: Drop) -> None:
    drop.write("hl7/1.hl7", adt("A04", "1", pv1("V1"), name="洪^吉洞"))
    batch = b"FHS|^~\\&\rBHS|^~\\&\r" + many(2, 5) + b"BTS|3\rFTS|1\r"
    drop.write("hl7/2.bat", batch.replace(b"\r", b"\r\n"))
    drop.write("hl7/3.mllp", b"\x0b" + adt("A08", "5") + b"\x1c\r\x0b" + adt("A08", "6") + b"\x1c\r")
    assert drop.poll("hl7") == ""
    assert drop.stored() == [("ADT^A04", "1"), *[("ADT^A08", str(n)) for n in range(2, 7)]]
    assert drop.files("hl7") == {"": [], "working": [], "done": ["1.hl7", "2.bat", "3.mllp"], "error": []}
    drop.kit.apply()
    assert drop.kit.patient("1")["name"][0]["text"].replace(" ", "") == "洪吉洞"
    assert drop.kit.patient("6")
    drop.write("hl7/4.hl7", batch)  # the same messages in a file of another name and other line ends
    drop.poll("hl7")
    assert len(drop.stored()) == 6


def test_hangul_of_every_kind_from_csv_and_fixed_width(drop: Drop) -> None:
    drop.write("csv/p.csv", csv([f'{n},{name},"{name}, ""{name}"""' for n, name in enumerate(NAMES, 1)]))
    fixed = [
        f"{n:08}".encode() + name.encode("cp949").ljust(12) + name.encode("cp949").ljust(10) for n, name in enumerate(NAMES, 11)
    ]
    drop.write("fixed/p.txt", b"\r\n".join(fixed))
    drop.poll("fixed")
    assert drop.files("fixed")[""] == ["p.txt"]  # nobody has said that it is whole
    drop.write("fixed/p.txt.ok", b"")
    assert (drop.poll("csv"), drop.poll("fixed")) == ("", "")
    assert drop.files("fixed") == {"": [], "working": [], "done": ["p.txt"], "error": []}
    drop.kit.apply()
    for n, name in enumerate(NAMES, 1):
        assert drop.kit.patient(str(n))["name"][0]["text"] == name
        assert drop.kit.patient(str(n))["note"] == f'{name}, "{name}"'
        assert drop.kit.patient(f"{n + 10:08}")["name"][0]["text"] == name


def test_rows_of_the_next_days_file_are_news_where_they_changed(drop: Drop) -> None:
    drop.write("csv/mon.csv", csv(["1,홍길동,a", "2,남궁민수,b", "1,홍길동,c"]))  # twice in one file: the later word stands
    drop.poll("csv")
    drop.write("csv/tue.csv", csv(["1,홍길동,c", "2,남궁민수,뷁"]))
    drop.poll("csv")
    assert [number for _, number in drop.stored()] == ["1", "2", "1", "2"]
    drop.kit.apply()
    assert (drop.kit.patient("1")["note"], drop.kit.patient("2")["note"]) == ("c", "뷁")


def test_without_keys_each_line_of_a_file_is_news_once(drop: Drop) -> None:
    text = csv(["1,홍길동,a", "1,홍길동,a"], "utf-8-sig")
    drop.write("log/a.csv", text)
    drop.write("log/b.csv", text)  # the same file under another name
    drop.write("log/c.csv", csv(["1,홍길동,a"], "utf-8"))
    drop.poll("log")
    assert len(drop.stored()) == 3


# ---- what is left alone ---------------------------------------------------------------------------------------------------


def test_a_half_written_file_is_left_alone(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("hub.adapters.files.folder.time.monotonic", lambda: now[0])
    path = drop.write("hl7/x.hl7.part", many(1, 3))
    source = _source(drop, quiet_seconds=10)
    feed = drop.poller("hl7")._feed
    for _ in range(3):
        assert source.poll(feed) == 0  # a name that says that it is being written
        now[0] += 60
    whole = path.rename(path.with_suffix(""))
    assert source.poll(feed) == 0
    now[0] += 9
    with whole.open("ab") as file:
        file.write(many(3, 4))
    assert source.poll(feed) == 0
    now[0] += 9
    assert source.poll(feed) == 0  # unchanged for nine seconds
    now[0] += 2
    assert source.poll(feed) == 3
    assert drop.files("hl7")["done"] == ["x.hl7"]


def test_a_writer_that_goes_on_after_the_claim_is_waited_for(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    path = drop.write("hl7/x.hl7", many(1, 3) + b"MSH|^~\\&|OCS|HOSP|HUB|HOSP|20261122||ADT^A08|F")
    with path.open("ab") as writer:
        blocks = reading._blocks

        def late(records: Any) -> Any:
            writer.write(b"3|P|2.5\rPID|1||3^^^HOSP^MR||x^y\r")
            writer.flush()
            return blocks(records)

        with monkeypatch.context() as patched:
            patched.setattr(reading, "_blocks", late)
            drop.poll("hl7")
    assert drop.stored() == []
    assert drop.files("hl7")["working"] == ["x.hl7"]
    drop.poll("hl7")
    assert [n for _, n in drop.stored()] == ["1", "2", "3"]
    assert drop.refused() == []


def _source(drop: Drop, **more: Any) -> Any:
    from hub.adapters.files import hl7_in

    return hl7_in.build(hl7_in.Settings(folder=drop.folder / "hl7", **more), "hl7-files")


# ---- what is wrong with a file --------------------------------------------------------------------------------------------


def test_lines_that_cannot_be_read_end_refused_with_their_place_and_the_others_go_on(drop: Drop) -> None:
    rows = csv(["1,홍길동,a", "2,남궁민수", "3,뷁,b"]).splitlines(keepends=True)
    rows.insert(2, b"4,\xff\xfe,x\r\n")
    rows.insert(3, b"5," + b"y" * 5000 + b",x\r\n")
    rows.insert(4, b" ,name,no key\r\n")
    rows.append('6,"never closed,x\r\n7,펲시콜라,c\r\n'.encode("cp949"))
    data = b"".join(rows)
    drop.write("csv/p.csv", data)
    assert drop.poll("csv") == ""
    places = [data.index(text) for text in (b"4,\xff", b"5,yyy", b" ,name", b"2,", b"6,")]
    assert drop.refused() == [
        f"line 3 at byte {places[0]}: bytes that are not cp949, from byte 2 of the line on",
        f"line 4 at byte {places[1]}: more than 1000 bytes",
        f"line 5 at byte {places[2]}: the key column PANO is empty",
        f"line 6 at byte {places[3]}: 2 fields, the header has 3",
        f"line 8 at byte {places[4]}: a quote that is not closed, or something behind one that is",
    ]
    drop.kit.apply()
    assert drop.kit.patient("7")["name"][0]["text"] == "펲시콜라"
    assert drop.files("csv")["done"] == ["p.csv", "p.csv.reason"]
    assert "5 of 8 refused" in drop.reason("csv/done/p.csv")
    assert "홍길동" not in drop.reason("csv/done/p.csv")


def test_what_old_systems_put_at_the_end_is_no_line_and_no_segment(drop: Drop) -> None:
    drop.write("csv/p.csv", csv(["1,홍길동,a", "2,뷁,b\0"]) + b"\x1a")
    drop.write("hl7/x.hl7", many(3, 5) + b"\x1a")
    assert (drop.poll("csv"), drop.poll("hl7")) == ("", "")
    assert drop.refused() == ["line 3 at byte 31: a NUL in a text"]
    drop.kit.apply()
    assert all(drop.kit.patient(n)["name"] for n in ("3", "4"))
    assert drop.kit.patient("1")["note"] == "a"


def test_messages_that_cannot_be_read_end_refused_and_the_others_go_on(drop: Drop) -> None:
    huge = adt("A08", "2", control="H") + b"NTE|1||" + b"x" * 3_000_000 + b"\r"
    bad = b"MSH|^~\\&|OCS|HOSP|HUB|HOSP|20261122||ADT^A08|B1|P|2.5|||||KOR|UNICODE UTF-8\rPID|1||3||\xff\xfe\r"
    drop.write("hl7/x.hl7", b"stray\r" + many(1, 2) + huge + bad + many(4, 5))
    assert drop.poll("hl7") == ""
    first, second, third = drop.refused()
    assert first.startswith("message 1 at byte 0: ")
    assert second.startswith("message 3 at byte")
    assert "more than 4096 bytes" in second
    assert third.startswith("message 4 at byte")
    assert ("ADT^A08", "1") in drop.stored()
    drop.kit.apply()
    assert drop.kit.patient("4")


@pytest.mark.parametrize("kind", ["hl7", "csv", "log"])
@pytest.mark.parametrize(
    ("data", "why"),
    [(b"", "the file is empty"), (os.urandom(4096).replace(b"MSH", b"xxx"), ""), (b"\0" * 100_000, ""), (b"\n\n\n", "")],
)
def test_a_file_that_is_nothing_ends_in_error_with_its_reason(drop: Drop, kind: str, data: bytes, why: str) -> None:
    drop.write(f"{kind}/x.dat", data)
    drop.write(f"{kind}/y.dat", many(1, 2) if kind == "hl7" else csv(["1,a,b"]))
    assert drop.poll(kind) == ""
    found = drop.files(kind)
    assert (found[""], found["working"]) == ([], [])
    if data != b"\n\n\n" or kind != "hl7":
        assert found["error"] == ["x.dat", "x.dat.reason"]
        assert why in drop.reason(f"{kind}/error/x.dat")
        assert [why in reason for reason in drop.refused()][:1] == [True]  # not only in the folder: the hub counts and lists it
    assert "y.dat" in found["done"]
    assert ("ADT^A08" if kind == "hl7" else "OPD_PATIENT", "1") in drop.stored()


@pytest.mark.parametrize(
    ("header", "why"),
    [("SNAME,REMARK", "the header has no PANO"), ("PANO,PANO,REMARK", "names PANO twice"), ("PANO,,REMARK", "without a name")],
)
def test_a_header_that_is_none_ends_the_file_in_error(drop: Drop, header: str, why: str) -> None:
    drop.write("csv/x.csv", f"{header}\n1,2,3\n".encode())
    assert drop.poll("csv") == ""
    assert why in drop.reason("csv/error/x.csv")
    assert drop.stored() == [("OPD_PATIENT", "")]
    (reason,) = drop.refused()
    assert reason.startswith("a file: ")
    assert why in reason


def test_a_file_without_a_header_says_nothing_of_its_values(drop: Drop, caplog: pytest.LogCaptureFixture) -> None:
    drop.write("csv/00012345.csv", csv(["1,a,b"]).split(b"\n", 1)[1].replace(b"1,a,b", "홍길동,홍길동,홍길동".encode("cp949")))
    drop.poll("csv")
    said = drop.refused() + [str(vars(record)) for record in caplog.records]
    assert len(said) == 2
    assert not any("홍길동" in one or "00012345" in one for one in said)


@pytest.mark.parametrize("stored", [False, True])
def test_a_file_that_cannot_be_read_is_refused_once_though_the_hub_dies_over_it(
    drop: Drop, stored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its beginning, and once: killed before the commit, or between it and the rename."""
    data = b"no header of ours\n" + b"x,y,z\n" * 20_000
    drop.write("csv/x.csv", data)
    with monkeypatch.context() as patched:
        what: Any = Folder if stored else drop.poller("csv")._feed
        patched.setattr(what, "failed" if stored else "store", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            drop.poller("csv").round()
    drop.poller("csv")._source = None
    drop.pollers.clear()
    drop.poll("csv")
    assert len(drop.refused()) == 1
    assert drop.files("csv")["error"] == ["x.csv", "x.csv.reason"]
    ((number, sealed),) = drop.kit.rows("SELECT id, body FROM message")
    assert drop.kit.hub.keys.open_("message", number, bytes(sealed)) == data[: reading.KEPT]


def test_files_of_one_name_do_not_overwrite_each_other(drop: Drop) -> None:
    for n in range(1, 4):
        drop.write("hl7/x.hl7", adt("A08", str(n)))
        drop.poll("hl7")
    assert drop.files("hl7")["done"] == ["x.hl7", "x.hl7~2", "x.hl7~3"]


# ---- what is wrong with the folder ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC])
@pytest.mark.parametrize("call", ["rename", "scandir", "open"])
def test_a_folder_that_cannot_be_used_stops_the_channel_and_says_so_once(
    drop: Drop, monkeypatch: pytest.MonkeyPatch, number: int, call: str
) -> None:
    drop.write("hl7/12345678.hl7", many(1, 3))
    with monkeypatch.context() as patched:
        patched.setattr(f"hub.adapters.files.folder.os.{call}", _raising(number, getattr(os, call), drop.folder))
        for _ in range(3):
            assert os.strerror(number) in drop.poll("hl7")
            assert "12345678" not in drop.poll("hl7")  # a patient number, perhaps
    alerts = drop.kit.rows("SELECT kind, channel, cleared_at FROM alert")
    assert [tuple(a) for a in alerts] == [("poll_failing", "hl7-files", None)]
    assert drop.poll("hl7") == ""  # as soon as it is well, it goes on
    assert len(drop.stored()) == 2
    assert drop.files("hl7")["done"] == ["12345678.hl7"]


def _raising(number: int, real: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    def call(path: Any, *rest: Any, **more: Any) -> Any:
        if str(path).startswith(str(folder)):
            raise OSError(number, os.strerror(number))
        return real(path, *rest, **more)

    return call


def test_a_folder_that_is_not_there_is_no_empty_folder(drop: Drop) -> None:
    (drop.folder / "hl7").rmdir()
    assert drop.poll("hl7") == "the drop folder is not there"
    said = {finding.what: finding.text for finding in checks.offline(drop.kit.hub.config)}
    assert said["channel hl7-files"].startswith(f"{checks.WARNING}files.hl7_in: there is no folder")
    assert said["channel csv-files"] == "files.csv_in"
    assert not (drop.folder / "hl7").exists()


# ---- crashes, and two hubs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["hl7", "csv"])
@pytest.mark.parametrize("moment", ["before", "between", "after"])
def test_who_dies_in_a_file_loses_and_doubles_nothing(
    drop: Drop, monkeypatch: pytest.MonkeyPatch, kind: str, moment: str
) -> None:
    """Killed at each of its commits in turn, before, between row and place, and after."""
    monkeypatch.setattr(reading, "BLOCK", 5)
    if kind == "hl7":
        data = many(1, 10) + b"MSH|garbage\r" + many(10, 22)
    else:
        data = csv([f"{n},홍길동,{n}" for n in range(1, 10)] + ["bad"] + [f"{n},홍길동,{n}" for n in range(10, 22)])
    drop.write(f"{kind}/x.dat", data)
    for life in range(12):
        poller = drop.poller(kind)
        feed, deaths = poller._feed, [life % 3]

        def dying(real: Callable[..., Any], deaths: list[int] = deaths) -> Callable[..., Any]:
            def call(*arguments: Any, **more: Any) -> Any:
                deaths[0] -= 1
                if deaths[0] < 0 and moment == "before":
                    raise KeyboardInterrupt
                done = real(*arguments, **more)
                if deaths[0] < 0:
                    raise KeyboardInterrupt
                return done

            return call

        with monkeypatch.context() as patched:
            for name in ("store", "keep") if moment == "between" else ("store", "rows", "keep"):
                patched.setattr(feed, name, dying(getattr(feed, name)))
            try:
                poller.round()
            except KeyboardInterrupt:
                poller._source = None  # as kill -9: nobody closes anything; the lock goes with the process
        if drop.files(kind)["done"]:
            break
        drop.pollers.clear()
    drop.poll(kind)
    assert drop.files(kind) == {"": [], "working": [], "done": ["x.dat", "x.dat.reason"], "error": []}
    good = [n for _, n in drop.stored() if n]
    assert sorted(map(int, good)) == list(range(1, 22))
    assert len(drop.refused()) == 1
    assert "1 of 22 refused" in drop.reason(f"{kind}/done/x.dat")


def test_two_hubs_on_one_folder_read_each_file_once(drop: Drop) -> None:
    one, two = _source(drop, quiet_seconds=0), _source(drop, quiet_seconds=0)
    feed = drop.poller("hl7")._feed
    for n in range(1, 7):
        drop.write(f"hl7/{n}.hl7", adt("A08", str(n)))
    one._folder.prepare()
    first = next(one._folder.claimed())
    assert two.poll(feed) == 5  # all but the one that the other has
    assert drop.files("hl7")["working"] == ["1.hl7"]
    first.release()  # it died
    assert two.poll(feed) == 1
    assert drop.files("hl7")["working"] == []


def test_a_file_that_its_writer_still_locks_is_left_alone(drop: Drop) -> None:
    path = drop.write("hl7/x.hl7", many(1, 3))
    with path.open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert drop.poll("hl7") == ""
        assert drop.stored() == []
    drop.poll("hl7")
    assert len(drop.stored()) == 2


@pytest.mark.parametrize("stage", [1, 2])
def test_a_marker_whose_file_was_not_claimed_any_more(drop: Drop, stage: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the renames of marker and file, and before the marker is deleted."""
    row = b"00000001" + "홍길동".encode("cp949").ljust(12) + b"x".ljust(10)
    drop.poll("fixed")
    where = "working/" if stage == 2 else ""
    drop.write(f"fixed/{where}p.txt", row)
    drop.write("fixed/working/p.txt.done", b"")
    for _ in range(2):
        assert drop.poll("fixed") == ""
    assert drop.stored() == [("OPD_PATIENT", "00000001")]
    assert drop.files("fixed") == {"": [], "working": [], "done": ["p.txt"], "error": []}


def test_a_large_file_is_read_in_steps_that_a_pause_or_an_end_can_come_between(
    drop: Drop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "hub.adapters.files.source")
    monkeypatch.setattr(reading, "BLOCK", 10)
    monkeypatch.setattr(reading, "TELL_SECONDS", 0.0)
    monkeypatch.setattr(reading, "STEP_SECONDS", 0.0)
    drop.write("hl7/x.hl7", many(1, 100))
    polls = 0
    while not (drop.folder / "hl7/done/x.hl7").exists():
        assert drop.poll("hl7") == ""
        polls += 1
        assert polls < 30
    assert polls >= 9
    assert sorted(int(n) for _, n in drop.stored()) == list(range(1, 100))
    assert drop.kit.rows("SELECT COUNT(*) FROM mark") == [(1,)]
    told = [record for record in caplog.records if record.getMessage().startswith("reading a file: ")]
    assert [vars(record)["count"] for record in told] == [*range(10, 91, 10), 99]
    assert "50 %, 0 s left" in told[4].getMessage()


def test_old_files_are_deleted(drop: Drop) -> None:
    (drop.folder / "hl7" / "done").mkdir()
    old, new = drop.write("hl7/done/old", b"x"), drop.write("hl7/done/new", b"x")
    os.utime(old, (0, 0))
    drop.poll("hl7")
    assert (old.exists(), new.exists()) == (False, True)
    drop.write("hl7/gone.hl7", many(1, 2))
    _source(drop, quiet_seconds=0, done_days=0).poll(drop.poller("hl7")._feed)
    assert drop.files("hl7")["done"] == []


def test_how_far_a_large_file_is_can_be_seen(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    """In `hub status`, in the API and in the console; and no more once it is done."""
    from hub.cli.messages import snapshot, status_table

    monkeypatch.setattr(reading, "BLOCK", 50)
    monkeypatch.setattr(reading, "STEP_SECONDS", 0.0)
    rows = [f"{n},홍길동,{'x' * 900}" for n in range(200)]
    drop.write("csv/big.csv", csv(rows) + b"\r\n \r\n")
    drop.poll("csv")
    hub = drop.kit.hub
    (file,) = snapshot(hub.config, hub.engine)["channels"]["csv-files"]["reading"]
    assert 0 < file["bytes"] < file["size"]
    assert file["records"] == 50
    table = status_table(hub.config, hub.engine)
    assert any("reading a file" in str(cell) for column in table.columns for cell in column.cells)
    for _ in range(9):
        drop.poll("csv")
    assert drop.files("csv")["done"] == ["big.csv"]
    assert snapshot(hub.config, hub.engine)["channels"]["csv-files"]["reading"] == []


def test_answers_are_written_where_a_site_asks_for_them(drop: Drop) -> None:
    """One for each message, when all of it is stored; a file that is read again after a crash gets the same ones."""
    (drop.folder / "acks").mkdir()
    file = drop.kit.hub.config.path
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('folder = "drop/hl7"', f'folder = "drop/hl7"\nanswers = "{drop.folder}/acks"'), encoding="utf-8")
    drop.kit.hub.reload(load(file))
    bad = adt("A08", "3", control="F3").replace(b"|P|2.5|", b"|P|9.9|")
    data = many(1, 3) + bad
    drop.write("hl7/day.hl7", data)
    assert drop.poll("hl7") == ""
    (answers,) = (drop.folder / "acks").iterdir()
    assert answers.name == "day.hl7.ack"
    told = [one.split(b"|")[:3] for one in answers.read_bytes().split(b"\r") if one.startswith(b"MSA")]
    assert told == [[b"MSA", b"AA", b"F1"], [b"MSA", b"AA", b"F2"], [b"MSA", b"AE", b"F3"]]
    assert len(drop.refused()) == 1
    drop.write("hl7/day.hl7", data)  # the same file again
    drop.poll("hl7")
    assert b"MSA|AE|F3" in answers.read_bytes()
    assert len(drop.stored()) == 4  # two messages, and what was refused, twice
    (drop.folder / "acks" / "day.hl7.ack").unlink()
    (drop.folder / "acks").rmdir()
    drop.write("hl7/more.hl7", many(7, 8))
    assert "write the answers" in drop.poll("hl7")
    (drop.folder / "acks").mkdir()
    assert drop.poll("hl7") == ""
    assert [path.name for path in (drop.folder / "acks").iterdir()] == ["more.hl7.ack"]


def test_answers_and_refused_control_ids_do_not_go_together(drop: Drop) -> None:
    from hub.adapters.files import hl7_in

    with pytest.raises(Misconfigured, match="on_reuse"):
        hl7_in.Settings(folder=drop.folder, answers=drop.folder, on_reuse="refuse")
