"""One message's story, for the API and the console: state, answer, segments, facts, changes, deliveries, attempts, audit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from hub import log
from hub.codecs import hl7v2
from hub.db.views import changes, messages, receivers
from hub.db.views.messages import MessageRow
from hub.domain.errors import HubError, NotFound, Unreadable
from hub.web import render
from hub.web.context import WebHub

_log = log.get(__name__)
MAX_SEGMENTS = 500
MAX_LEAVES = 5000
# A birth date and seven digits; the milliseconds of an OData date are as long, but seldom begin with one
REGISTRATION = re.compile(r"(?<!\d)(?<!/Date\()(\d\d[01]\d[0-3]\d)-?[1-8]\d{6}(?!\d)")


def tell(hub: WebHub, message_id: int, *, with_content: bool) -> dict[str, Any]:
    """The story; segments and facts only `with_content` (they hold a patient's data). Raises NotFound."""
    with hub.engine.connect() as conn:
        row = messages.get(conn, message_id)
        if row is None:
            raise NotFound("there is no such message")
        made = messages.changes_of(conn, message_id)
        carriers = messages.carriers(conn, [(one["id"], one["resource_id"]) for one in made]) + messages.passed(conn, message_id)
        carried = changes.get(conn, row.change_id) if row.change_id is not None else None
        told = [(one["id"], one["type"]) for one in made]
        went = carriers
        if carried is not None:  # an outbound message: who else was told of its change
            told, went = [(carried.id, carried.type)], messages.carriers(conn, [(carried.id, carried.resource_id)])
        story = {
            **render.message(row),
            "answerState": messages.answer_state(conn, row),
            "changes": [_change(one) for one in made],
            "carries": _carried(carried),
            "deliveries": [changes.sync_state(one) for one in carriers],
            "receivers": [_receivers(one) for one in receivers.of_rows(conn, told, went)],
            "attemptLog": [{**one, "at": render.iso(one["at"])} for one in messages.attempts(conn, message_id)],
            "audit": [render.entry(one) for one in messages.audit_of(conn, message_id)],
        }
        sealed = messages.body(conn, message_id) if with_content else None
    if with_content:
        story["content"] = _content(hub, row, sealed)
    return story


def _content(hub: WebHub, row: MessageRow, sealed: bytes | None) -> dict[str, Any]:
    """Segments and facts, or why there are none."""
    if sealed is None:
        why = "erased by retention"
        if row.direction == "out":
            why = "built when it is sent, from the current state" if row.change_id else f"as it came: that of message {row.cause}"
        return {"note": why, "segments": [], "facts": []}
    try:
        body = hub.keys.open_("message", row.id, sealed)
    except HubError as error:
        return {"note": error.reason, "segments": [], "facts": []}
    found: dict[str, Any] = {"bytes": len(body), "segments": [], "facts": []}
    try:
        found["segments"] = leaves(body) if body[:1] == b"{" else segments(body, row.charset)
    except Unreadable as error:
        found["note"] = f"{error.reason} ({error.where})"
        return found
    if hub.explain is not None:
        try:
            rules = hub.explain(row.channel, body)
            found["facts"] = [rule for rule in rules if rule.get("result") not in (None, "", []) or rule.get("warning")]
        except HubError as error:
            found["note"] = error.reason
        except Exception:  # noqa: BLE001 - a map's bug must not hide the message that shows it
            _log.exception("a map could not be explained", extra={"channel": row.channel, "message_id": row.id})
            found["note"] = "what the map makes of it cannot be shown: an error that nobody foresaw; it stands in the log"
    return found


def leaves(body: bytes) -> list[dict[str, Any]]:
    """A FHIR resource, or a row, leaf by leaf under the names of its first level. Raises Unreadable."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Unreadable("not JSON", code="not_json") from None
    found: dict[str, list[dict[str, str]]] = {}
    stack: list[tuple[str, Any]] = [(name, value) for name, value in reversed(list(document.items()))]
    shown = 0
    while stack and shown < MAX_LEAVES:
        path, node = stack.pop()
        inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else None
        if inner is not None:
            dot = "." if isinstance(node, dict) else ""
            stack += [(f"{path}{dot}{key if dot else f'[{key}]'}", value) for key, value in reversed(list(inner))]
        elif node is not None:
            shown += 1
            found.setdefault(re.split(r"[.\[]", path, maxsplit=1)[0], []).append({"path": path, "value": mask(str(node))})
    return [{"name": name, "fields": fields} for name, fields in found.items()]


def segments(body: bytes, charset: str = "") -> list[dict[str, Any]]:
    """A message cut into segments and fields, escapes resolved: what a person reads. Raises Unreadable.

    A resident registration number is masked wherever one stands: the console never shows one.
    """
    parsed = hl7v2.parse(body, charset or "utf-8")
    found = []
    for segment in parsed.segments[:MAX_SEGMENTS]:
        first = 2 if segment.name in ("MSH", "FHS", "BHS") else 1
        fields = [
            {"path": f"{segment.name}-{number}", "value": mask(_readable(segment, number))}
            for number in range(first, len(segment.fields))
            if segment.raw(number)
        ]
        found.append({"name": segment.name, "fields": fields})
    return found


def _readable(segment: hl7v2.Segment, number: int) -> str:
    """A field as it stands, escapes resolved; MSH-2 is the escapes."""
    text = segment.raw(number)
    if number == 2 and segment.name == "MSH":
        return text
    return hl7v2.unescape(text, segment.delimiters, segment.charset)


def mask(text: str) -> str:
    """Hides the last seven digits of anything that looks like a resident registration number."""
    return REGISTRATION.sub(r"\1-*******", text)


def _receivers(header: Mapping[str, Any]) -> dict[str, Any]:
    """Times as the API writes them."""
    found = dict(header)
    for one in found["receivers"]:
        if one["lastAnswer"]:
            one["lastAnswer"] = {**one["lastAnswer"], "at": render.iso(one["lastAnswer"]["at"])}
    return found


def _change(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": one["id"], "at": render.iso(one["at"]), "type": one["type"], "kind": one["kind"], "resourceId": one["resource_id"],
        "patientId": one["patient_id"], "version": one["version"], "changed": one["fields"], "origin": one["origin"],
    }  # fmt: skip


def _carried(row: changes.ChangeRow | None) -> dict[str, Any] | None:
    """The change that an outbound message carries, and the message that caused it."""
    if row is None:
        return None
    return {
        "id": row.id, "at": render.iso(row.at), "type": row.type, "kind": row.kind, "resourceId": row.resource_id,
        "patientId": row.patient_id, "version": row.version, "changed": row.fields, "origin": row.origin,
        "messageId": row.message_id,
    }  # fmt: skip
