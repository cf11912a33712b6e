"""A whole hub in one test process, without sockets: messages go in at intake, out to recording targets.

kit.receive(adt("A04", "100", name="홍^길동"))     stored, answered in the return value
kit.apply()                                        everything that is due
kit.deliver()                                      everything that is due, to `kit.target("crm")`
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from hub.bootstrap import Hub, open_hub
from hub.codecs.hl7v2 import peek
from hub.config import load
from hub.db import schema
from hub.db.crypt import KeyRing
from hub.db.engine import make_engine, parse_url
from hub.domain.errors import HubError
from hub.domain.facts import Key
from hub.domain.ports import Delivered, Outbound, Receipt, Received
from hub.domain.store import Lease

CONFIG = """
[hub]
name = "test hub"
assigner = "HOSP"
[database]
url = {{ file = "secrets/database" }}
[channels.ocs-in]
adapter = "ocs.hl7_in"
system = "ocs"
port = 0
on_dead = "{on_dead}"
[channels.emr-in]
adapter = "ocs.hl7_in"
system = "emr"
port = 0
[channels.crm]
adapter = "crm.webhook"
system = "crm"
url = "http://127.0.0.1:9/hook"
secrets = [{{ file = "secrets/crm" }}]
max_attempts = 3
breaker_failures = 4
on_dead = "{on_dead}"
retry = {{ base_seconds = 0.01, max_seconds = 0.02 }}
[channels.ocs-out]
adapter = "ocs.hl7_out"
system = "ocs"
host = "127.0.0.1"
port = 9
max_attempts = 3
retry = {{ base_seconds = 0.01, max_seconds = 0.02 }}
"""


class Recorder:
    """A target that remembers what it was sent, in order, and fails as told."""

    resend_is_safe = True

    def __init__(self) -> None:
        self.sent: list[Outbound] = []
        self.fail: Callable[[Outbound], HubError | None] = lambda message: None
        self.answer = Delivered(detail="204")
        self._lock = threading.Lock()

    def send(self, message: Outbound) -> Delivered:
        error = self.fail(message)
        if error is not None:
            raise error
        with self._lock:
            self.sent.append(message)
        return self.answer

    def find(self, message: Outbound) -> Delivered | None:
        return None

    def ping(self) -> str:
        return "here"

    def close(self) -> None:
        return

    def types(self) -> list[str]:
        return [m.type for m in self.sent]


class Kit:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.intake = hub.intake()
        self.applier = hub.applier()
        self.courier = hub.courier()
        self.recorders: dict[str, Recorder] = {}
        for name, channel in hub.targets().items():
            channel.target = self.recorders[name] = Recorder()
        self.leases = {d: self._take(d) for d in ("in", "out")}

    def _take(self, direction: str) -> Lease:
        with self.hub.store.transaction() as tx:
            lease = tx.take("kit", direction, range(self.hub.buckets), 99, 600)
        assert lease is not None
        return lease

    def target(self, name: str = "crm") -> Recorder:
        return self.recorders[name]

    def receive(self, *bodies: bytes, channel: str = "ocs-in") -> list[Receipt]:
        """As the listener does: one batch, one commit."""
        return self.intake.store([received(body, channel) for body in bodies])

    def apply(self) -> int:
        total = 0
        while moved := self.applier.step(self.leases["in"]):
            total += moved
        return total

    def deliver(self, steps: int = 400) -> None:
        """Until nothing is due or on its way; gives up after `steps`."""
        quiet = 0
        for _ in range(steps):
            moved = self.courier.step(self.leases["out"])
            quiet = 0 if moved or self.courier.busy else quiet + 1
            if quiet > 3:
                return
            if quiet:
                time.sleep(0.01)  # a retry may be due in a moment

    def tell(self, *bodies: bytes, channel: str = "ocs-in") -> None:
        """Receive, apply and deliver, each message by itself."""
        for body in bodies:
            self.receive(body, channel=channel)
            self.apply()
        self.deliver()

    # -- looking --------------------------------------------------------------------------------------------------

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.hub.engine.connect() as connection:
            mark = "?" if self.hub.sqlite else "%s"
            return [tuple(r) for r in connection.exec_driver_sql(sql.replace("?", mark), parameters)]

    def patient_id(self, number: str, assigner: str = "HOSP") -> str:
        sql = "SELECT resource_id FROM identifier WHERE kind = 'Patient' AND assigner = ? AND value = ?"
        return str(self.rows(sql, assigner, number)[0][0])

    def resource(self, resource_id: str) -> dict[str, Any]:
        found = self.rows("SELECT data FROM resource WHERE id = ?", resource_id)
        document: dict[str, Any] = orjson.loads(found[0][0])
        return document

    def patient(self, number: str) -> dict[str, Any]:
        return self.resource(self.patient_id(number))

    def owned(self, number: str, kind: str) -> list[dict[str, Any]]:
        sql = "SELECT data FROM resource WHERE patient_id = ? AND kind = ? AND status = 'active' ORDER BY id"
        return [orjson.loads(r[0]) for r in self.rows(sql, self.patient_id(number), kind)]

    def state(self, message_id: int) -> str:
        """work's state, else the outcome's: `done/applied`."""
        work = self.rows("SELECT state FROM work WHERE message_id = ? AND barrier = FALSE", message_id)
        if work:
            return str(work[0][0])
        state, outcome = self.rows("SELECT state, outcome FROM outcome WHERE message_id = ?", message_id)[0]
        return f"{state}/{outcome}" if outcome else str(state)

    def close(self) -> None:
        self.courier.close()
        self.hub.close()


def received(body: bytes, channel: str) -> Received:
    seen = peek(body)
    key = Key(seen.patient[0] or "HOSP", seen.patient[1]) if seen.patient else None
    other = Key(seen.other_patient[0] or "HOSP", seen.other_patient[1]) if seen.other_patient else None
    sender = f"{seen.sending_application}|{seen.sending_facility}"
    return Received(channel, body, sender, seen.control_id, seen.type, key, other, seen.content, code="AA")


def make_kit(folder: Path, url: str, on_dead: str = "block", more: str = "") -> Kit:
    """`more`: what else stands in its hub.toml."""
    (folder / "hub.toml").write_text(CONFIG.format(on_dead=on_dead) + more, encoding="utf-8")
    KeyRing.create(folder / "secrets")
    (folder / "secrets" / "database").write_text(url, encoding="utf-8")
    (folder / "secrets" / "crm").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", encoding="utf-8")
    (folder / "secrets" / "crm").chmod(0o600)
    config = load(folder / "hub.toml")
    engine = make_engine(parse_url(config.database.url, config.hub.data_dir))
    schema.upgrade(engine)
    engine.dispose()
    return Kit(open_hub(config))


_count = itertools.count(1)


def hl7(event: str, *segments: str, at: str = "20261122090000", control: str = "") -> bytes:
    """One message: MSH, EVN and the given segments."""
    trigger = event.split("^")[1]
    head = f"MSH|^~\\&|OCS|HOSP|HUB|HOSP|{at}||{event}|{control or f'T{next(_count)}'}|P|2.5|||||KOR|UNICODE UTF-8"
    return "\r".join([head, f"EVN|{trigger}|{at}", *segments, ""]).encode()


def pid(number: str, name: str = "홍^길동", phone: str = "", born: str = "19800101", sex: str = "M") -> str:
    phones = f"^PRN^CP^^^^^^^^^{phone}" if phone else ""
    return f"PID|1||{number}^^^HOSP^MR||{name}^^^^^L||{born}|{sex}|||서울특별시 강남구^^서울^^06236^KR||{phones}"


def pv1(visit: str, patient_class: str = "O", department: str = "OPD", at: str = "20261122090000") -> str:
    return f"PV1|1|{patient_class}|{department}^101||||D1^이^의사|||IM||||||||O|{visit}^^^HOSP|" + "|" * 24 + at


def adt(trigger: str, number: str, *more: str, at: str = "20261122090000", control: str = "", **of_pid: str) -> bytes:
    return hl7(f"ADT^{trigger}", pid(number, **of_pid), *more, at=at, control=control)


def row_map(*fields: str) -> str:
    """A map of an old system's table OPD_PATIENT, whose key is PANO; `fields` are lines of it."""
    head = 'source = "row"\n[block.patient]\nkind = "Patient"\nkey = "PANO"\n[block.patient.fields]\n'
    tail = '\n[event.OPD_PATIENT]\ntitle = "Patient master"\nblocks = ["patient"]\n'
    return head + "\n".join(fields) + tail
