"""ERP, outbound: a canonical patient's changes into a party of Tryton 8.2 (JSON-RPC): an ERP that is not SAP.

find (by the id learnt earlier, else by party identifier) -> read with contact mechanisms, addresses, identifiers -> one write of
what differs, with the time stamps read, so that somebody else's change in between is met (ConcurrencyException) and merged.
A party that Tryton does not have is created in one call, after a search.

Why sending again is safe: every attempt reads first; a create whose answer was lost is looked up by its identifier at once.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hub.adapters.erp import tryton_party as parties
from hub.adapters.erp.fields import COUNTRIES
from hub.adapters.erp.tryton_party import PARTY, Plan
from hub.adapters.erp.tryton_rpc import Conflict, TrytonRpc, TrytonSettings
from hub.adapters.first import NAMELESS, is_nameless, is_unnumbered_prospect, merged_away
from hub.adapters.settings import read_table, wrong
from hub.codecs.tryton import Record
from hub.config import option
from hub.domain.errors import HubError, NotDelivered, OutcomeUnknown, Refused
from hub.domain.ports import Delivered, Manifest, Outbound, Target

MANIFEST = Manifest(
    name="erp.tryton", title="ERP: Tryton party", direction="out", system="erp", protocol="Tryton JSON-RPC",
    handles=("patient.created", "patient.updated"),
)  # fmt: skip
ROUNDS = 3  # how often a party that somebody else changed meanwhile is read and compared again


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(TrytonSettings):
    """A channel's own keys; see docs/erp-tryton.md."""

    assigner: str = option("HOSP", doc="whose patient number that is; default: [hub] assigner")
    create: bool = option(False, doc="true: a patient whom Tryton does not know becomes a party; false: refused")

    def __post_init__(self) -> None:
        TrytonSettings.__post_init__(self)
        if not self.assigner:
            raise wrong('"assigner" is empty', 'write the assigning authority of the patient number: assigner = "HOSP"')

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


def build(settings: Settings) -> Target:
    """The channel, ready to send; nothing is connected yet."""
    return TrytonTarget(settings)


class TrytonTarget:
    """`hub.domain.ports.Target` for one Tryton database."""

    resend_is_safe = True  # see the module's docstring

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rpc = TrytonRpc(settings)
        self._countries: dict[str, int] | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        self._rpc.close()

    def ping(self) -> str:
        """Logs in and asks for nobody: shows that address, database, user and rights work."""
        self._rpc.ask(f"model.{PARTY}.search_count", [["id", "<", 0]], {})
        return "Tryton, session given"

    def send(self, message: Outbound) -> Delivered:
        """Brings the message's fields into Tryton. See hub.domain.ports.Target.send."""
        if merged_away(message):
            return Delivered(message.peer_id, detail="nothing to do: merged into another patient")
        for _ in range(ROUNDS):
            party = self._find(message)
            if party is None and is_unnumbered_prospect(message.resource):
                return Delivered(detail="nothing to do: a prospect without a number")
            if party is None and is_nameless(message.resource):
                return Delivered(detail=NAMELESS)
            delivered = self._change(message, party) if party else self._create(message)
            if delivered is not None:
                return delivered
        raise NotDelivered("the party kept changing in the ERP while we wrote", code="conflict")

    def find(self, message: Outbound) -> Delivered | None:
        """Whether what `message` says stands in Tryton already: the read leaves nothing to write."""
        party = self._find(message)
        if party is None:
            return None
        plan = parties.change(message, party, self._known_countries())
        return None if plan.values else Delivered(str(party["id"]), detail="found", sent_fields=plan.sent_fields)

    def _find(self, message: Outbound) -> Record | None:
        if message.peer_id and message.peer_id.isdigit():
            found = self._rpc.search_read(PARTY, [["id", "=", int(message.peer_id)]], parties.READ)
            if found:
                return found[0]
        number = parties.patient_number(message.resource, self._settings.assigner)
        if not number:
            return None
        same = [["code", "=", number], ["type", "=", self._settings.identifier_type or None]]
        hits = self._rpc.search_read(PARTY, [["identifiers", "where", same]], parties.READ, limit=2)
        if len(hits) > 1:
            raise Refused("ambiguous: several parties carry this patient number", code="ambiguous")
        return hits[0] if hits else None

    def _change(self, message: Outbound, party: Record) -> Delivered | None:
        """None: somebody else was there in between, read again."""
        plan = parties.change(message, party, self._known_countries())
        if not plan.values:
            return Delivered(str(party["id"]), detail="unchanged", sent_fields=plan.sent_fields)
        try:
            _, answer = self._rpc.tell(f"model.{PARTY}.write", [party["id"]], plan.values, {"_timestamp": plan.stamps})
        except Conflict:
            return None
        return Delivered(str(party["id"]), None, answer.sent, answer.body, "written", plan.sent_fields)

    def _create(self, message: Outbound) -> Delivered | None:
        """None: it turned out to be there (somebody else's, or ours whose answer was lost)."""
        plan = self._new(message)
        try:
            made, answer = self._rpc.tell(f"model.{PARTY}.create", [plan.values], {})
        except OutcomeUnknown as error:
            if self._stands(message):
                return None
            raise error from None
        if not (isinstance(made, list) and len(made) == 1 and isinstance(made[0], int)):
            unknown = OutcomeUnknown("the ERP's answer to a create cannot be read", code="wrong_answer")
            unknown.sent, unknown.answer = answer.sent, answer.body
            raise unknown
        return Delivered(str(made[0]), None, answer.sent, answer.body, "created", plan.sent_fields)

    def _new(self, message: Outbound) -> Plan:
        number = parties.patient_number(message.resource, self._settings.assigner)
        if not self._settings.create:
            raise Refused("the patient is unknown there, and this channel does not create parties", code="unknown_there")
        if not number:
            text = f"the patient has no number of {self._settings.assigner}, the assigner of this channel"
            raise Refused(text, code="no_identifier")
        plan = parties.new(message.resource, number, self._settings.identifier_type, self._known_countries())
        if not plan.values["name"]:
            raise Refused("a party needs a name, the patient has none", code="no_name")
        return plan

    def _stands(self, message: Outbound) -> bool:
        """After a lost answer: is the party there? Whatever else goes wrong now, the outcome stays unknown."""
        try:
            return self._find(message) is not None
        except HubError:
            return False

    def _known_countries(self) -> Mapping[str, int]:
        """Tryton's countries by both codes that the hub may have; none where nobody imported them there."""
        with self._lock:
            if self._countries is None:
                found = self._rpc.search_read("country.country", [], ("code",))
                two = {str(one["code"]): int(one["id"]) for one in found}
                three = {long: two[short] for long, short in COUNTRIES.items() if short in two}
                self._countries = two | three
            return self._countries
