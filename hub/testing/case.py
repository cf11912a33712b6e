"""What the contract suite must know of an outbound adapter: one Case each, as `CASES = [...]` in the module that runs it."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from types import ModuleType
from typing import Any

from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown, Refused
from hub.domain.ports import Outbound, Target
from hub.simulator.faults import Fault

# Personal values that every message of the suite carries, and that the peers' answers are made to carry: in no error
NAME, FAMILY, GIVEN, NUMBER, PHONE, RAW_PHONE = "홍길동", "홍", "길동", "CANARY-00012345", "+821099998888", "010-9999-8888"
BIRTH_DATE, EMAIL, CITY = "1987-05-04", "canary@patient.example", "카나리아시"
CANARIES = (NAME, NUMBER, PHONE, RAW_PHONE, "1099998888", "99998888", BIRTH_DATE, "19870504", EMAIL, CITY)


@dataclass(frozen=True)
class Expect:
    """What a fault looks like to the hub. `error` None: delivered in spite of it; `acted` None: a matter of timing."""

    error: type[HubError] | tuple[type[HubError], ...] | None
    acted: bool | None
    reached: bool | None = None


EXPECTED: Mapping[Fault, Expect] = {
    Fault.CLOSED: Expect(NotDelivered, acted=False, reached=False),
    Fault.HANG_UP: Expect((NotDelivered, OutcomeUnknown), acted=False),  # the reset comes before or after our last byte
    Fault.HALF_OPEN: Expect(OutcomeUnknown, acted=False),
    Fault.TLS_WRONG: Expect(Misconfigured, acted=False),
    Fault.SILENT: Expect(OutcomeUnknown, acted=False),
    Fault.ANSWER_LOST: Expect(OutcomeUnknown, acted=True),
    Fault.ANSWER_CUT: Expect(OutcomeUnknown, acted=True),
    Fault.WRONG_ANSWER: Expect(OutcomeUnknown, acted=True),
    Fault.GARBAGE: Expect(OutcomeUnknown, acted=True),
    Fault.SLOW: Expect(OutcomeUnknown, acted=True),
    Fault.REFUSE: Expect(Refused, acted=False),
    Fault.BUSY: Expect(NotDelivered, acted=False),
    Fault.CLOSE_AFTER: Expect(None, acted=True),
}


@dataclass(frozen=True)
class Case:
    """One outbound adapter and its simulated peer.

    `table` is what hub.toml would say, with time-outs of about half a second. `message(n)` is the n-th message, carrying the
    canaries. `effects` counts what the peer did, repetitions that it recognised left out. `expected` overrides EXPECTED where an
    adapter asks before it writes (a fault at the question is NotDelivered, say so beside it).
    """

    name: str
    module: ModuleType  # MANIFEST, Settings, build
    peer: Callable[[ssl.SSLContext | None], Any]  # not started yet
    table: Callable[[Any], dict[str, Any]]
    message: Callable[[int], Outbound]
    effects: Callable[[Any], int]
    expected: Mapping[Fault, Expect] = field(default_factory=dict)
    target: Callable[[Any], Target] | None = None  # default: module.build(module.Settings.from_table(table(peer)))
    arm: Callable[[Any, Fault], None] = lambda peer, fault: peer.misbehave(fault)
    same_bytes: bool = True  # the same message is the same bytes again
    timeout: float = 0.5  # seconds that one call waits for an answer
    faults: Collection[Fault] = tuple(Fault)  # those that its peer can show: a folder is not half open

    def expect(self, fault: Fault) -> Expect:
        return self.expected.get(fault, EXPECTED[fault])

    def build(self, peer: Any, **more: Any) -> Target:
        if self.target is not None:
            return self.target(peer)
        if "timeout_seconds" in more and "timeout_seconds" not in {f.name for f in fields(self.module.Settings)}:
            del more["timeout_seconds"]  # it waits for nobody: a folder
        target: Target = self.module.build(self.module.Settings.from_table({**self.table(peer), **more}))
        return target


def patient(number: str = NUMBER) -> dict[str, Any]:
    """A golden record whose personal values are canaries."""
    return {
        "identifier": [{"assigner": "HOSP", "value": number, "type": "MR"}],
        "name": [{"text": NAME, "family": FAMILY, "given": [GIVEN], "representation": "IDE"}],
        "telecom": [
            {"system": "phone", "value": PHONE, "use": "mobile", "raw": RAW_PHONE},
            {"system": "email", "value": EMAIL, "use": "home"},
        ],
        "address": [{"text": f"{CITY} 테헤란로 1", "line": ["테헤란로 1"], "city": CITY, "postalCode": "06236", "country": "KR"}],
        "birthDate": BIRTH_DATE,
        "gender": "male",
        "active": True,
    }


def patient_updated(n: int, **more: Any) -> Outbound:
    """The n-th message: the phone of a patient of their own changed."""
    record = patient(f"{NUMBER}-{n}")
    phone = {"system": "phone", "value": "+821011112222", "use": "mobile"}
    values: dict[str, Any] = {
        "message_id": 1000 + n,
        "channel": "target",
        "type": "patient.updated",
        "at": 1_795_000_000_000_000 + n,
        "attempt": 1,
        "kind": "Patient",
        "resource_id": f"0199b3a0-0000-7000-8000-{n:012d}",
        "version": 3,
        "resource": record,
        "changed": ["telecom.mobile"],
        "patient_id": f"0199b3a0-0000-7000-8000-{n:012d}",
        "patient": record,
        "before": {**record, "telecom": [phone, *record["telecom"][1:]]},
    }
    return Outbound(**{**values, **more})


def message_received(n: int, **more: Any) -> Outbound:
    """The n-th message that is passed through as it came: an ADT^A08 of a patient of their own."""
    segments = [
        f"MSH|^~\\&|OCS|HOSP|HUB|HOSP|20261122090000||ADT^A08|C{n:08d}|P|2.5|||||KOR|UNICODE UTF-8",
        "EVN|A08|20261122090000",
        f"PID|1||{NUMBER}-{n}^^^HOSP^MR||{FAMILY}^{GIVEN}||19870504|M|||테헤란로 1^^{CITY}^^06236^KR||{RAW_PHONE}~^NET^^{EMAIL}",
    ]
    nothing: dict[str, Any] = {"kind": "", "resource_id": "", "resource": {}, "changed": [], "patient_id": "", "patient": {}}
    body = "\r".join([*segments, ""]).encode()
    return patient_updated(n, **{"type": "ADT^A08", **nothing, "body": body, "charset": "utf-8", **more})
