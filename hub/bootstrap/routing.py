"""The routing table: [[routes]] of hub.toml checked against channels, adapters and the canonical model; and shown.

A channel that no route names gets what its own `events` say, else all that its adapter can carry. One that routes name
gets what any of them lets through, and of that only what its `events` and its adapter allow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase

from hub.config import Channel, Config, RouteRule, did_you_mean
from hub.domain.model import DOCUMENTS
from hub.domain.ports import MESSAGE, Manifest
from hub.sync.passing import FIELD, Passage
from hub.sync.routes import Filter, Route

TELECOM = "telecom."  # the one list whose parts are told apart: telecom.mobile
FIELDS = {str(kind): frozenset(name.rstrip("_") for name in cls.__annotations__) for kind, cls in DOCUMENTS.items()}


def routes(config: Config, manifests: Mapping[str, Manifest]) -> list[Route]:
    """A Route for each enabled outbound channel. Raises ConfigError where a route can never do what it says."""
    systems = {channel.system for channel in config.channels.values()} | {"crm"}  # front-ends write by the API too
    rules: dict[str, list[Filter]] = {}
    for written in config.routes:
        if written.from_channels or _of_messages(written):
            continue
        found = _filter(written, systems)
        for name in written.to:
            _check_target(written, config.channels[name], manifests[name])
            rules.setdefault(name, []).append(found)
    return [
        Route(name, channel.system, channel.events or manifests[name].handles, tuple(rules.get(name, ())))
        for name, channel in config.channels.items()
        if channel.enabled and manifests[name].direction == "out" and set(manifests[name].handles) != {MESSAGE}
    ]


def passages(config: Config, manifests: Mapping[str, Manifest]) -> list[Passage]:
    """What goes on as it came, a Passage for each destination. Raises ConfigError where a route can never do what it says."""
    found: list[Passage] = []
    for written in config.routes:
        if not written.from_channels and not _of_messages(written):
            continue
        _check_passage(written, config, manifests)
        found += [
            Passage(name, frozenset(written.from_channels), written.messages, written.senders, written.where)
            for name in written.to
            if config.channels[name].enabled
        ]
    return found


def _of_messages(written: RouteRule) -> list[str]:
    """The filters of messages that it has."""
    return [key for key in ("messages", "senders", "where") if getattr(written, key)]


def _check_passage(written: RouteRule, config: Config, manifests: Mapping[str, Manifest]) -> None:
    if not written.from_channels:
        raise written.error("it filters messages and does not say whose", "write from_channels", key=_of_messages(written)[0])
    for key in ("events", "kinds", "fields", "from_systems", "departments", "wards"):
        if getattr(written, key):
            problem = f'"{key}" looks at changes, from_channels at messages as they came'
            raise written.error(problem, "write two routes", key=key)
    inbound = [name for name, manifest in manifests.items() if manifest.direction == "in"]
    for name in written.from_channels:
        if name not in inbound:
            raise written.error(f'there is no inbound channel "{name}"', did_you_mean(name, inbound), key="from_channels")
    for name in written.to:
        if MESSAGE not in manifests[name].handles:
            problem = f'"{name}" does not take messages as they came: {config.channels[name].adapter} carries changes'
            raise written.error(problem, "name a channel like raw.mllp_out", key="to")
    forms = {str(config.channels[name].settings.get("form", manifests[name].form)) for name in written.from_channels}
    for place in written.where if "hl7v2" in forms else ():
        if FIELD.fullmatch(place) is None:
            raise written.error(f'"{place}" is no field', 'write one like "PV1-2" or "PV1-3.4"', key="where")


def _filter(written: RouteRule, systems: Collection[str]) -> Filter:
    for name in written.from_systems:
        if name not in systems:
            raise written.error(f'no channel has the system "{name}"', did_you_mean(name, systems), key="from_systems")
    for kind in written.kinds:
        if kind not in FIELDS:
            raise written.error(f'there is no kind "{kind}"', did_you_mean(kind, FIELDS), key="kinds")
    kinds = [kind for kind in written.kinds or FIELDS if not written.events or _overlap(written.events, [f"{kind.lower()}.*"])]
    if not kinds:
        known = ", ".join(f"{kind.lower()}.*" for kind in written.kinds or FIELDS)
        raise written.error("no kind has such changes", f"write {known}", key="events")
    fields = {field for kind in kinds for field in FIELDS[kind]}
    for field in written.fields:
        if field.partition(".")[0] not in fields or ("." in field and not field.startswith(TELECOM)):
            raise written.error(f'{" and ".join(kinds[:3])} has no field "{field}"', did_you_mean(field, fields), key="fields")
    for key, field in (("departments", "department"), ("wards", "location")):
        if getattr(written, key) and field not in fields:
            having = ", ".join(kind for kind in FIELDS if field in FIELDS[kind])
            raise written.error(f"{' and '.join(kinds[:3])} has no {field}", f"write kinds of these: {having}", key=key)
    return Filter(
        written.events, frozenset(written.kinds), frozenset(written.fields), frozenset(written.from_systems),
        written.departments, written.wards,
    )  # fmt: skip


def _check_target(written: RouteRule, channel: Channel, manifest: Manifest) -> None:
    """The channel sends, can carry at least one thing that is asked of it, and may hear of it."""
    if manifest.direction != "out":
        raise written.error(f'"{channel.name}" sends nothing: {channel.adapter} is inbound', "name outbound channels", key="to")
    if set(manifest.handles) == {MESSAGE}:
        raise written.error(f'"{channel.name}" carries messages as they came', "write from_channels", key="to")
    carried = channel.events or manifest.handles
    for event in written.events:
        if not _overlap([event], carried):
            raise written.error(f'"{channel.name}" does not carry "{event}"', f"it carries {', '.join(carried)}", key="events")
    if written.kinds and not _overlap(carried, [f"{kind.lower()}.*" for kind in written.kinds]):
        raise written.error(f'"{channel.name}" carries no change of these', f"it carries {', '.join(carried)}", key="kinds")
    if channel.system != "crm" and set(written.from_systems) == {channel.system}:
        problem = f'"{channel.name}" is of the system {channel.system} itself, and no system hears its own word'
        raise written.error(problem, "name other systems", key="from_systems")


def _overlap(patterns: Iterable[str], others: Collection[str]) -> bool:
    """Whether a change type could be meant by one of each; exact for patterns whose * stands at the end."""
    return any(fnmatchcase(one, other) or fnmatchcase(other, one) for one in patterns for other in others)


def shown(route: Route) -> list[str]:
    """What a channel gets, one line a rule, for `hub check`."""
    if not route.rules:
        return [f"{', '.join(route.events)} from every {'' if route.system == 'crm' else 'other '}system"]
    return [_line(route, rule) for rule in route.rules]


def shown_passage(passage: Passage) -> str:
    """What a channel gets as it came, for `hub check`."""
    parts = ["messages as they came" if not passage.messages else f"{', '.join(passage.messages)} as they came"]
    parts.append("from " + ", ".join(sorted(passage.from_channels)))
    if passage.senders:
        parts.append("sent by " + ", ".join(passage.senders))
    parts += [f"where {place} is {' or '.join(patterns)}" for place, patterns in passage.where.items()]
    return " ".join(parts)


def _line(route: Route, rule: Filter) -> str:
    parts = [", ".join(rule.events or route.events)]
    if rule.kinds:
        parts.append("of kind " + ", ".join(sorted(rule.kinds)))
    if rule.fields:
        parts.append("where " + " or ".join(sorted(rule.fields)) + " changed")
    if rule.departments:
        parts.append("in department " + ", ".join(rule.departments))
    if rule.wards:
        parts.append("in ward " + ", ".join(rule.wards))
    every = "every system" if route.system == "crm" else "every other system"
    parts.append("from " + (", ".join(sorted(rule.from_systems)) if rule.from_systems else every))
    return " ".join(parts)
