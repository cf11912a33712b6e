"""What an IDoc must say of itself to be taken, and how one becomes a message: the same for files and for HTTP."""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hub.adapters.settings import wrong
from hub.codecs.korean import looks_like_rrn, patient_key
from hub.codecs.sap import amount
from hub.codecs.sap.idoc import Idoc, Segment, row
from hub.codecs.sap.idoc_segments import KNOWN_TYPES, SEGMENTS, Layout, layout
from hub.config import option
from hub.domain.errors import Misconfigured, Unreadable
from hub.domain.ports import Received
from hub.sync.polled import row_body

EVENT = "idoc."  # and the message type
PARTNER = re.compile(r"[A-Z]{2}/\S{1,10}\Z")
ROLE = re.compile(r"AG|RG|RE|WE|[ZY9][A-Z0-9]")  # PARVW: SAP's own for a customer, and the customer's name range
# Segments with money: its fields, and where its currency stands if not in CURCY of the bill (E1EDK01)
MONEY: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "E1EDS01": (("SUMME",), ("WAERQ", "SUNIT")),
    "E1EDP01": (("VPREI", "NETWR", "PREIS"), ("CURCY",)),
    "E1EDP26": (("BETRG",), ()),
}
LONGEST = 15  # digits before the point of an amount that a map reads (hub.mapping.composites, `money`)
NO_MONEY = frozenset({"001"})  # of E1EDS01-SUMID: the number of items
CREDIT = frozenset({"CRME"})  # of E1EDK01-BSART: a credit memo, whose amounts stand in it as if they were billed
TOTALS = ("011", "010")  # of E1EDS01-SUMID: to be paid, else the net value
PATIENT = "PATIENT_NUMBER"  # a column of its own: by which number SAP calls the patient, in whatever role

# Fields that hold a customer's number, filled up with zeros (conversion exit ALPHA)
NUMBERS: Mapping[str, tuple[str, ...]] = {
    "E1KNA1M": ("KUNNR",), "E1KNVPM": ("KUNN2",), "E1EDKA1": ("PARTN",), "E1EDPA1": ("PARTN",),
    "E101BUS_EI_INSTANCE": ("BPARTNER",),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class IdocSettings:
    """Who may send what, and what stands where."""

    assigner: str = option("", doc="assigning authority of the numbers by which SAP calls customers")
    senders: tuple[str, ...] = option((), doc='SNDPRT/SNDPRN that may send, ["LS/ERPCLNT100"]; default: anybody')
    receivers: tuple[str, ...] = option((), doc='RCVPRT/RCVPRN that the hub is, ["LS/HUB"]; default: anybody')
    client: str = option("", doc="MANDT that IDocs come from, three digits; default: any")
    message_types: tuple[str, ...] = option((), doc='MESTYP that are taken, ["DEBMAS"]; default: all that the hub knows')
    idoc_types: dict[str, tuple[str, ...]] = option(
        dict, doc='IDoc types of message types beyond those that the hub knows: { ZPATIENT = ["ZPATIENT01"] }'
    )
    extensions: tuple[str, ...] = option((), doc='CIMTYP that may come, ["ZDEBMAS07"]; default: none')
    test: bool = option(False, doc="true: IDocs with the TEST flag are taken as if they were real")
    number_digits: int = option(
        0, doc="digits of a patient number: SAP fills numbers up with zeros to 10, the hub takes them off again; 0: as it comes",
        low=0, high=10,
    )  # fmt: skip
    patient_role: str = option("AG", doc="partner function (PARVW) of bills and orders that is the patient: AG sold-to, RG payer")
    amounts: Literal["external", "internal"] = option(
        "external", doc="how bills write money: external, 12000 won; internal, SAP's two decimals for every currency, 120.00"
    )

    def __post_init__(self) -> None:
        for key in ("senders", "receivers"):
            for one in getattr(self, key):
                if PARTNER.match(one) is None:
                    raise wrong(f'"{key}" has {one}', 'write the partner type and number: ["LS/ERPCLNT100"]')
        if self.client and not re.fullmatch(r"\d{3}", self.client):
            raise wrong('"client" is no MANDT', 'write three digits: "100"')
        if not ROLE.fullmatch(self.patient_role):
            raise wrong(
                f'patient_role "{self.patient_role}" is no partner function of a customer',
                "write AG sold-to, RG payer, RE bill-to, WE ship-to, or your own, which begins with Z, Y or 9",
            )
        known = {*KNOWN_TYPES, *self.idoc_types}
        for one in self.message_types:
            if one not in known:
                raise wrong(
                    f'"message_types" has {one}, of which no IDoc type is known',
                    f'known here: {", ".join(sorted(known))}; others: idoc_types = {{ {one} = ["{one}01"] }}',
                )


def tables(file: Path | None) -> Mapping[str, Layout]:
    """Segments of SAP, and a site's own laid over them. Raises Misconfigured, which names file and segment."""
    if file is None:
        return SEGMENTS
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))["segments"]
        return {**SEGMENTS, **{name: layout(text) for name, text in found.items()}}
    except (OSError, KeyError, ValueError, AttributeError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise Misconfigured(f'segments of {file.name}: {said}; write [segments] and Z1PATIENT = "MRN 10 VIP 1"') from None


class Rules:
    """One channel's rules."""

    def __init__(self, settings: IdocSettings, channel: str) -> None:
        self._settings = settings
        self._channel = channel
        known = {**KNOWN_TYPES, **settings.idoc_types}
        self._types = {name: known.get(name, ()) for name in settings.message_types} if settings.message_types else known

    def wrong(self, idoc: Idoc) -> str:
        """Which field of the control record is not as configured, and what it should be; "" where all is well."""
        settings, control = self._settings, idoc
        sender, receiver = f"{control['SNDPRT']}/{control['SNDPRN']}", f"{control['RCVPRT']}/{control['RCVPRN']}"
        types = self._types.get(control["MESTYP"])
        checks = (
            (
                not re.fullmatch(r"[0-9]{1,16}", control["DOCNUM"]) or not control["DOCNUM"].strip("0"),
                "DOCNUM",
                "no number of an IDoc",
            ),
            (control["DIRECT"] not in ("", "1"), "DIRECT", "an IDoc on its way to SAP; outbound ones have 1"),
            (types is None, "MESTYP", f"not one of {', '.join(sorted(self._types))}"),
            (bool(types) and control["IDOCTYP"] not in (types or ()), "IDOCTYP", f"not one of {', '.join(types or ())}"),
            (
                bool(control["CIMTYP"]) and control["CIMTYP"] not in settings.extensions,
                "CIMTYP",
                "an extension that is not configured",
            ),
            (bool(settings.client) and control["MANDT"] != settings.client, "MANDT", f"not client {settings.client}"),
            (bool(settings.senders) and sender not in settings.senders, "SNDPRN", "a sender that is not configured"),
            (bool(settings.receivers) and receiver not in settings.receivers, "RCVPRN", "another receiver than the hub"),
            (bool(control["TEST"]) and not settings.test, "TEST", "an IDoc for tests"),
        )
        return next((f"EDI_DC40-{field}: {reason}" for bad, field, reason in checks if bad), "")

    def received(self, idoc: Idoc, raw: bytes) -> Received:
        """A message of the IDoc, or of its bytes with the reason why it is refused."""
        reason = self.wrong(idoc)
        if not reason:
            try:
                _money(idoc, self._settings.amounts)
            except Unreadable as error:
                reason = error.reason
        if reason:
            return self.refused(raw, reason, idoc)
        self._numbers(idoc)
        event, told = EVENT + idoc["MESTYP"], row(idoc)
        number = patient_number(idoc, self._settings.patient_role)
        patient = patient_key(self._settings.assigner, number)
        told |= {PATIENT: number} if number else {}
        return Received(
            channel=self._channel, body=row_body(event, told), sender=f"{idoc['SNDPRN']}|{idoc['MANDT']}",
            control_id=idoc["DOCNUM"], type=event, patient=patient, answer_owed=False, charset="utf-8",
        )  # fmt: skip

    def refused(self, raw: bytes, reason: str, idoc: Idoc | None = None) -> Received:
        """Kept with the reason, so that somebody can look into it."""
        sender, number, type_ = ("", "", "") if idoc is None else (idoc["SNDPRN"], idoc["DOCNUM"], EVENT + idoc["MESTYP"])
        return Received(self._channel, raw, sender, number, type_, None, answer_owed=False, refused=reason[:200])

    def _numbers(self, idoc: Idoc) -> None:
        digits = self._settings.number_digits
        if not digits:
            return
        for one in idoc.walk():
            for field in NUMBERS.get(one.name, ()):
                number = one.fields.get(field, "")
                if (
                    number.isascii() and number.isdigit() and not looks_like_rrn(number)
                ):  # without its zeros it would pass for one
                    one.fields[field] = number.lstrip("0").zfill(digits)


def patient_number(idoc: Idoc, role: str) -> str:
    """By which number SAP calls the patient whom the IDoc is about; "" where it is about none."""
    for name, field in (("E1KNA1M", "KUNNR"), ("E101BUS_EI_INSTANCE", "BPARTNER")):
        for one in idoc.all(name):
            return one.fields.get(field, "")
    roles = [one for one in idoc.segments if one.name == "E1EDKA1" and one.fields.get("PARVW") == role]
    return roles[0].fields.get("PARTN", "") if roles else ""


def _money(idoc: Idoc, form: amount.Form) -> None:
    """Money as the hub writes it, digits with a point and a sign in front, with its currency (CURCY) beside it. A credit memo is
    turned as a whole, discounts too, unless its total has a minus already.

    Raises Unreadable that names segment and field.
    """
    heads = idoc.all("E1EDK01")
    bill = heads[0].fields.get("CURCY", "") if heads else ""
    credit = bool(heads) and heads[0].fields.get("BSART") in CREDIT and not amount.is_signed(_total(idoc))

    def go(segments: list[Segment], above: str) -> None:
        for one in segments:
            fields, own = MONEY.get(one.name, ((), ()))
            currency = next((one.fields[c] for c in own if one.fields.get(c)), "") or above
            for field in fields if one.fields.get("SUMID") not in NO_MONEY else ():
                text = one.fields.get(field, "")
                if text:
                    found = amount.read(text, currency, form, where=f"{one.name}-{field}")
                    if found is None:  # blanks of another kind
                        del one.fields[field]
                        continue
                    if len(found.value.lstrip("-").partition(".")[0]) > LONGEST:
                        raise Unreadable(f"{one.name}-{field}: more than {LONGEST} digits", code="too_long")
                    one.fields |= {field: amount.negated(found).value if credit else found.value, "CURCY": currency}
            go(one.children, currency)

    go(idoc.segments, bill)


def _total(idoc: Idoc) -> str:
    sums = {one.fields.get("SUMID", ""): one.fields.get("SUMME", "") for one in idoc.all("E1EDS01")}
    return next((sums[kind] for kind in TOTALS if sums.get(kind)), "")
