"""A patient's message as an IDoc for SAP, whatever carries it: control record, DEBMAS, and how a replay is told from a retry.

DOCNUM is the message's number, so that SAP's answer (ALEAUD, STATUS) is joined to it; ARCKEY repeats it. Files and HTTP carry it
(idoc_out, idoc_http_out). RFC needs SAP's own NetWeaver RFC SDK, which may not be shipped: a site's own adapter is a Target that
calls `prepared` and hands the IDoc to IDOC_INBOUND_ASYNCHRONOUS (docs/erp-idoc.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from hub.adapters.erp.idoc_customer import UNNAMED, customer, number_of
from hub.adapters.erp.idoc_rules import PARTNER
from hub.adapters.first import NAMELESS, is_nameless, is_unnumbered_prospect, merged_away
from hub.adapters.settings import wrong
from hub.codecs.sap.idoc import Idoc
from hub.config import option
from hub.domain.errors import Refused
from hub.domain.ports import Delivered, Outbound

_TOLD = re.compile(r"(\d{1,16})\.(\d{1,6})\Z")


@dataclass(frozen=True, kw_only=True)
class EnvelopeSettings:
    """How the hub and SAP call each other, and what a customer gets."""

    client: str = option("", doc="MANDT that the IDoc is for, three digits; default: none is written")
    sender: str = option("LS/HUB", doc="SNDPRT/SNDPRN: how SAP's partner profile calls the hub")
    receiver: str = option(doc='RCVPRT/RCVPRN: "LS/ERPCLNT100"')
    sender_port: str = option("HUB", doc="SNDPOR, at most 10 characters")
    receiver_port: str = option("", doc="RCVPOR, at most 10 characters: SAPxxx of the SAP system")
    idoc_type: Literal["DEBMAS06", "DEBMAS07"] = option("DEBMAS07", doc="basic type")
    account_group: str = option("", doc="KTOKD of customers that are new to SAP; default: none is told")
    country: str = option("KR", doc="country of an address that names none")
    answers: bool = option(True, doc="false: SAP sends no ALEAUD back; what it took then counts as confirmed")
    assigner: str = option("", doc="whose patient numbers SAP's customers have")
    timezone: str = option("", doc="of dates and times in the control record; default: [hub] timezone")

    def __post_init__(self) -> None:
        for key in ("sender", "receiver"):
            if PARTNER.match(getattr(self, key)) is None:
                raise wrong(f'"{key}" is no partner', 'write type and number: "LS/ERPCLNT100"')
        for key in ("sender_port", "receiver_port"):
            if len(getattr(self, key)) > 10:
                raise wrong(f'"{key}" is longer than 10 characters', 'write "SAPERP"')
        if self.client and not re.fullmatch(r"\d{3}", self.client):
            raise wrong('"client" is no MANDT', 'write three digits: "100"')


class Prepared(NamedTuple):
    """What goes out. `again`: not "" where a person wants it sent once more, and then another text each time."""

    idoc: Idoc
    number: str  # KUNNR
    told: str  # what is to be kept as the peer's etag
    sent: dict[str, Any]  # canonical fields as SAP keeps them
    again: str

    def delivered(self, body: bytes, answer: bytes, detail: str, settings: EnvelopeSettings) -> Delivered:
        """SAP has it; it has not posted it yet."""
        said = f"DOCNUM {self.idoc['DOCNUM']} {detail}"
        return Delivered(self.number, self.told, body, answer, said, self.sent, not settings.answers)


def prepared(message: Outbound, settings: EnvelopeSettings) -> Prepared | Delivered:
    """The IDoc of a message; Delivered where there is nothing to tell. Raises Refused."""
    if merged_away(message):
        return Delivered(message.peer_id, message.peer_etag, detail="nothing to do: merged into another patient")
    if is_unnumbered_prospect(message.resource):
        return Delivered(detail="nothing to do: a prospect without a number")
    number = number_of(message.resource, settings.assigner)
    if is_nameless(message.resource) and not _last(message)[0]:
        return Delivered(number, UNNAMED, detail=NAMELESS)
    if not number:
        raise Refused("the patient has no number that SAP would know him by", code="no_number")
    made = customer(message, number, settings.account_group, settings.country)
    if made is None:
        return Delivered(message.peer_id, message.peer_etag, detail="nothing to do: no field of a customer")
    segment, sent = made
    last, times = _last(message)
    again = f"{last}.{times}" if last >= message.message_id else ""
    told = f"{max(message.message_id, last)}.{times + 1}"
    return Prepared(Idoc(_control(message, settings), [segment]), number, told, sent, again)


def docnum(message: Outbound) -> str:
    """DOCNUM: the message's number, sixteen digits."""
    return f"{message.message_id:016d}"


def _control(message: Outbound, settings: EnvelopeSettings) -> dict[str, str]:
    at = datetime.fromtimestamp(message.at / 1e6, UTC).astimezone(ZoneInfo(settings.timezone or "UTC"))
    sender, receiver = settings.sender.split("/", 1), settings.receiver.split("/", 1)
    control = {
        "TABNAM": "EDI_DC40", "MANDT": settings.client, "DOCNUM": docnum(message), "DIRECT": "2",
        "IDOCTYP": settings.idoc_type, "MESTYP": "DEBMAS", "SNDPOR": settings.sender_port, "SNDPRT": sender[0],
        "SNDPRN": sender[1], "RCVPOR": settings.receiver_port, "RCVPRT": receiver[0], "RCVPRN": receiver[1],
        "CREDAT": f"{at:%Y%m%d}", "CRETIM": f"{at:%H%M%S}", "ARCKEY": f"HUB-{message.message_id}",
        "SERIAL": f"{at:%Y%m%d%H%M%S}{message.at % 1_000_000:06d}",
    }  # fmt: skip
    return {name: value for name, value in control.items() if value}


def _last(message: Outbound) -> tuple[int, int]:
    """The last message of this patient that was delivered, and how many were. A message that is not newer than that is sent
    once more because a person wanted it: a retry comes before anything is delivered."""
    found = _TOLD.match(message.peer_etag or "")
    return (int(found[1]), int(found[2])) if found else (0, 0)
