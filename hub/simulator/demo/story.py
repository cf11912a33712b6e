"""The demo's acts, in order. Each plays a scene through the real protocols and checks at once what came of it.

What is checked is what the other side really got: an OCS's answers, what stands in EMR and ERP, the CRM's events.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from hub.codecs.hl7v2 import parse
from hub.simulator.demo import scenes
from hub.simulator.demo.four_systems import FourSystems
from hub.simulator.demo.house import EMR_SYSTEM, HOST, House
from hub.simulator.demo.verdict import Verdict, wait
from hub.simulator.hl7_peer import Hl7Sender
from hub.simulator.journeys import Step, journeys, poison
from hub.transport.mllp_client import MllpClient

SETTLE_SECONDS = 60.0
NEW_PHONE = "010-7777-8888"
NEW_E164 = "+821077778888"
Note = Callable[[str], None]


class Story:
    """Plays in a started house. `note` is told what happens, for people."""

    def __init__(self, house: House, verdict: Verdict, note: Note, *, patients: int, seed: int) -> None:
        self.house, self.verdict, self.note = house, verdict, note
        self.patients, self.seed = patients, seed
        self.extra = 0  # messages that were sent beside the desks and stored
        self._utf8, self._cp949 = house.desks.values()

    def play(self) -> None:
        """All acts."""
        self.everyday()
        self.four_systems()
        self.night_desk()
        self.bad_messages()
        self.front_office()
        self.outage()
        self.repair()

    # ---- act 1: everyday -----------------------------------------------------------------------------------------------

    def everyday(self) -> None:
        """Admissions, visits, bookings, transfers, corrections and cancellations, from two desks with two charsets."""
        self.note(f"{self.patients} patients walk through the hospital; two desks send, one in UTF-8, one in KS X 1001")
        desks = (self._utf8, self._cp949)
        for step in journeys(patients=self.patients, seed=self.seed):
            self._put(desks[int(step.patient[2:]) % 2], step)
        for who in (scenes.HONG, scenes.KANG):
            self._put(self._cp949, scenes.visit(who))
        self._answered()
        for desk in desks:
            self.verdict.equal(f"every message of the {desk.facility} desk is taken", set(desk.answers), {"AA"})

    # ---- act 2: all four systems -----------------------------------------------------------------------------------------

    def four_systems(self) -> None:
        """Registered, charted, ordered, imaged, reported, billed, paid: through OCS, EMR, PACS and ERP, against the clock."""
        self.settled()
        self.note("patients go through all four systems; the clock runs until the CRM knows of each step")
        FourSystems(self.house, self.verdict).play()

    # ---- act 3: merges, late, doubled, unreadable ------------------------------------------------------------------------

    def night_desk(self) -> None:
        """Two persons have two numbers each: one A40 with two pairs. A late message, a doubled one, one without a map."""
        self.note("one A40 merges two pairs; an old message comes late, another one twice")
        for who in (scenes.NAMGUNG, scenes.NAMGUNG_AGAIN, scenes.HWANGBO, scenes.HWANGBO_AGAIN):
            self._put(self._utf8, scenes.visit(who))
        self._put(self._utf8, scenes.two_merges())
        self._put(self._utf8, scenes.late())
        self._put(self._utf8, scenes.unmapped())
        self._answered()
        self._twice(scenes.visit(scenes.DOUBLED))
        self.settled()
        for survivor, prior in ((scenes.NAMGUNG, scenes.NAMGUNG_AGAIN), (scenes.HWANGBO, scenes.HWANGBO_AGAIN)):
            one, other = self.find(identifier=f"HOSP|{survivor.number}"), self.find(identifier=f"HOSP|{prior.number}")
            self.verdict.expect("both numbers of a merged pair lead to one patient", one and other and one["id"] == other["id"])
        kang = self.find(identifier=f"HOSP|{scenes.KANG.number}") or {}
        self.verdict.equal("a late message does not take a phone back", _phone(kang), f"+8210{scenes.KANG.phone}")

    def _twice(self, step: Step) -> None:
        """The same bytes again, as after a lost answer."""
        client = MllpClient(HOST, self.house.mllp_port, connect_seconds=5, answer_seconds=20)
        control_id = f"TWICE-{time.time_ns()}"
        body = self._utf8.compose(step.event, step.segments, control_id)
        try:
            answers = [parse(client.send(body, control_id), "utf-8").segments[1] for _ in range(2)]
        finally:
            client.close()
        self.extra += 1
        said = [(one.value(1), one.value(2)) for one in answers]
        self.verdict.equal("a message that comes twice gets its answer twice", said, [("AA", control_id)] * 2)

    def bad_messages(self) -> None:
        """Unreadable bytes; a message no map can apply; a booking without a number, whose neighbours go on."""
        self.note("unreadable bytes are refused; a poison message stops its own lane, its neighbours go on")
        client = MllpClient(HOST, self.house.mllp_port, connect_seconds=5, answer_seconds=20)
        try:
            answer = parse(client.send(scenes.BROKEN, "BROKEN-1"), "utf-8")
        finally:
            client.close()
        self.extra += 1
        self.verdict.equal("unreadable bytes get a negative answer", answer.segments[1].value(1), "AE")
        self.verdict.expect("it says where, in an ERR segment", any(one.name == "ERR" for one in answer.segments))
        self._put(self._utf8, scenes.unnumbered_booking())
        self._put(self._utf8, poison())
        self._put(
            self._utf8, scenes.details(scenes.POISONED, phone="55556666", at=scenes.now() + timedelta(seconds=5))
        )  # waits behind its patient's poison
        for who in scenes.NEIGHBOURS:
            self._put(self._utf8, scenes.visit(who))
        self._answered()
        self.verdict.until("two poison messages end dead", lambda: len(self._dead()) == 2)
        self.settled()
        applied = sum(self._state_of(who.number) == ["applied"] for who in scenes.NEIGHBOURS)
        self.verdict.equal("the poison's neighbours are applied", applied, len(scenes.NEIGHBOURS))
        waiting = sorted(self._state_of(scenes.POISONED.number))
        self.verdict.equal("the poison's own lane waits behind it", waiting, ["dead", "queued"])
        self.verdict.facts["poison"] = {"dead": bool(self._dead()), "neighbours_applied": applied}

    # ---- act 4: the front office ----------------------------------------------------------------------------------------

    def front_office(self) -> None:
        """A front-end finds a patient by name, changes the phone, books and cancels; each target confirms."""
        self.note("the front office changes a phone number and books an appointment; OCS, EMR, ERP and PACS confirm")
        hong = self.find(name="홍길동")
        if not self.verdict.expect("the front office finds a patient by name", hong) or hong is None:
            return
        facts = {"phone": self._change_phone(hong), "booking": self._book(hong), "cancellation": self._cancel(hong)}
        self.verdict.facts["crm_changes"] = facts

    def _change_phone(self, hong: Mapping[str, Any]) -> dict[str, str]:
        front, number = self.house.front_end, scenes.HONG.number
        read = front.versioned(f"/api/v1/patients/{hong['id']}")
        points = [one for one in read.data["resource"].get("telecom", []) if one.get("use") != "mobile"]
        body = {"telecom": [*points, {"system": "phone", "value": NEW_PHONE, "use": "mobile"}]}
        front.patch(f"/api/v1/patients/{hong['id']}", body, if_match=read.etag)
        stale = front.patch(f"/api/v1/patients/{hong['id']}", body, if_match=read.etag, expect=412)
        self.verdict.equal("a write for an older version is turned away", stale.status, 412)
        confirmed = self._confirmations(hong["id"], "Patient", ("ocs-out", "emr", "erp", "pacs-out", "crm-webhook"))
        ocs = self.house.ocs.patients.get(number, {}).get("phone", "")
        self.verdict.expect("the OCS has the new phone", _digits(ocs).endswith("77778888"))
        self.verdict.expect("the EMR has the new phone", "77778888" in _digits(str(self._in_emr(number))))
        self.verdict.expect("the ERP has the new phone", "77778888" in _digits(str(self.house.erp.partner(number))))
        there = self.house.office.desk.patients.get(number, {}).get("phone", "")
        self.verdict.expect("the PACS has the new phone", _digits(there).endswith("77778888"))
        self._put(self._utf8, scenes.details(scenes.HONG, phone=scenes.HONG.phone))
        self._answered()
        self.settled()
        again = self.find(identifier=f"HOSP|{number}") or {}
        self.verdict.equal("the OCS repeating the old phone is no news", _phone(again) == NEW_E164, True)
        return confirmed

    def _book(self, hong: Mapping[str, Any]) -> dict[str, str]:
        booking = self._booking(hong, days=3)
        self.verdict.equal("a booking of the front office is pending", booking["resource"].get("status"), "pending")
        path = f"/api/v1/appointments/{booking['id']}"
        self.verdict.until("the OCS confirms it and it is booked", lambda: self._status(path) == "booked")
        self.verdict.equal("the booking stands in the OCS's book", self._booked_there(booking), ["Booked"])
        return self._confirmations(hong["id"], booking["id"], ("ocs-out", "pacs-out", "crm-webhook"))

    def _cancel(self, hong: Mapping[str, Any]) -> dict[str, str]:
        booking = self._booking(hong, days=4)
        path = f"/api/v1/appointments/{booking['id']}"
        self.verdict.until("a second booking is confirmed", lambda: self._status(path) == "booked")
        self.settled()
        etag = self.house.front_end.versioned(path).etag
        self.house.front_end.post(f"{path}/cancel", {"reason": "travelling"}, headers={"If-Match": etag})
        self.verdict.until("the OCS hears of the cancellation", lambda: self._booked_there(booking) == ["Cancelled"])
        self.settled()
        self.verdict.equal("a cancelled booking stays cancelled", self._status(path), "cancelled")
        return self._confirmations(hong["id"], booking["id"], ("ocs-out", "pacs-out", "crm-webhook"))

    def _booked_there(self, booking: Mapping[str, Any]) -> list[str]:
        """The state of what stands in the OCS's book at the booking's time."""
        start = "".join(c for c in booking["resource"]["start"][:16] if c.isdigit())
        return [one.status for one in list(self.house.ocs.bookings.values()) if one.start.startswith(start)]

    def _booking(self, hong: Mapping[str, Any], *, days: int) -> dict[str, Any]:
        begin = (scenes.now() + timedelta(days=days)).replace(hour=10, minute=30, second=0, microsecond=0)
        body = {
            "start": begin.isoformat(), "end": (begin + timedelta(minutes=20)).isoformat(), "minutes": 20, "department": "IM",
            "reason": {"display": "정기 검진"},
        }  # fmt: skip
        made = self.house.front_end.post(f"/api/v1/patients/{hong['id']}/appointments", body, expect=201)
        return dict(made.data)

    def _status(self, path: str) -> str:
        return str(self.house.front_end.get(path)["resource"].get("status", ""))

    def _confirmations(self, patient_id: str, what: str, targets: Iterable[str]) -> dict[str, str]:
        """What the API says of how far the latest change has got with each target: `what` is an id, or "Patient"."""
        wanted = patient_id if what == "Patient" else what
        found: dict[str, str] = {}

        def all_confirmed() -> bool:
            rows = self.house.front_end.get(f"/api/v1/patients/{patient_id}/sync")["items"]
            found.update({row["target"]: row["state"] for row in rows if row["resourceId"] == wanted})
            return all(found.get(name) == "confirmed" for name in targets)

        self.verdict.expect(f"the API shows that {', '.join(targets)} confirmed", wait(all_confirmed, 20), found)
        return {name: found.get(name, "missing") for name in targets}

    # ---- act 5: a target is down ----------------------------------------------------------------------------------------

    def outage(self) -> None:
        """The ERP goes down for a while: its messages wait, everybody else's go on, nothing dies."""
        self.note("the ERP goes down; its messages wait behind an open breaker, the others go on")
        self.settled()
        began = time.monotonic()
        self.house.erp.down()
        for who in scenes.LATECOMERS:
            self._put(self._cp949, scenes.visit(who))
        self._answered()
        opened = self.verdict.until("the ERP's breaker opens", lambda: self._channel("erp")["breaker"] == "open")
        elsewhere = lambda: all(self._in_emr(who.number) for who in scenes.LATECOMERS)  # noqa: E731
        self.verdict.until("the EMR hears of new patients while the ERP is down", elsewhere)
        self.verdict.expect("the ERP heard nothing", not any(self.house.erp.partner(who.number) for who in scenes.LATECOMERS))
        time.sleep(1.0)
        self.house.erp.up()
        seconds = round(time.monotonic() - began, 1)
        self.note("the ERP is back")
        arrived = lambda: all(self.house.erp.partner(who.number) for who in scenes.LATECOMERS)  # noqa: E731
        self.verdict.until("the ERP gets everything when it is back", arrived, 30)
        closed = self.verdict.until("its breaker closes", lambda: self._channel("erp")["breaker"] == "closed")
        self.settled()
        dead = self._channel("erp")["counts"]["dead"]
        self.verdict.equal("an outage makes no dead letters", dead, 0)
        told = {act: len(self._entries(f"channel.breaker_{act}", channel="erp")) for act in ("opened", "closed")}
        self.verdict.equal("the breaker tells once that it opened and once that it closed", told, {"opened": 1, "closed": 1})
        self.verdict.facts["outage"] = {
            "target": "erp", "down_seconds": seconds, "dead_letters": dead, "breaker_opened": opened, "breaker_closed": closed,
        }  # fmt: skip

    # ---- act 6: dead letters ---------------------------------------------------------------------------------------------

    def repair(self) -> None:
        """Hospital IT adds a line to a map and replays; what cannot be helped is discarded, with a reason."""
        self.note("hospital IT adds a line to a map, reloads and replays; the other poison is discarded with a reason")
        (self.house.folder / "site-maps" / "site.toml").write_text(scenes.SITE_MAP, encoding="utf-8")
        done = self.house.command("reload", "--config", str(self.house.config))
        self.verdict.equal("a running hub takes a new map", done.returncode, 0)
        self.verdict.until("it says so in the audit log", lambda: self._entries("config.reloaded"))
        by_patient = {one["patientNumber"]: one["id"] for one in self._dead()}
        repaired, hopeless = by_patient.get(scenes.POISONED.number), by_patient.get("")
        if not self.verdict.expect("both poison messages are found", repaired and hopeless):
            return
        # the children that apply read the new map within a moment; a replay that comes too early dies once more
        ended = wait(lambda: self._replay(int(repaired or 0)), 20, 0.3)
        self.verdict.expect("the repaired message is applied, and what waited behind it", ended)
        self.house.operator.post(f"/api/v1/messages/{hopeless}/discard", {"reason": "sent without a number; sender informed"})
        self.settled()
        self.verdict.equal("no dead letter is left", len(self._dead()), 0)
        audited = {act: len(self._entries(f"message.{act}")) >= 1 for act in ("replayed", "discarded")}
        self.verdict.equal("replay and discard are audited", audited, {"replayed": True, "discarded": True})
        self.verdict.facts["poison"] |= {"replayed_applied": ended, "discarded": True}

    def _replay(self, message_id: int) -> bool:
        states = self._state_of(scenes.POISONED.number)
        if "dead" in states:
            self.house.operator.post(f"/api/v1/messages/{message_id}/replay", {"reason": "map reads ZAP-1 now"})
        return set(states) == {"applied"}

    # ---- looking ---------------------------------------------------------------------------------------------------------

    def settled(self, seconds: float = SETTLE_SECONDS) -> bool:
        """Waits until nothing moves any more but what waits behind a dead message."""

        def quiet() -> bool:
            self.house.must_live()
            rows = self.house.operator.get("/api/v1/channels")["items"]
            moving = sum(row["counts"]["queued"] + row["counts"]["in_flight"] for row in rows)
            return moving == sum(lane["waiting"] for row in rows for lane in row["lanes"]) and self.house.confirm.join(0)

        def twice() -> bool:
            if not quiet():
                return False
            time.sleep(0.15)  # what came to rest may just become something else: a change a delivery, a delivery an answer
            return quiet()

        return self.verdict.until("everything settles", twice, seconds)

    def find(self, **criteria: str) -> dict[str, Any] | None:
        """The one patient that the front-end finds, in its envelope."""
        found = self.house.front_end.post("/api/v1/patients/search", criteria).data["items"]
        return dict(found[0]) if len(found) == 1 else None

    def _put(self, desk: Hl7Sender, step: Step) -> None:
        desk.put((step.event, step.segments), step.at)

    def _answered(self) -> None:
        desks = self.house.desks.values()
        self.verdict.until("the desks get all their answers", lambda: all(desk.join(0) for desk in desks), 60)

    def _channel(self, name: str) -> dict[str, Any]:
        return dict(self.house.operator.get(f"/api/v1/channels/{name}"))

    def _dead(self) -> list[dict[str, Any]]:
        """Dead letters among what came in."""
        query = {"state": "dead", "direction": "in"}
        return list(self.house.operator.post("/api/v1/messages/search", query).data["items"])

    def _state_of(self, number: str) -> list[str]:
        """Outcome, or state where there is none yet, of every message of the OCS that came for this patient number."""
        query = {"patient": number, "direction": "in", "channel": "ocs-in"}
        found = self.house.operator.post("/api/v1/messages/search", query).data["items"]
        return [str(one["outcome"] or one["state"]) for one in found]

    def _entries(self, action: str, **criteria: str) -> list[dict[str, Any]]:
        return list(self.house.auditor.items("/api/v1/audit/entries", action=action, limit=500, **criteria))

    def entries_of_dead(self) -> set[int]:
        """Messages that came in and were dead at some time."""
        return {one["messageId"] for one in self._entries("message.dead", channel="ocs-in")}

    def _in_emr(self, number: str) -> list[dict[str, Any]]:
        return self.house.emr.by_identifier(EMR_SYSTEM, number)


def _phone(envelope: Mapping[str, Any]) -> str:
    """The mobile number of a patient as the API shows it."""
    points = envelope.get("resource", {}).get("telecom", [])
    return next((str(one["value"]) for one in points if one.get("use") == "mobile"), "")


def _digits(text: str) -> str:
    return "".join(c for c in text if c.isdigit())
