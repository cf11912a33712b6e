"""From configured channels to running parts: adapters found by name, settings read, policies handed to the core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from hub.bootstrap import kinds, routing
from hub.codecs import fhir_incoming
from hub.codecs.fhir_types import Systems
from hub.codecs.hl7v2 import parse
from hub.codecs.sap import idoc_status
from hub.config import Channel, Config, ConfigError, did_you_mean
from hub.config.model import FhirSection
from hub.domain.errors import HubError, Misconfigured
from hub.domain.facts import Mapped
from hub.domain.ports import Listener, Manifest, ManyAtOnce, OfFiles, Pinged, Source, Target
from hub.mapping import Context, MapSet
from hub.mapping.fhir_keys import Names
from hub.sync.apply import InboundChannel
from hub.sync.breaker import Breaker
from hub.sync.deliver import OutboundChannel
from hub.sync.intake import IntakePolicy
from hub.sync.passing import Passage
from hub.sync.polled import read_row
from hub.sync.retry import RetryPolicy
from hub.sync.routes import Route

RECORD_THREADS = 4


def module_of(channel: Channel) -> ModuleType:
    """The module behind `adapter = "ocs.hl7_in"`, ours or a site's. Raises ConfigError."""
    try:
        return kinds.module_of(channel.adapter)
    except Misconfigured as error:
        problem, _, instead = error.reason.partition("; ")
        raise channel.error(problem, instead, key="adapter") from None


def manifest_of(channel: Channel) -> Manifest:
    manifest = module_of(channel).MANIFEST
    assert isinstance(manifest, Manifest)
    return manifest


def settings_of(channel: Channel) -> Any:
    """The adapter's Settings from the channel's table; ConfigError names the line."""
    try:
        return channel.read(module_of(channel).Settings)
    except HubError as error:
        raise channel.error(error.reason) from None


def of_direction(config: Config, direction: str) -> dict[str, Channel]:
    """The enabled channels of one direction."""
    return {name: c for name, c in config.channels.items() if c.enabled and manifest_of(c).direction == direction}


def listened(config: Config) -> dict[str, Channel]:
    """The inbound channels that are sent to."""
    found = of_direction(config, "in").items()
    return {name: c for name, c in found if not manifest_of(c).polled and not manifest_of(c).served}


def served(config: Config) -> dict[str, Channel]:
    """The inbound channels that are sent to at the web's own address."""
    return {name: c for name, c in of_direction(config, "in").items() if manifest_of(c).served}


def polled(config: Config) -> dict[str, Channel]:
    """The inbound channels that ask by themselves."""
    return {name: c for name, c in of_direction(config, "in").items() if manifest_of(c).polled}


def build_source(channel: Channel) -> Source:
    try:
        source: Source = module_of(channel).build(settings_of(channel), channel.name)
    except HubError as error:
        raise channel.error(error.reason) from None
    return source


class AskedOnce:
    """A polled channel's source, built for a ping and closed after it."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def ping(self) -> str:
        source = build_source(self._channel)
        try:
            if not isinstance(source, Pinged):
                raise Misconfigured(f"{self._channel.name} ({self._channel.adapter}) is polled: hub check looks at its settings")
            return source.ping()
        finally:
            source.close()


def build_listener(channel: Channel) -> Listener:
    listener: Listener = module_of(channel).build(settings_of(channel), channel.name)
    return listener


def build_target(channel: Channel) -> Target:
    try:
        target: Target = module_of(channel).build(settings_of(channel))
    except HubError as error:
        raise channel.error(error.reason) from None
    return target


class Hl7Mapper:
    """One channel's bytes -> facts: its charset, its default assigner, the maps in force."""

    def __init__(self, channel: Channel, charset: str, maps: MapSet) -> None:
        self.charset = charset
        self._maps = maps
        self._assigner = channel.assigner
        self._system = channel.system
        self._timezone = channel.timezone

    def context(self, received_at: int) -> Context:
        return Context(self._assigner, self._system, self._timezone, received_at)

    def __call__(self, body: bytes, event: str, received_at: int) -> Mapped | None:
        if not self._maps.handles(event):
            return None
        return self._maps.map(parse(body, self.charset), self.context(received_at), apart=True)


class RowMapper:
    """A polled row's body -> facts."""

    def __init__(self, channel: Channel, maps: MapSet) -> None:
        self._maps = maps
        self._channel = channel

    def context(self, received_at: int) -> Context:
        return Context(self._channel.assigner, self._channel.system, self._channel.timezone, received_at)

    def explain(self, body: bytes) -> list[dict[str, Any]]:
        """The row with the channel's map, rule by rule (rows of MapSet.explain); none where no map has it."""
        event, row = read_row(body)
        return self._maps.explain_row(event, row, self.context(0)) if self._maps.handles_row(event) else []

    def __call__(self, body: bytes, event: str, received_at: int) -> Mapped | None:
        status = event in idoc_status.EVENTS
        if not status and not self._maps.handles_row(event):
            return None
        name, row = read_row(body)
        at = idoc_status.made_at(row, self._channel.timezone) or received_at
        if status:
            return Mapped([], event, at, self._maps.version, settled=idoc_status.settled(event, row, at))
        return self._maps.map_row(name, row, self.context(at))


class FhirMapper:
    """A FHIR resource's body -> facts."""

    def __init__(self, channel: Channel, maps: MapSet, names: Names) -> None:
        self._maps = maps
        self._channel = channel
        self.names = names

    def context(self, received_at: int) -> Context:
        return Context(self._channel.assigner, self._channel.system, self._channel.timezone, received_at)

    def __call__(self, body: bytes, event: str, received_at: int) -> Mapped | None:
        if not self._maps.handles_fhir(event):
            return None
        return self._maps.map_fhir(fhir_incoming.read(body), self.context(received_at), self.names)


def fhir_names(channel: Channel, fhir: FhirSection) -> Names:
    """How the FHIR server behind a channel names things: what the channel says, over what [fhir] says."""
    own = getattr(settings_of(channel), "identifier_systems", {})
    return Names(channel.assigner, channel.system, Systems({**fhir.systems, **own}, fhir.code_systems))


def form_of(channel: Channel) -> str:
    """What its messages are: hl7v2, row or fhir."""
    return str(getattr(settings_of(channel), "form", manifest_of(channel).form))


def unmapped(config: Config, channel: Channel, maps: MapSet) -> list[ConfigError]:
    """What is wrong with the names of its rows: such rows would be taken from their source and end ignored.

    A channel whose messages a route passes on as they came needs no map.
    """
    if manifest_of(channel).direction != "in" or form_of(channel) != "row" or _passed(config, channel):
        return []
    named = [(key, getattr(settings_of(channel), key, "")) for key in ("event", "gone_event")]
    known = [name for name, _ in maps.events() if maps.handles_row(name)]
    instead = "name the folder of your maps: overlay"
    return [
        channel.error(f'no map has rows of "{event}"', did_you_mean(event, known) if known else instead, key=key)
        for key, event in named
        if event and event not in known
    ]


def _passed(config: Config, channel: Channel) -> bool:
    return any(channel.name in route.from_channels for route in config.routes)


def mapper(channel: Channel, maps: MapSet, fhir: FhirSection) -> Hl7Mapper | RowMapper | FhirMapper:
    """By what the channel's messages are: its adapter's form, or what its settings say of it."""
    form = form_of(channel)
    if form == "row":
        return RowMapper(channel, maps)
    if form == "fhir":
        return FhirMapper(channel, maps, fhir_names(channel, fhir))
    return Hl7Mapper(channel, getattr(settings_of(channel), "charset", "utf-8"), maps)


def inbound(config: Config, maps: MapSet) -> dict[str, InboundChannel]:
    """What apply needs of each inbound channel; disabled ones too, for what they still have queued."""
    found = {}
    for name, channel in config.channels.items():
        if manifest_of(channel).direction == "in":
            made = mapper(channel, maps, config.fhir)
            found[name] = InboundChannel(name, channel.system, made, channel.on_dead, _answers_for(config, channel))
    return found


def _answers_for(config: Config, channel: Channel) -> tuple[str, ...]:
    """The channels to the same system: what it says of messages that it was sent, it may say by any door."""
    return tuple(
        name for name, one in config.channels.items() if one.system == channel.system and manifest_of(one).direction == "out"
    )


def policies(config: Config) -> dict[str, IntakePolicy]:
    return {name: IntakePolicy(c.dedupe_days, c.on_reuse == "refuse") for name, c in config.channels.items()}


def routes(config: Config) -> tuple[list[Route], list[Passage]]:
    """Who takes which changes, and which messages as they came (hub/bootstrap/routing.py). Raises ConfigError."""
    manifests = {name: manifest_of(channel) for name, channel in config.channels.items()}
    carried = {name: _narrowed(channel, manifests[name]) for name, channel in config.channels.items()}
    return routing.routes(config, carried), routing.passages(config, manifests)


def _narrowed(channel: Channel, manifest: Manifest) -> Manifest:
    """An adapter whose settings say what it carries of all that it could: `handles(settings)` of its module."""
    narrower = getattr(module_of(channel), "handles", None)
    if narrower is None or not channel.enabled:
        return manifest
    try:
        return replace(manifest, handles=narrower(settings_of(channel)))
    except HubError as error:
        raise channel.error(error.reason) from None


def outbound(config: Config, known: Mapping[str, tuple[Channel, OutboundChannel]]) -> dict[str, tuple[Channel, OutboundChannel]]:
    """Targets by channel; one whose configuration did not change is kept with its connections and breaker."""
    found = {}
    for name, channel in of_direction(config, "out").items():
        if name in known and known[name][0] == channel and not _outdated(known[name][1].target):
            found[name] = known[name]
            continue
        webhook = manifest_of(channel).system == "crm"
        retry = RetryPolicy(channel.retry.base_seconds, channel.retry.max_seconds, channel.max_attempts)
        breaker = Breaker(channel.breaker_failures, channel.breaker_seconds)
        target = build_target(channel)
        threads = target.at_once if isinstance(target, ManyAtOnce) else RECORD_THREADS
        built = OutboundChannel(name, channel.system, target, webhook, channel.on_dead, retry, threads, breaker)
        found[name] = (channel, built)
    return found


def _outdated(target: Target) -> bool:
    return isinstance(target, OfFiles) and target.outdated()


def check_all(config: Config) -> None:
    """Every channel's adapter and settings, so that a reload with a mistake changes nothing. Raises ConfigError."""
    for channel in config.channels.values():
        settings_of(channel)
        if manifest_of(channel).direction == "out" and channel.enabled:
            build_target(channel).close()
    for channel in polled(config).values():
        build_source(channel).close()
    check_shared(config)
    routes(config)


def check_shared(config: Config) -> None:
    """What no two channels can have together. Raises ConfigError."""
    _check_tokens(config)
    _check_folders(config)


def _check_folders(config: Config) -> None:
    """A drop folder leads to one channel: its working/ belongs to whoever reads it, and either would take the other's files."""
    owners: dict[Path, str] = {}
    for name, channel in polled(config).items():
        folder = getattr(settings_of(channel), "folder", None)
        if isinstance(folder, Path):
            place = folder.resolve()
            if place in owners:
                raise channel.error(f'"folder" is that of {owners[place]}', "make a folder for each channel", key="folder")
            owners[place] = name


def _check_tokens(config: Config) -> None:
    """A token leads to one channel."""
    owners: dict[str, str] = {}
    for name, channel in served(config).items():
        for token in settings_of(channel).tokens:
            if token in owners:
                raise channel.error(f'"tokens" names {token}, which leads to {owners[token]}', "make a token for each channel")
            owners[token] = name
