"""Korean text through drop folders and out again: byte for byte in every charset, refused where a target cannot hold it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from hub.bootstrap.poll import Poller
from hub.config import load
from tests.hub_kit import Kit, make_kit, row_map

NAMES = ("홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수", "洪吉洞")
MAP = row_map('"SNAME" = { to = "name", as = "name_text", each = true }')
HL7 = {"cp949": "KS X 1001", "utf-8": "UNICODE UTF-8", "utf-8-sig": "UNICODE UTF-8"}


class House:
    """Drop folders, one a charset, and folders that messages go on to: as they came, in cp949, in UTF-8 and in Latin-1."""

    def __init__(self, folder: Path) -> None:
        self.kit: Kit = make_kit(folder, f"sqlite:///{folder}/hub.db")
        self.folder = folder
        (folder / "maps").mkdir()
        (folder / "maps" / "legacy.toml").write_text(MAP, encoding="utf-8")
        text = ""
        for kind, codec in [(k, c) for k in ("hl7", "csv", "fixed") for c in ("cp949", "utf-8")]:
            (folder / kind / codec).mkdir(parents=True)
            text += (
                f'[channels.{kind}-{codec}]\nadapter = "files.{kind}_in"\nsystem = "ocs"\nfolder = "{folder}/{kind}/{codec}"\n'
            )
            text += f'charset = "{codec}"\nready = "rename"\noverlay = "maps"\n'
            text += "" if kind == "hl7" else 'event = "OPD_PATIENT"\nkeys = ["PANO"]\n'
            text += "columns = { PANO = [1, 8], SNAME = [9, 20] }\n" if kind == "fixed" else ""
        for out in ("as-it-came", "cp949", "utf-8", "latin1"):
            (folder / "out" / out).mkdir(parents=True)
            text += f'[channels.out-{out}]\nadapter = "raw.folder_out"\nsystem = "emr"\nfolder = "{folder}/out/{out}"\n'
            text += "" if out == "as-it-came" else f'charset = "{out}"\n'
        text += '[[routes]]\nto = ["out-as-it-came", "out-cp949", "out-utf-8", "out-latin1"]\n'
        text += 'from_channels = ["hl7-cp949", "hl7-utf-8", "csv-cp949", "csv-utf-8", "fixed-cp949", "fixed-utf-8"]\n'
        file = self.kit.hub.config.path
        file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")
        self.kit.hub.reload(load(file))

    def drop(self, channel: str, data: bytes) -> None:
        kind, _, codec = channel.partition("-")
        (self.folder / kind / codec / "one.txt").write_bytes(data)
        poller = Poller(self.kit.hub, self.kit.hub.config.channels[channel], lambda: None)
        poller.round()
        assert poller._trouble == ""
        poller._close()
        self.kit.apply()
        self.kit.deliver()

    def out(self, name: str) -> list[bytes]:
        return [path.read_bytes() for path in sorted((self.folder / "out" / name).glob("*.hl7"))]

    def dead(self) -> list[str]:
        return [str(r) for (r,) in self.kit.rows("SELECT reason FROM work WHERE state = 'dead' AND channel = 'out-latin1'")]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    one = House(tmp_path)
    yield one
    one.kit.close()


def message(codec: str, declared: str) -> bytes:
    head = f"MSH|^~\\&|LAB|HOSP|HUB|HOSP|20261122090000||ADT^A08|R{time.time_ns()}|P|2.5|||||KOR|{declared}"
    contacts = [f"NK1|{n}|{name}" for n, name in enumerate(NAMES, 1)]
    return "\r".join([head, "EVN|A08|20261122090000", "PID|1||100^^^HOSP^MR||남궁민수", *contacts, ""]).encode(codec)


@pytest.mark.parametrize("codec", ["cp949", "utf-8", "utf-8-sig"])
def test_hl7_files_come_out_as_they_went_in_and_there_and_back_again(house: House, codec: str) -> None:
    came = message(codec, HL7[codec])
    plain = came.removeprefix(b"\xef\xbb\xbf")
    house.drop("hl7-utf-8" if codec != "cp949" else "hl7-cp949", came)
    assert house.kit.patient("100")["name"][0]["text"] == "남궁민수"
    assert [one.removeprefix(b"\xef\xbb\xbf") for one in house.out("as-it-came")] == [plain]
    same, other = ("cp949", "utf-8") if codec == "cp949" else ("utf-8", "cp949")
    assert [one.removeprefix(b"\xef\xbb\xbf") for one in house.out(same)] == [plain]
    (converted,) = (
        house.out(other) if codec != "utf-8-sig" else [plain.decode().replace(HL7["utf-8"], HL7["cp949"]).encode("cp949")]
    )
    expected = plain.decode(same).replace(f"|{HL7[same]}\r", f"|{HL7[other]}\r")
    assert converted == expected.encode(other)
    house.drop(f"hl7-{other}", converted.replace(b"|R", b"|S", 1))  # and back: another control id, else it is a repetition
    back = house.out(same)[-1]
    assert back == plain.replace(b"|R", b"|S", 1)


@pytest.mark.parametrize("codec", ["cp949", "utf-8", "utf-8-sig"])
@pytest.mark.parametrize("kind", ["csv", "fixed"])
def test_rows_of_files_keep_every_character(house: House, kind: str, codec: str) -> None:
    if kind == "csv":
        data = "".join(f"{line}\r\n" for line in ["PANO,SNAME", *(f'{n},"{name}"' for n, name in enumerate(NAMES, 1))]).encode(
            codec
        )
    else:
        plain = codec.removesuffix("-sig")
        data = b"".join(f"{n:<8}".encode() + name.encode(plain).ljust(20) + b"\r\n" for n, name in enumerate(NAMES, 1))
        data = b"\xef\xbb\xbf" + data if codec == "utf-8-sig" else data
    house.drop(f"{kind}-{codec.removesuffix('-sig')}", data)
    assert [house.kit.patient(str(n))["name"][0]["text"] for n, _ in enumerate(NAMES, 1)] == list(NAMES)
    for out in ("cp949", "utf-8"):
        passed = [orjson.loads(body.decode(out).encode())["row"] for body in house.out(out)]
        assert sorted(row["SNAME"].strip() for row in passed) == sorted(NAMES)


def test_what_the_target_cannot_hold_is_refused_before_and_its_character_named(house: House) -> None:
    house.drop("hl7-utf-8", message("utf-8", HL7["utf-8"]))
    assert house.out("latin1") == []
    (reason,) = house.dead()
    assert "U+B0A8" in reason  # 남, the first that Latin-1 has not
    assert "남" not in reason
