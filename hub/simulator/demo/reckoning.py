"""At the end: what every peer really holds against what the hub says, and the audit log against its checkpoints."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import Any

import orjson

from hub.simulator.demo.house import EMR_SYSTEM, House, json_of
from hub.simulator.demo.story import Story
from hub.simulator.demo.verdict import Verdict

REGISTRATION = re.compile(rb"(?<![\d.])\d{2}13\d{2}-?[1-8]\d{6}(?!\d)")  # as the journeys write it: month 13; no piece of a UID


def reckon(story: Story) -> None:
    """All of it; the summary's counts too."""
    house, verdict = story.house, story.verdict
    rows = {row["name"]: row for row in house.operator.get("/api/v1/channels")["items"]}
    _counts(story, rows)
    current = {one["id"]: one for kind in KINDS for one in house.front_end.items("/api/v1/snapshot", kind=kind, limit=500)}
    _crm(house, verdict, current)
    _record_systems(house, verdict, [one for one in current.values() if one["kind"] == "Patient"])
    _audit(house, verdict)


KINDS = ("Patient", "Encounter", "Appointment")


BACK_OFFICE = ("emr-push", "pacs-reports", "pacs-dicom", "pacs-studies", "erp-customers", "erp-bills", "erp-payments")


def _counts(story: Story, rows: dict[str, dict[str, Any]]) -> None:
    house, verdict = story.house, story.verdict
    seen = rows["ocs-in"]["counts"]
    senders = (house.confirm, *house.desks.values())
    verdict.equal("the hub received what was sent", seen["received"], sum(one.sent for one in senders) + story.extra)
    ends = seen["done"] + seen["ignored"] + seen["refused"] + seen["dead"] + seen["discarded"]
    verdict.equal("every message received has an end", ends, seen["received"])
    verdict.equal(
        "ignored, stale, refused, doubled", [seen[one] for one in ("ignored", "stale", "refused", "duplicate")], [1] * 4
    )
    verdict.facts["messages"] = {
        "received": seen["received"], "applied": seen["done"] - seen["stale"], "ignored": seen["ignored"], "stale": seen["stale"],
        "refused": seen["refused"], "dead": len(story.entries_of_dead()), "dead_left": seen["dead"],
        "discarded": seen["discarded"], "duplicates": seen["duplicate"],
    }  # fmt: skip
    delivered = {"crm": "crm-webhook", "ocs": "ocs-out", "emr": "emr", "erp": "erp", "pacs": "pacs-out"}
    verdict.facts["delivered"] = {name: rows[channel]["counts"]["done"] for name, channel in delivered.items()}
    for name, channel in delivered.items():
        counts = rows[channel]["counts"]
        left = sum(counts[state] for state in ("queued", "in_flight", "uncertain", "dead", "discarded"))
        verdict.expect(f"nothing is left undelivered to {channel}", left == 0, _reasons(house, channel))
        verdict.expect(f"{name} was delivered to", counts["done"] > 0)
    verdict.equal("the OCS acted on what was delivered to it", len(house.ocs.received), rows["ocs-out"]["counts"]["done"])
    for name in BACK_OFFICE:
        counts = rows[name]["counts"]
        wrong = sum(counts[state] for state in ("queued", "in_flight", "refused", "dead"))
        verdict.expect(f"all that came by {name} is applied", counts["done"] > 0 and wrong == 0, _reasons(house, name))


def _reasons(house: House, channel: str) -> list[str]:
    """What stands in the way of what waits for this target."""
    found = house.operator.post("/api/v1/messages/search", {"channel": channel, "limit": 200}).data["items"]
    return [f"{one['type']} {one['state']} after {one['attempts']}: {one['reason']}" for one in found if one["state"] != "done"]


def _crm(house: House, verdict: Verdict, current: dict[str, dict[str, Any]]) -> None:
    """Every change came once, in the order of its resource, and the CRM's copy is the hub's."""
    events = list(house.crm.received)
    told = [one.data["change"] for one in events]
    feed = {one["id"] for one in house.front_end.changes()}
    verdict.equal("the CRM has every change of the feed", len(feed - set(told)), 0)
    verdict.equal("the CRM has no change twice", len(told) - len(set(told)), 0)
    order: dict[str, list[tuple[int, str]]] = {}
    for one in events:
        order.setdefault(one.data["id"], []).append((one.data["version"], one.type))
    inverted = [seen for seen in order.values() if seen != sorted(seen)]
    verdict.equal("no event of a resource overtook another", inverted, [])
    other = [one["id"] for one in current.values() if house.crm.latest.get(one["id"], {}).get("resource") != one["resource"]]
    verdict.equal("the CRM's copy of every patient, visit and booking is the hub's", len(other), 0)
    said = orjson.dumps([one.data for one in events])
    verdict.expect("no registration number reached the CRM", not REGISTRATION.search(said))


def _record_systems(house: House, verdict: Verdict, patients: list[dict[str, Any]]) -> None:
    """EMR and ERP hold every patient with a number, once, under the hub's name and phone."""
    known = 0
    missing: dict[str, list[str]] = {"EMR": [], "ERP": []}  # ids of the hub's own
    for one in patients:
        document = one["resource"]
        numbers = [i["value"] for i in document.get("identifier", []) if i["assigner"] == "HOSP" and i.get("use") != "old"]
        if one["status"] != "active" or not numbers:
            continue
        known += 1
        name = document["name"][0] if document.get("name") else {}
        digits = next((t["value"][-8:] for t in document.get("telecom", []) if t.get("use") == "mobile"), "")
        found = [p for n in numbers for p in house.emr.by_identifier(EMR_SYSTEM, n) if p.get("active") is not False]
        partners = [p for n in numbers if (p := house.erp.partner(n))]
        for target, there in (("EMR", found), ("ERP", partners)):
            if not any(_says(p, name, digits) for p in there):
                missing[target].append(f"{one['id']}: {len(there)} there for {len(numbers)} numbers")
    verdict.expect("there are patients", known > 0)
    for target, ids in missing.items():
        verdict.equal(f"the {target} holds every patient's name and phone", ids, [])
    verdict.facts["patients"] = known


def _says(document: dict[str, Any], name: dict[str, Any], digits: str) -> bool:
    """Whether a peer's document holds this name, whole or in its parts, and this phone, however it is written there."""
    said = set(_leaves(document))
    parts = {part for part in (name.get("family"), *name.get("given", [])) if part}
    named = name.get("text") in said or (bool(parts) and parts <= said)
    return named and any("".join(c for c in one if c.isdigit()).endswith(digits) for one in said)


def _leaves(value: Any) -> Iterator[str]:
    """Every text in a JSON document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _leaves(one)


def _audit(house: House, verdict: Verdict) -> None:
    """`hub audit verify`, on the database and on an export that an auditor took away."""
    online = json_of(house.command("audit", "verify", "--config", str(house.config), "--json"))
    verdict.expect("the audit log is as it was signed", online.get("ok"), online.get("findings", "no answer"))
    export, public = house.folder / "audit-export.jsonl", house.folder / "secrets" / "audit.pub"
    points = house.folder / "checkpoints-of-the-auditor.txt"  # taken away before the export, as an auditor keeps it
    shutil.copy(house.folder / "audit-checkpoints.txt", points)
    house.command("audit", "export", str(export), "--config", str(house.config))
    offline = json_of(
        house.command("audit", "verify", "--export", str(export), "--checkpoints", str(points), "--key", str(public), "--json")
    )
    verdict.expect("the export is as it was signed", offline.get("ok"), offline.get("findings", "no answer"))
    verdict.expect("the export covers no less", offline.get("covered", 0) >= online.get("covered", 1))
    verdict.facts["audit"] = {
        "verified": bool(online.get("ok") and offline.get("ok")), "entries": online.get("covered", 0),
        "checkpoints": online.get("checkpoints", 0),
    }  # fmt: skip
