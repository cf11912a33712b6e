"""Golden records: of what its sources claim, the values that stand (design.md: a source competes with what *it* changed).

Pure of writing: `Canon.settle` makes a version of what differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from hub.domain.imaging import PARTS
from hub.domain.model import StepState
from hub.sync.authority import Authority, Claim
from hub.sync.bills import speaking
from hub.sync.news import union
from hub.sync.slots import TELECOM, assemble, assemble_period, explode, explode_period, same, slot_name
from hub.sync.workspace import Resource, Source, Workspace

STEPPED = ("ImagingStudy", "ServiceRequest")
STATES: tuple[StepState, ...] = get_args(StepState)  # of several performed steps: the first that any of them is in


class Golden:
    """The golden values of a workspace's resources, by the rules of authority."""

    def __init__(self, work: Workspace, authority: Authority) -> None:
        self._work = work
        self._authority = authority

    def document(self, resource: Resource, names: Iterable[str]) -> dict[str, Any]:
        """The resource's document with the values of `names` computed anew."""
        sources = self._sources(resource)
        values = explode_period(resource.data) if resource.kind == "Encounter" and resource.data else dict(resource.data)
        if resource.kind == "Patient":
            names = self._patient_names(resource, sources, names)
            if TELECOM in names:
                values.pop(TELECOM, None)
        stands = explode({TELECOM: resource.data.get(TELECOM)}, {}) if resource.kind == "Patient" else values
        values |= {name: _unspelt(stands.get(name), self._value(resource, name, sources)) for name in names}
        values = {name: value for name, value in values.items() if value is not None}
        if resource.kind == "Patient":
            return assemble(values)
        return assemble_period(values) if resource.kind == "Encounter" else values

    def slots(self, patient: Resource) -> dict[str, Any]:
        """The contact points that stand, by the slot that each has in its source record."""
        sources = self._sources(patient)
        names = {name for source in sources for name in source.data if slot_name(name)}
        golden = {name: self._value(patient, name, sources) for name in sorted(names)}
        return {name: point for name, point in golden.items() if point is not None}

    def _patient_names(self, resource: Resource, sources: list[Source], names: Iterable[str]) -> set[str]:
        """What to compute anew: of contact points all slots or none, and whether he is still a prospect."""
        wanted = set(names)
        if any(slot_name(name) for name in wanted) or TELECOM in wanted:
            wanted |= {TELECOM} | {name for source in sources for name in source.data if slot_name(name)}
        if "prospect" in resource.data:
            wanted.add("prospect")
        return wanted

    def _sources(self, resource: Resource) -> list[Source]:
        """What is said of it: its own records before merged ones, the best-ranked first; never by the order of loading."""
        sources = self._work.sources_of(resource.id, resource.kind)
        if len(sources) < 2:
            return sources
        systems = self._authority.rule(resource.kind, "identifier").systems
        ranks = {name: number for number, name in enumerate(systems)}
        return sorted(sources, key=lambda s: (-self._at_home(resource, s), ranks.get(s.system, len(ranks)), s.system, s.key))

    def _value(self, resource: Resource, name: str, sources: list[Source]) -> Any:
        if name == "identifier":
            return union(s.data.get("identifier") or [] for s in sources) or None
        if name == TELECOM:
            return None  # computed slot by slot
        if (kind := resource.kind) == "ImagingStudy" and name in ("series", "modality"):
            return united(name, sources)
        if name == "state" and kind in STEPPED:
            said = {s.data.get(name) for s in sources}
            return next((one for one in STATES if one in said), None)
        if name == "prospect" and any(s.system != "crm" for s in sources):
            return None  # he has been to the hospital: another system knows him
        if len(sources) == 1:
            return sources[0].data.get(name)
        if kind == "Invoice" and name == "status":
            sources = speaking(sources)
        claims = [
            Claim(s.system, s.data[name], s.lineage[name][3], self._at_home(resource, s))
            for s in sources
            if name in s.data and name in s.lineage
        ]
        return self._authority.decide(resource.kind, name, claims)

    def _at_home(self, resource: Resource, source: Source) -> int:
        """How near a record is to what it tells of: 0 where a merge brought it in, the more the more of a study it tells."""
        assigner, _, value = source.key.partition("|")
        pointer = self._work.pointers.get((resource.kind, assigner, value))
        if pointer is not None and pointer.home_id != resource.id:
            return 0
        return 1 + nearness(assigner)


def nearness(assigner: str) -> int:
    """Of two records, by the assigners of their numbers: the nearer to a whole study is the greater (docs/adr/0141)."""
    return PARTS.index(assigner) if assigner in PARTS else len(PARTS)


def _unspelt(stands: Any, value: Any) -> Any:
    """A value that says what stands, spelt another way, is no change (docs/adr/0176)."""
    return stands if stands is not None and same(stands, value) else value


def united(name: str, sources: Iterable[Source]) -> list[Any] | None:
    """What any source lists of a study: each modality once; each series once, with what the sources after the first add to it."""
    listed = [item for source in sources for item in source.data.get(name) or ()]
    if name == "modality":
        return list(dict.fromkeys(listed)) or None
    series: dict[str, dict[str, Any]] = {}
    for one in listed:
        series[one["uid"]] = {**one, **series.get(one["uid"], {})}
    return sorted(series.values(), key=lambda one: (one.get("number", 0), one["uid"])) or None


def flat(kind: str, values: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The values with what competes by part taken apart (hub/sync/slots.py)."""
    if kind == "Patient":
        return explode(values, known)
    return explode_period(values) if kind == "Encounter" else dict(values)
