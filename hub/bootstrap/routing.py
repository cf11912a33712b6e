"""The routing table: [[routes]] of hub.toml checked against channels, adapters and the canonical model; and shown.

A channel that no route names gets what its own `events` say, else all that its adapter can carry. One that routes name
gets what any of them lets through, and of that only what its `events` and its adapter allow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase

from hub.config import Channel, Config, RouteRule, did_you_mean
from hub.domain.model import DOCUMENTS
from hub.domain.ports import Manifest
from hub.sync.routes import Filter, Route

TELECOM = "telecom."  # the one list whose parts are told apart: telecom.mobile
FIELDS = {str(kind): frozenset(name.rstrip("_") for name in cls.__annotations__) for kind, cls in DOCUMENTS.items()}


def routes(config: Config, manifests: Mapping[str, Manifest]) -> list[Route]:
    """A Route for each enabled outbound channel. Raises ConfigError where a route can never do what it says."""
    systems = {channel.system for channel in config.channels.values()} | {"crm"}  # front-ends write by the API too
    rules: dict[str, list[Filter]] = {}
    for written in config.routes:
        found = _filter(written, systems)
        for name in written.to:
            _check_target(written, config.channels[name], manifests[name])
            rules.setdefault(name, []).append(found)
    return [
        Route(name, channel.system, channel.events or manifests[name].handles, tuple(rules.get(name, ())))
        for name, channel in config.channels.items()
        if channel.enabled and manifests[name].direction == "out"
    ]


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
