"""An SAP that speaks IDocs: takes them from a folder or by HTTP, posts them, and sends word of what became of each (ALEAUD)."""

from __future__ import annotations

import ssl

from hub.codecs.sap import idoc_flat, idoc_xml
from hub.codecs.sap.idoc import NOT_TOLD, Idoc, Segment
from hub.domain.errors import Unreadable
from hub.simulator.http_peer import HttpPeer, Request, response
from hub.simulator.receiver import FolderPeer

LOGICAL = "SAPCLNT100"
CLIENT = "100"


def control(message_type: str, idoc_type: str, docnum: str) -> dict[str, str]:
    """Of an IDoc that SAP sends to the hub."""
    return {
        "TABNAM": "EDI_DC40", "MANDT": CLIENT, "DOCNUM": docnum, "DOCREL": "757", "STATUS": "30", "DIRECT": "1", "OUTMOD": "2",
        "IDOCTYP": idoc_type, "MESTYP": message_type, "SNDPOR": "SAPERP", "SNDPRT": "LS", "SNDPRN": LOGICAL, "RCVPOR": "HUB",
        "RCVPRT": "LS", "RCVPRN": "HUB", "CREDAT": "20261122", "CRETIM": "090000",
    }  # fmt: skip


def customer(number: str, docnum: str, **fields: str) -> Idoc:
    """DEBMAS07 of one customer."""
    return Idoc(control("DEBMAS", "DEBMAS07", docnum), [Segment("E1KNA1M", {"MSGFN": "005", "KUNNR": number, **fields})])


def bill(number: str, docnum: str, customer_number: str, total: str, currency: str = "KRW", kind: str = "INVO") -> Idoc:
    """INVOIC02 of one item."""
    segments = [
        Segment("E1EDK01", {"CURCY": currency, "BELNR": number, "BSART": kind}),
        Segment("E1EDKA1", {"PARVW": "AG", "PARTN": customer_number}),
        Segment("E1EDK02", {"QUALF": "009", "BELNR": number}),
        Segment("E1EDK03", {"IDDAT": "026", "DATUM": "20261122"}),
        Segment("E1EDP01", {"POSEX": "000010", "MENGE": "1.000", "MENEE": "EA"}, [
            Segment("E1EDP26", {"QUALF": "003", "BETRG": total}),
            Segment("E1EDP19", {"QUALF": "002", "IDTNR": "CHEST-XR", "KTEXT": "흉부 촬영"}),
        ]),
        Segment("E1EDS01", {"SUMID": "001", "SUMME": "1"}),
        Segment("E1EDS01", {"SUMID": "010", "SUMME": total, "WAERQ": currency}),
        Segment("E1EDS01", {"SUMID": "011", "SUMME": total, "WAERQ": currency}),
    ]  # fmt: skip
    return Idoc(control("INVOIC", "INVOIC02", docnum), segments)


def status(docnum: str, about: str, code: str, message: str = "", text: str = "") -> Idoc:
    """ALEAUD01: what became of the IDoc that its sender calls `about`. `message`: class and number of T100, "VG 204"."""
    class_, _, number = message.partition(" ")
    told = {"DOCNUM": about, "STATUS": code, "STATXT": text, "STATYP": "E" if code in ("51", "56") else "S"}
    told |= {"STAMID": class_, "STAMNO": number} if message else {}
    head = Segment(
        "E1ADHDR", {"MESTYP": "DEBMAS", "MESTYP_LNG": "DEBMAS"}, [Segment("E1STATE", {k: v for k, v in told.items() if v})]
    )
    return Idoc(control("ALEAUD", "ALEAUD01", docnum), [head])


class Customers:
    """What SAP has in its tables: an IDoc posted twice is one customer with the same values."""

    def __init__(self) -> None:
        self.table: dict[str, dict[str, str]] = {}
        self.docnums: list[str] = []

    def post(self, idoc: Idoc) -> Idoc:
        """What it answers: 53, or 51 for a segment without a number."""
        self.docnums.append(idoc["DOCNUM"])
        own = f"{900_000 + len(self.docnums):016d}"
        for one in idoc.all("E1KNA1M"):
            number = one.fields.get("KUNNR", "")
            if not number:
                return status(own, idoc["DOCNUM"], "51", "F2 163")
            told = {name: value for name, value in one.fields.items() if value != NOT_TOLD}
            self.table.setdefault(number, {}).update(told)
        return status(own, idoc["DOCNUM"], "53")


class SapHttp(HttpPeer):
    """The service /sap/bc/idoc_xml."""

    path = "/sap/bc/idoc_xml"

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(host=host, port=port, tls=tls)
        self.customers = Customers()
        self.answers: list[Idoc] = []

    def answer(self, request: Request) -> bytes:
        if request.method != "POST":
            return response(200, headers={"Allow": "GET, POST"})
        try:
            idocs = idoc_xml.read(request.body)
        except Unreadable:
            return response(500, b"XML parsing failed")
        with self.lock:
            self.answers += [self.customers.post(idoc) for idoc in idocs]
            self.received.append((request.target, request.body))
        return response(200, b"")


class SapFolder(FolderPeer):
    """A directory of SAP's file port."""

    def customers(self, charset: str = "utf-8") -> Customers:
        """After all that stands in it, in the order of names."""
        found, form = Customers(), idoc_flat.Format.of(charset)
        for body in self.files().values():
            idocs = (
                idoc_xml.read(body)
                if body[:1] == b"<"
                else [idoc_flat.read(p.body, form) for p in idoc_flat.pieces([body], form)]
            )
            for idoc in idocs:
                found.post(idoc)
        return found
