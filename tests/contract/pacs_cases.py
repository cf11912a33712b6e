"""Adapters that ask a PACS: the simulated one, which misbehaves as peers do, and in the ways that only DICOM knows."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

from hub.adapters.pacs import dicom_poll, dicomweb_poll, orthanc
from hub.domain.errors import Refused
from hub.simulator.faults import Fault
from hub.simulator.pacs import PacsPeer
from hub.simulator.pacs_web import PacsWebPeer
from hub.testing.case import FAMILY, GIVEN
from hub.testing.inbound_case import PolledCase
from tests.contract.inbound_cases import number

TIMEOUT = 0.3
# Of the client that all HTTP peers share, every fault is tried elsewhere: here those whose meaning is the adapter's
HTTP_FAULTS = (Fault.CLOSED, Fault.TLS_WRONG, Fault.WRONG_ANSWER, Fault.REFUSE, Fault.BUSY)
MAP = """source = "row"
[block.patient]
kind = "Patient"
key = "PatientID"
[block.patient.fields]
"PatientName" = { to = "name", as = "name_text", each = true }
[event.PACS_STUDY]
title = "A study, for its patient"
blocks = ["patient"]
[block.gone]
kind = "ImagingStudy"
key = "StudyInstanceUID"
create = false
gone = true
[event.PACS_GONE]
title = "A study that is gone"
blocks = ["gone"]
"""


def study(n: int) -> dict[str, str]:
    """The n-th patient's, of today."""
    return {
        "StudyInstanceUID": f"1.2.410.99.{n}", "PatientID": number(n), "PatientName": f"{FAMILY}^{GIVEN}", "PatientSex": "M",
        "StudyDate": f"{dt.datetime.now(ZoneInfo('Asia/Seoul')):%Y%m%d}", "ModalitiesInStudy": "CT", "AccessionNumber": f"A{n}",
    }  # fmt: skip


def dicom_table(peer: Any) -> dict[str, Any]:
    return {
        "host": peer.host, "port": peer.port, "called_ae": "PACS", "event": "PACS_STUDY", "window_days": 1,
        "timeout_seconds": TIMEOUT,
    }  # fmt: skip


ASKING = [
    PolledCase(
        name="pacs.dicom_poll",
        module=dicom_poll,
        peer=lambda tls: PacsPeer(tls=tls),
        table=lambda peer: dicom_table(peer) | ({"tls": True} if peer._tls else {}),
        tell=lambda peer, n: peer.tell(study(n)),
        number=number,
        maps=MAP,
        system="pacs",
        expected={Fault.REFUSE: Refused},
        timeout=TIMEOUT,
    ),
    PolledCase(
        name="pacs.dicomweb_poll",
        module=dicomweb_poll,
        peer=lambda tls: PacsWebPeer(tls=tls),
        table=lambda peer: {
            "url": peer.dicomweb,
            "event": "PACS_STUDY",
            "window_days": 1,
            "timeout_seconds": TIMEOUT,
            "count": 2,
        },
        tell=lambda peer, n: peer.tell(study(n)),
        number=number,
        maps=MAP,
        system="pacs",
        expected={Fault.REFUSE: Refused},
        faults=HTTP_FAULTS,
        timeout=TIMEOUT,
    ),
    PolledCase(
        name="pacs.orthanc",
        module=orthanc,
        peer=lambda tls: PacsWebPeer(tls=tls),
        table=lambda peer: {"url": peer.url, "event": "PACS_STUDY", "timeout_seconds": TIMEOUT, "count": 2},
        tell=lambda peer, n: peer.tell(study(n)),
        number=number,
        maps=MAP,
        system="pacs",
        expected={Fault.REFUSE: Refused},
        faults=HTTP_FAULTS,
        timeout=TIMEOUT,
    ),
]
