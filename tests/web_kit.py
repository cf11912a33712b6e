"""What tests of the web layer share: fakes of the ports, and a small hospital as rows of the database."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import Engine, create_engine, delete, func, insert, select, update
from sqlalchemy.pool import QueuePool
from starlette.testclient import TestClient

from hub.audit.actions import Action
from hub.audit.entry import check_detail
from hub.db import tables as t
from hub.db.views import patients
from hub.domain import search
from hub.domain.errors import NotDelivered, NotFound, Refused, Stale
from hub.domain.lifecycle import State, Step, after
from hub.domain.ports import Written
from hub.web.app import ChannelInfo, WebHub, create_app

NOW = 1_795_305_600_000_000  # 2026-11-22T00:00:00Z
SECOND = 1_000_000
HONG, NAMGUNG, MERGED, PROSPECT = (f"01900000-0000-7000-8000-00000000000{n}" for n in range(1, 5))
VISIT, BOOKING, KIN, RELATION = (f"01900000-0000-7000-8000-0000000001{n:02d}" for n in range(1, 5))
ADT = (
    "MSH|^~\\&|OCS|HOSP|HUB|HOSP|20261122085900||ADT^A08^ADT_A01|C0001|P|2.5.1||||AL|KOR|UNICODE UTF-8\r"
    "EVN|A08|20261122085900\r"
    "PID|1||00012345^^^HOSP^MR||홍길동^^^^^^L^SYL~洪吉洞^^^^^^L^IDE||19800203|M|||서울특별시 종로구 세종대로 1||010-1234-5678\r"
    "PV1|1|O|내과^진료실 3|||||D001^남궁민수\r"
    "ZZZ|메모\\F\\기타|8013011234567\r"
)
CHANNELS = (
    ChannelInfo("ocs-in", "ocs", "ocs.hl7_in", "in", title="OCS, HL7 v2 over MLLP"),
    ChannelInfo("crm-out", "crm", "crm.webhook", "out", title="CRM webhooks"),
    ChannelInfo("ocs-out", "ocs", "ocs.hl7_out", "out"),
    ChannelInfo("erp-out", "erp", "erp.business_partner", "out", on_dead="skip"),
)


class FakeKeys:
    """Sealing that a test can see through."""

    def seal(self, table: str, row: int | str, plain: bytes) -> bytes:
        return f"{table}/{row}:".encode() + plain[::-1]

    def open_(self, table: str, row: int | str, sealed: bytes) -> bytes:
        mark = f"{table}/{row}:".encode()
        if not sealed.startswith(mark):
            raise NotFound("not sealed for this row")
        return sealed[len(mark) :][::-1]

    def digest(self, data: bytes) -> bytes:
        return hashlib.sha256(b"key" + data).digest()[:16]


class FakeAudit:
    """Writes entries as the real one does, without a sequencer."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def append(
        self,
        action: str,
        *,
        actor: str,
        channel: str = "",
        message_id: int | None = None,
        resource_id: str | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        check_detail(detail or {})
        Action(action)
        with self.engine.begin() as conn:
            number = (conn.execute(select(func.max(t.entry.c.id))).scalar() or 0) + 1
            conn.execute(
                insert(t.entry).values(
                    id=number, tx=0, at=NOW + number, action=str(action), actor=actor, channel=channel, message_id=message_id,
                    resource_id=resource_id, detail=orjson.dumps(detail or {}).decode(),
                )
            )  # fmt: skip

    def entries(self) -> list[dict[str, Any]]:
        with self.engine.connect() as conn:
            rows = conn.execute(select(t.entry).order_by(t.entry.c.id))
            return [dict(row._mapping) | {"detail": orjson.loads(row.detail)} for row in rows]

    def actions(self) -> list[str]:
        return [entry["action"] for entry in self.entries()]


class FakeFrontOffice:
    """Front-office writes straight into resource and change, with the same errors as the real one."""

    FORBIDDEN = frozenset({"birthDate", "gender"})

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.calls: list[tuple[str, Any]] = []

    def create_patient(self, values: dict[str, Any], *, actor: str) -> Written:
        self.calls.append(("create_patient", values))
        row_id = f"01900000-0000-7000-8000-0000000009{len(self.calls):02d}"
        return self._store(
            "Patient", row_id, row_id, 1, {**_present(values), "prospect": True}, sorted(values), actor, "patient.created"
        )

    def change_patient(self, patient_id: str, values: dict[str, Any], *, expected: int, actor: str) -> Written:
        self.calls.append(("change_patient", values))
        for name in values:
            if name in self.FORBIDDEN:
                raise Refused(f"{name} is not the CRM's to set", code="not_allowed")
        return self._change("Patient", patient_id, values, expected, actor, "patient.updated")

    def book(self, patient_id: str, values: dict[str, Any], *, actor: str) -> Written:
        self.calls.append(("book", values))
        row_id = f"01900000-0000-7000-8000-0000000008{len(self.calls):02d}"
        document = {**_present(values), "status": "pending"}
        return self._store("Appointment", row_id, patient_id, 1, document, sorted(document), actor, "appointment.created")

    def change_appointment(self, appointment_id: str, values: dict[str, Any], *, expected: int, actor: str) -> Written:
        self.calls.append(("change_appointment", values))
        return self._change("Appointment", appointment_id, values, expected, actor, "appointment.updated")

    def cancel_appointment(self, appointment_id: str, *, expected: int, actor: str, reason: str = "") -> Written:
        self.calls.append(("cancel_appointment", reason))
        return self._change("Appointment", appointment_id, {"status": "cancelled"}, expected, actor, "appointment.cancelled")

    def _change(self, kind: str, row_id: str, values: dict[str, Any], expected: int, actor: str, type_: str) -> Written:
        with self.engine.connect() as conn:
            row = patients.get(conn, row_id, kind)
        if row is None:
            raise NotFound(f"there is no such {kind}")
        if row.version != expected:
            raise Stale("somebody was faster", current=row.version)
        document = _present({**row.data, **values})
        return self._store(kind, row_id, row.patient_id or row_id, expected + 1, document, sorted(values), actor, type_)

    def _store(
        self,
        kind: str,
        row_id: str,
        patient_id: str,
        version: int,
        document: dict[str, Any],
        fields: list[str],
        actor: str,
        type_: str,
    ) -> Written:
        with self.engine.begin() as conn:
            conn.execute(delete(t.resource).where(t.resource.c.id == row_id))
            add_resource(conn, row_id, kind, patient_id, document, version=version)
            change_id = add_change(conn, type_, kind, row_id, patient_id, version, fields, document, None, f"api:{actor}")
        return Written(row_id, version, (change_id,))


class FakeOperations:
    """Replay, discard, settle, pause and resume on the rows; ping says what the channel is."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.calls: list[tuple[str, Any, str, str]] = []

    def _step(self, message_id: int, step: Step, reason: str, actor: str) -> None:
        self.calls.append((step, message_id, reason, actor))
        with self.engine.begin() as conn:
            state = conn.execute(select(t.work.c.state).where(t.work.c.message_id == message_id)).scalar()
            if state is None:
                if conn.execute(select(t.message.c.id).where(t.message.c.id == message_id)).first() is None:
                    raise NotFound("there is no such message")
                state = State.DONE
            new = after(State(state), step)
            if new in (State.DONE, State.DISCARDED):
                conn.execute(delete(t.work).where(t.work.c.message_id == message_id))
                outcome = "delivered" if new == State.DONE else ""
                conn.execute(insert(t.outcome).values(message_id=message_id, state=new, outcome=outcome, reason=reason, at=NOW))
            else:
                conn.execute(update(t.work).where(t.work.c.message_id == message_id).values(state=new))

    def replay(self, message_id: int, *, reason: str, actor: str) -> None:
        self._step(message_id, Step.REPLAY, reason, actor)

    def discard(self, message_id: int, *, reason: str, actor: str) -> None:
        self._step(message_id, Step.DISCARD, reason, actor)

    def settle(self, message_id: int, *, acted: bool, reason: str, actor: str) -> None:
        self._step(message_id, Step.CONFIRM if acted else Step.DENY, reason, actor)

    def _set(self, channel: str, paused: bool) -> None:
        with self.engine.begin() as conn:
            conn.execute(delete(t.channel_state).where(t.channel_state.c.channel == channel))
            conn.execute(insert(t.channel_state).values(channel=channel, paused=paused, stopped="", breaker="closed"))

    def pause(self, channel: str, *, reason: str, actor: str) -> None:
        self.calls.append(("pause", channel, reason, actor))
        self._set(channel, True)

    def resume(self, channel: str, *, reason: str, actor: str) -> None:
        self.calls.append(("resume", channel, reason, actor))
        self._set(channel, False)

    def ping(self, channel: str, *, actor: str) -> str:
        if channel == "erp-out":
            raise NotDelivered("the connection was refused")
        return f"{channel} is there"


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def engine_for(url: str) -> Engine:
    """An engine with all tables made."""
    if url.startswith("sqlite"):
        engine = create_engine(url, poolclass=QueuePool, connect_args={"check_same_thread": False, "timeout": 5})
    else:
        engine = create_engine(url)
    t.metadata.create_all(engine)
    return engine


def make_hub(engine: Engine, **more: Any) -> WebHub:
    """A WebHub on fakes."""
    values: dict[str, Any] = {
        "name": "서울병원", "engine": engine, "write_engine": engine, "front_office": FakeFrontOffice(engine),
        "operations": FakeOperations(engine), "audit": FakeAudit(engine), "keys": FakeKeys(), "channels": lambda: CHANNELS,
        "clock": lambda: NOW,
    }  # fmt: skip
    return WebHub(**{**values, **more})


def token_for(hub: WebHub, role: Any, name: str = "") -> str:
    """The secret of a new token."""
    return hub.access.create_token(name or f"{role}-1", role, now=NOW)[1]


def api(hub: WebHub, secret: str | None = None, app: Any = None, **more: Any) -> TestClient:
    """A client of the API with that token; `app` where one is made already (it takes 100 ms)."""
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    return TestClient(app or create_app(hub), headers=headers, raise_server_exceptions=False, follow_redirects=False, **more)


def add_resource(
    conn: Any, row_id: str, kind: str, patient_id: str | None, document: Mapping[str, Any], *, version: int = 1,
    status: str = "active", sort_at: int = 0,
) -> None:  # fmt: skip
    """A canonical resource, with what it is found by."""
    conn.execute(
        insert(t.resource).values(
            id=row_id, kind=kind, patient_id=patient_id, version=version, status=status, sort_at=sort_at,
            data=orjson.dumps(document).decode(), created_at=NOW - 60 * SECOND, updated_at=NOW,
        )
    )  # fmt: skip
    if kind != "Patient":
        return
    conn.execute(delete(t.term).where(t.term.c.patient_id == row_id))
    conn.execute(delete(t.identifier).where(t.identifier.c.resource_id == row_id))
    for term_kind, value in search.terms(document):
        conn.execute(insert(t.term).values(kind=term_kind, value=value, patient_id=row_id))
    for one in document.get("identifier", ()):
        conn.execute(
            insert(t.identifier).values(
                kind="Patient", assigner=one["assigner"], value=one["value"], resource_id=row_id, home_id=row_id, type=""
            )
        )


def add_change(
    conn: Any, type_: str, kind: str, row_id: str, patient_id: str | None, version: int, fields: list[str],
    document: Mapping[str, Any], message_id: int | None, origin: str, tx: int = 0,
) -> int:  # fmt: skip
    """The next row of the feed; returns its id."""
    number = int(conn.execute(select(func.max(t.change.c.id))).scalar() or 0) + 1
    conn.execute(
        insert(t.change).values(
            id=number, tx=tx, at=NOW, type=type_, kind=kind, resource_id=row_id, patient_id=patient_id, version=version,
            fields=orjson.dumps(fields).decode(), data=orjson.dumps(document).decode(), message_id=message_id, origin=origin,
        )
    )  # fmt: skip
    return number


def add_message(
    conn: Any, number: int, channel: str, direction: str, type_: str, *, state: str = "", outcome: str = "", reason: str = "",
    lane: str = "", body: bytes | None = None, attempts: int = 0, **more: Any,
) -> None:  # fmt: skip
    """A message, with its work row or its outcome."""
    at = NOW - (1000 - number) * SECOND
    values = {
        "sender": "OCS|HOSP" if direction == "in" else "",
        "control_id": f"C{number:04d}" if direction == "in" else "",
        **more,
    }
    conn.execute(
        insert(t.message).values(
            id=number, channel=channel, direction=direction, at=at, type=type_, lane=lane, body=body, charset="", **values
        )
    )
    if outcome or state in ("refused", "discarded"):
        conn.execute(
            insert(t.outcome).values(message_id=number, state=state or "done", outcome=outcome, reason=reason, at=at + 3000)
        )
    else:
        conn.execute(
            insert(t.work).values(
                direction=direction, bucket=0, message_id=number, lane=lane, channel=channel, state=state, attempts=attempts,
                due=at, reason=reason, at=at,
            )
        )  # fmt: skip


HONG_DOC: dict[str, Any] = {
    "identifier": [{"assigner": "HOSP", "value": "00012345", "type": "MR"}, {"assigner": "EMR", "value": "E-77"}],
    "name": [
        {"text": "홍길동", "family": "홍", "given": ["길동"], "representation": "SYL"},
        {"text": "洪吉洞", "representation": "IDE"},
    ],
    "telecom": [{"system": "phone", "value": "+821012345678", "use": "mobile", "raw": "010-1234-5678"}],
    "address": [{"text": "서울특별시 종로구 세종대로 1"}],
    "birthDate": "1980-02-03",
    "gender": "male",
}


def fill(engine: Engine) -> None:
    """Four patients (one merged, one prospect), a visit, a booking, relatives, messages in every state, changes, audit."""
    keys = FakeKeys()
    with engine.begin() as conn:
        add_resource(conn, HONG, "Patient", HONG, HONG_DOC, version=3)
        add_resource(
            conn, NAMGUNG, "Patient", NAMGUNG,
            {"name": [{"text": "남궁민수", "family": "남궁", "given": ["민수"]}], "birthDate": "1975-12-31", "gender": "male",
             "identifier": [{"assigner": "HOSP", "value": "00099999"}],
             "telecom": [{"system": "phone", "value": "+821098765678", "use": "mobile"}]},
        )  # fmt: skip
        add_resource(
            conn, MERGED, "Patient", MERGED, {"name": [{"text": "홍길둥"}], "replacedBy": HONG}, status="merged", version=2
        )
        add_resource(conn, PROSPECT, "Patient", PROSPECT, {"name": [{"text": "펲시콜라"}], "prospect": True})
        visit = {
            "identifier": [{"assigner": "HOSP", "value": "V1"}], "status": "in-progress", "state": "registered", "class": "AMB",
            "department": "내과", "location": "진료실 3", "period": {"start": "2026-11-22T09:00:00+09:00"},
            "participant": [{"name": "똠방각하", "role": "attending"}],
        }  # fmt: skip
        booking = {"status": "booked", "start": "2026-11-25T10:30:00+09:00", "minutes": 20, "department": "정형외과"}
        add_resource(conn, VISIT, "Encounter", HONG, visit, sort_at=NOW)
        add_resource(conn, BOOKING, "Appointment", HONG, booking, sort_at=NOW + 86_400 * SECOND, version=2)
        add_resource(
            conn, KIN, "RelatedPerson", HONG,
            {"name": [{"text": "홍판서"}], "telecom": [{"system": "phone", "value": "+82212345678"}]},
        )  # fmt: skip
        add_resource(
            conn, RELATION, "Relationship", HONG,
            {"patient": f"Patient/{HONG}", "related": f"RelatedPerson/{KIN}", "code": "FTH", "role": "next_of_kin"},
        )  # fmt: skip
        for system, key, said, at in (
            ("ocs", "HOSP|00012345", {**HONG_DOC, "telecom.mobile": HONG_DOC["telecom"][0]}, NOW - 50 * SECOND),
            ("emr", "EMR|E-77", {"gender": "male", "address": [{"text": "서울 종로"}]}, NOW - 90 * SECOND),
        ):
            said.pop("telecom", None)
            lineage = {name: [f"PID-{n + 3}", 1, "a1b2c3d4e5f60718", at] for n, name in enumerate(said)}
            conn.execute(
                insert(t.source_record).values(
                    kind="Patient", system=system, key=key, resource_id=HONG, data=orjson.dumps(said).decode(),
                    lineage=orjson.dumps(lineage).decode(), event_at=at, message_id=1, channel=f"{system}-in",
                )
            )  # fmt: skip
        sealed = keys.seal("message", 1, ADT.encode())
        lane = "HOSP|00012345"
        common = {"patient_no": "00012345", "answer_owed": True, "code": "AA"}
        add_message(conn, 1, "ocs-in", "in", "ADT^A08", outcome="applied", lane=lane, body=sealed, **common)
        add_message(
            conn,
            2,
            "ocs-in",
            "in",
            "ADT^A08",
            state="dead",
            reason="PID-7: not a date",
            lane=lane,
            body=keys.seal("message", 2, ADT.encode()),
            **common,
        )
        add_message(conn, 3, "ocs-in", "in", "ADT^A08", state="queued", lane=lane, **common)
        add_message(conn, 4, "ocs-in", "in", "ORU^R01", outcome="ignored", reason="no map for it", **common)
        add_message(
            conn,
            5,
            "ocs-in",
            "in",
            "",
            state="refused",
            reason="bytes that the charset does not have",
            body=keys.seal("message", 5, b"MSH|garbage"),
        )
        change_id = add_change(conn, "patient.updated", "Patient", HONG, HONG, 3, ["telecom"], HONG_DOC, 1, "ocs-in")
        add_change(conn, "encounter.created", "Encounter", VISIT, HONG, 1, ["status"], visit, 1, "ocs-in")
        out = {"change_id": change_id, "resource_id": HONG, "cause": 1}
        add_message(conn, 6, "crm-out", "out", "patient.updated", outcome="delivered", lane=f"{HONG}|crm-out", **out)
        add_message(
            conn,
            7,
            "erp-out",
            "out",
            "patient.updated",
            state="dead",
            reason="422 from the target",
            attempts=8,
            lane=f"{HONG}|erp-out",
            **out,
        )
        add_message(
            conn,
            8,
            "ocs-out",
            "out",
            "patient.updated",
            state="uncertain",
            reason="no answer in 30 s",
            attempts=1,
            lane=f"{HONG}|ocs-out",
            **out,
        )
        for number in range(9, 70):
            add_message(
                conn,
                number,
                "ocs-in",
                "in",
                "ADT^A04",
                outcome="applied",
                lane="HOSP|00099999",
                patient_no="00099999",
                answer_owed=True,
                code="AA",
            )
        conn.execute(insert(t.answered).values(first_id=1, last_id=2, undelivered="[2]"))
        conn.execute(insert(t.answered).values(first_id=9, last_id=60, undelivered="[]"))
        conn.execute(insert(t.attempt).values(message_id=6, n=1, at=NOW, verdict="delivered", detail="204"))
        conn.execute(insert(t.attempt).values(message_id=7, n=1, at=NOW, verdict="refused", detail="422"))
        for state, n in (("received", 70), ("applied", 62), ("ignored", 1), ("refused", 1), ("duplicate", 4)):
            conn.execute(insert(t.tally).values(channel="ocs-in", state=state, shard=0, n=n))
        conn.execute(insert(t.tally).values(channel="crm-out", state="delivered", shard=0, n=12_345))
        conn.execute(insert(t.alert).values(at=NOW, kind="breaker_open", channel="erp-out", text="erp-out does not answer"))
        conn.execute(
            insert(t.link_history).values(
                id=1,
                at=NOW,
                act="merge",
                kind="Patient",
                assigner="HOSP",
                value="00012399",
                from_id=MERGED,
                to_id=HONG,
                message_id=1,
            )
        )
        conn.execute(insert(t.checkpoint).values(size=12, at=NOW, root=b"\1" * 32, frontier=b"", note="hospital-hub\n12\n"))
    audit = FakeAudit(engine)
    audit.append("message.stored", actor="system", channel="ocs-in", message_id=1, detail={"digest": "00ff"})
    audit.append("message.applied", actor="system", channel="ocs-in", message_id=1, detail={"changes": [change_id]})
