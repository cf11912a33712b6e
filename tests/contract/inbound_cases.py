"""The cases of adapters that are sent to, and of adapters that ask."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hub.adapters.erp import idoc_in
from hub.adapters.files import csv_in, fixed_in
from hub.adapters.files import hl7_in as hl7_files
from hub.adapters.ocs import hl7_in
from hub.adapters.pacs import dicom_in
from hub.codecs.sap import idoc_flat
from hub.domain.errors import Misconfigured
from hub.simulator import dicom_wire
from hub.simulator.faults import Fault
from hub.simulator.idoc import customer
from hub.simulator.receiver import FolderPeer
from hub.testing.case import FAMILY, GIVEN, NAME, NUMBER, RAW_PHONE
from hub.testing.inbound_case import ListenedCase, PolledCase
from tests.contract import tryton_polled
from tests.hub_kit import row_map

MAP = row_map('"SNAME" = { to = "name", as = "name_text", each = true }')


def number(n: int) -> str:
    return f"{NUMBER}-{n}"


def message(n: int) -> bytes:
    head = f"MSH|^~\\&|OCS|HOSP|HUB|HOSP|20261122090000||ADT^A08|IN{n:06d}|P|2.5|||||KOR|UNICODE UTF-8"
    pid = f"PID|1||{number(n)}^^^HOSP^MR||{FAMILY}^{GIVEN}||19870504|M|||||{RAW_PHONE}"
    return "\r".join([head, "EVN|A08|20261122090000", pid, ""]).encode()


def positive(received: bytes) -> bool:
    return b"MSA|AA|" in received.partition(b"\x1c")[0] or b"MSA|CA|" in received.partition(b"\x1c")[0]


LISTENED = [
    ListenedCase(
        name="ocs.hl7_in",
        module=hl7_in,
        table={"port": 0},
        frame=lambda n: b"\x0b" + message(n) + b"\x1c\r",
        number=number,
        answers=lambda received: received.count(b"\x1c\r"),
        positive=positive,
    ),
    ListenedCase(
        name="pacs.dicom_in",
        module=dicom_in,
        system="pacs",
        table={"port": 0, "peers": {"MODALITY": "127.0.0.1"}},
        greeting=dicom_wire.associate(),
        frame=lambda n: dicom_wire.store(dicom_wire.header(number(n), f"1.2.410.200001.9.{n + 1}"), n + 1, b"\0" * 64),
        number=number,
        answers=lambda received: len(dicom_wire.statuses(received)),
        positive=lambda received: dicom_wire.statuses(received)[:1] == [0],
    ),
]


class Folder(FolderPeer):
    """A drop folder, in which somebody writes a file a patient, complete with its name."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind

    def tell(self, n: int) -> None:
        bodies = {
            "hl7": message(n),
            "csv": f"PANO,SNAME\r\n{number(n)},{NAME}\r\n".encode("cp949"),
            "idoc": idoc_flat.write(
                customer(f"CANARY{n:03d}", f"{n:016d}", NAME1=NAME, TELF2=RAW_PHONE), idoc_flat.Format.of("cp949")
            ),
            "fixed": f"{number(n):<20}".encode() + NAME.encode("cp949") + b"\r\n",
        }
        where = self.folder if self.folder.exists() else self.folder.with_name("away")
        part = Path(tempfile.mkstemp(dir=where, suffix=".tmp")[1])
        part.write_bytes(bodies[self._kind])
        part.rename(where / f"{n:04d}.txt")


def _folder(kind: str, module: Any, **more: Any) -> PolledCase:
    return PolledCase(
        name=f"files.{kind}_in",
        module=module,
        peer=lambda tls: Folder(kind),
        table=lambda peer: {"folder": str(peer.folder), "ready": "rename", **more},
        tell=lambda peer, n: peer.tell(n),
        number=number,
        maps=MAP,
        faults=(Fault.CLOSED,),
        expected={Fault.CLOSED: Misconfigured},  # a share that is gone: a person mounts it
    )


ROWS = {"event": "OPD_PATIENT", "keys": ["PANO"], "charset": "cp949"}
POLLED = [
    PolledCase(
        name="erp.idoc_in",
        module=idoc_in,
        peer=lambda tls: Folder("idoc"),
        table=lambda peer: {"folder": str(peer.folder), "ready": "rename", "charset": "cp949", "senders": ["LS/SAPCLNT100"]},
        tell=lambda peer, n: peer.tell(n),
        number=lambda n: f"CANARY{n:03d}",
        system="erp",
        faults=(Fault.CLOSED,),
        expected={Fault.CLOSED: Misconfigured},
    ),
    _folder("hl7", hl7_files),
    _folder("csv", csv_in, **ROWS),
    _folder("fixed", fixed_in, **ROWS, columns={"PANO": [1, 20], "SNAME": [21, 10]}, short_lines="blank"),
    tryton_polled.CASE,
]
