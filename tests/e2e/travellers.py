"""Patients on their way through all four systems: each step taken, and how long until the CRM had heard of it."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from hub.simulator.crm import CrmPeer, Event
from tests.e2e.back_office import BackOffice
from tests.e2e.doors import Hospital
from tests.e2e.guests import Guest

PATIENCE = 40.0  # seconds until the CRM must have heard of a step
LOOK = 0.05  # seconds between two looks
Test = Callable[[Event], bool]


class Heard:
    """What the CRM was told, by patient number. Thread-safe."""

    def __init__(self, crm: CrmPeer) -> None:
        self._crm, self._read, self._lock = crm, 0, threading.Lock()
        self._ids: dict[str, str] = {}
        self._events: dict[str, list[Event]] = defaultdict(list)

    def of(self, number: str) -> list[Event]:
        """All events of who bears that number, in order of arrival."""
        with self._lock:
            fresh = self._crm.received[self._read :]
            self._read += len(fresh)
            for event in fresh:
                self._events[event.data.get("patientId") or ""].append(event)
                if event.data.get("kind") == "Patient":
                    self._ids |= {one["value"]: event.data["id"] for one in event.data["resource"].get("identifier", ())}
            id_ = self._ids.get(number)
            return list(self._events[id_]) if id_ else []


class Traveller(Guest):
    """One patient. `took`: step -> seconds until the CRM's webhook came."""

    def __init__(self, at: int, base: int, house: Hospital, back: BackOffice, heard: Heard) -> None:
        super().__init__(at, base)
        self.house, self.back, self.heard = house, back, heard
        self.took: dict[str, float] = {}

    def travel(self) -> None:
        """All of it, each step when the CRM has heard of the one before."""
        self.step("registered", self.comes, told("Encounter", lambda one: bool(one.get("visitKind"))), told("Appointment"))
        self.wait(lambda: self.house.emr_patients(self.number), "the EMR has him")
        self.step("charted", lambda: self.charted(self.house), told("AllergyIntolerance"), told("Coverage"))
        self.wait(lambda: self.back.partners(self.number), "SAP has him")

    # -- what happens ---------------------------------------------------------------------------------------------------

    def comes(self) -> None:
        """At the reception: the OCS says so by message and in its tables."""
        for say in (self.registered, self.booked_by_message, self.received, self.phoned, self.booked_in_table):
            say(self.house)

    # -- and is waited for ----------------------------------------------------------------------------------------------

    def step(self, name: str, act: Callable[[], Any], *tests: Test) -> None:
        """`act`, then wait until the CRM was told what the tests ask for; the last of them counts."""
        known = len(self.heard.of(self.number))
        began = time.time()
        act()
        came: dict[int, float] = {}

        def all_came() -> bool:
            for event in self.heard.of(self.number)[known:]:
                for n, test in enumerate(tests):
                    if n not in came and test(event):
                        came[n] = event.at
            return len(came) == len(tests)

        self.wait(all_came, f"the CRM hears that he is {name}")
        self.took[name] = max(came.values()) - began

    def wait(self, what: Callable[[], Any], name: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not what():
            if time.monotonic() > deadline:
                kinds = [f"{one.type} v{one.data.get('version')}" for one in self.heard.of(self.number)]
                raise AssertionError(
                    f"patient {self.at}: it did not come to pass: {name}; the CRM heard {kinds}\n{self.house.last_words()}"
                )
            time.sleep(LOOK)


def told(kind: str, what: Callable[[dict[str, Any]], bool] = lambda _: True) -> Test:
    """An event of a resource of this kind, which is as `what` wants it."""
    return lambda event: event.data.get("kind") == kind and what(event.data["resource"])
