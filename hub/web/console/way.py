"""A patient's way across the systems as a table for people: a line a step, a column a system."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hub.db.views.changes import ChangeRow
from hub.db.views.steps import Step, Told
from hub.web.console.view import human
from hub.web.context import ChannelInfo

SYSTEMS = ("ocs", "emr", "pacs", "erp", "crm")
# What a step is called after, where it changed several things: what happened goes before whom it happened to.
RANK = (
    "Payment", "Invoice", "DiagnosticReport", "ImagingStudy", "ServiceRequest", "MedicationRequest", "Procedure", "Appointment",
    "Encounter", "DocumentReference", "Condition", "AllergyIntolerance", "Coverage", "Patient",
)  # fmt: skip


@dataclass(slots=True)
class What:
    """One thing that a step changed; `verb`: created, updated, cancelled …; `detail` says which, for people."""

    kind: str
    verb: str
    detail: str
    state: str


@dataclass(slots=True)
class Line:
    """One step. `cells`: system -> who of it was told."""

    step: Step
    source: str  # the system that told, crm for the front office
    whats: list[What]
    cells: Mapping[str, list[Told]]


@dataclass(slots=True)
class Way:
    """`systems`: the columns, those that are configured or had a part in it."""

    systems: list[str]
    lines: list[Line]


def across(channels: Iterable[ChannelInfo], steps: Sequence[Step]) -> Way:
    """The table of these steps. A channel that is configured no more stands for its system."""
    system_of = {one.name: one.system for one in channels}
    lines = [_line(step, system_of) for step in steps]
    there = {*system_of.values(), *(line.source for line in lines), *(name for line in lines for name in line.cells)}
    return Way([name for name in SYSTEMS if name in there] + sorted(there - set(SYSTEMS)), lines)


def _line(step: Step, system_of: Mapping[str, str]) -> Line:
    cells: dict[str, list[Told]] = {}
    for told in step.told:
        cells.setdefault(system_of.get(told.channel, told.channel), []).append(told)
    source = "crm" if step.message_id is None else system_of.get(step.channel, step.channel)
    return Line(step, source, _whats(step.changes), cells)


def _whats(changes: Sequence[ChangeRow]) -> list[What]:
    """Each kind once, by its last change; the most telling first."""
    last = {one.kind: one for one in changes}
    ranked = sorted(last.values(), key=lambda one: RANK.index(one.kind) if one.kind in RANK else len(RANK))
    return [What(one.kind, one.type.rpartition(".")[2], _detail(one.data), _state(one.data)) for one in ranked]


def _detail(data: Mapping[str, Any]) -> str:
    """Which one it is: an amount, a code, a title; else when and where."""
    money = data.get("amount") or data.get("total")
    if money:
        return f"{money.get('value', '')} {money.get('currency', '')}".strip()
    for name in ("code", "procedure", "title", "description", "type"):
        if data.get(name):
            return human(data[name])
    kept = data.get("modality") or []
    modality = [kept] if isinstance(kept, str) else kept
    start = str(data.get("start") or "")[:16].replace("T", " ")
    return " ".join(part for part in (*modality, start, data.get("department"), data.get("location")) if part)


def _state(data: Mapping[str, Any]) -> str:
    return str(data.get("state") or data.get("status") or "")
