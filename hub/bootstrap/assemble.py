"""The hub's parts, put together from a configuration. Nothing runs yet."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hub.bootstrap import channels
from hub.config import Channel, Config
from hub.db import audit, schema
from hub.db.audit_writer import AuditLog
from hub.db.crypt import KeyRing
from hub.db.engine import make_engine, make_write_engine, parse_url, write_turn
from hub.db.lookup import SqlLookup
from hub.db.store import SqlStore
from hub.domain.ports import Pinged, Target
from hub.mapping import MapSet, load_maps
from hub.sync.apply import Applier, InboundChannel
from hub.sync.authority import Authority, overridden
from hub.sync.deliver import Courier, OutboundChannel
from hub.sync.front_office import FrontOfficeService
from hub.sync.intake import IntakeService
from hub.sync.lanes import buckets_for
from hub.sync.memory import ChannelMemory
from hub.sync.operations import OperationsService
from hub.sync.routes import Route

SMALL_BATCH = 50  # messages applied in one write turn of SQLite while senders wait


class Hub:
    """All parts of one hub process. `config` may be replaced by `reload`; parts ask for what they need each time."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.url = parse_url(config.database.url, config.hub.data_dir)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self.turn = write_turn(self.url)
        self.engine = make_engine(self.url)
        schema.check(self.engine)
        self.keys = KeyRing.load(config.keys.folder)
        self.store = SqlStore(self.url, self.turn)
        self.buckets = buckets_for(self.engine.dialect.name)
        self.maps: MapSet
        self._targets: dict[str, tuple[Channel, OutboundChannel]] = {}
        self._guard = threading.Lock()
        self._adopt(config)
        self.write_engine = make_write_engine(self.url, self.turn, self.engine)
        self.audit = AuditLog(self.write_engine)
        self.lookup = SqlLookup(self.engine, self.audit)
        self.front_office = FrontOfficeService(self.store, lambda: self._routes, lambda: self._authority, self.buckets)
        self.operations = OperationsService(self.store, lambda: self.config.channels, self.asked)

    # -- configuration --------------------------------------------------------------------------------------------

    def _adopt(self, config: Config) -> None:
        overlays = sorted({Path(c.overlay) for c in config.channels.values() if c.overlay is not None})
        self.maps = load_maps(overlays, result_values=config.results.keep_values)
        self._inbound = channels.inbound(config, self.maps)
        self._policies = channels.policies(config)
        self._routes, self._passages = channels.routes(config)
        self._authority = overridden({n: (tuple(a.systems), a.policy) for n, a in config.authority.items()})
        with self._guard:
            if self._targets:
                self._targets = channels.outbound(config, self._targets)
        self.config = config

    def reload(self, config: Config) -> None:
        """Adopts a new configuration whole or, where anything in it is wrong, not at all. Raises ConfigError."""
        channels.check_all(config)
        self._adopt(config)

    # -- parts ----------------------------------------------------------------------------------------------------

    def inbound(self) -> Mapping[str, InboundChannel]:
        return self._inbound

    def routes(self) -> Sequence[Route]:
        return self._routes

    def authority(self) -> Authority:
        return self._authority

    def targets(self) -> dict[str, OutboundChannel]:
        """Outbound channels, built when first asked for."""
        with self._guard:
            if not self._targets:
                self._targets = channels.outbound(self.config, {})
            return {name: built for name, (_, built) in self._targets.items()}

    def target(self, name: str) -> Target:
        return self.targets()[name].target

    def asked(self, name: str) -> Pinged:
        """Whom a ping of this channel asks; KeyError: nobody."""
        polled = channels.polled(self.config)
        return channels.AskedOnce(polled[name]) if name in polled else self.target(name)

    def intake(self) -> IntakeService:
        return IntakeService(self.store, self.keys, _Live(lambda: self._policies), self.buckets, lambda: self._passages)

    def memory(self, channel: str) -> ChannelMemory:
        """What a listener remembers of the things that it is told of step by step."""
        return ChannelMemory(channel, self.store, self.keys)

    def applier(self) -> Applier:
        return Applier(
            self.store,
            self.keys,
            self.inbound,
            self.routes,
            self.authority,
            self.buckets,
            self.config.apply.batch,
            SMALL_BATCH if self.sqlite else None,
        )

    def courier(self) -> Courier:
        return Courier(self.store, self.keys, self.targets)

    def sequencer(self) -> audit.Sequencer:
        return audit.Sequencer(self.engine, self.keys.signer, self.config.audit.checkpoint_file, self.config.hub.name, self.store)

    def close(self) -> None:
        for _, built in self._targets.values():
            built.target.close()
        self.store.close()
        self.write_engine.dispose()
        self.engine.dispose()


class _Live(Mapping[str, Any]):
    """A mapping that is looked up anew each time, so that a reload is seen."""

    def __init__(self, current: Any) -> None:
        self._current = current

    def __getitem__(self, key: str) -> Any:
        return self._current()[key]

    def __iter__(self) -> Any:
        return iter(self._current())

    def __len__(self) -> int:
        return len(self._current())


def open_hub(config: Config) -> Hub:
    """A hub whose parts can be used; nothing listens, applies or delivers until `hub.bootstrap.run`."""
    return Hub(config)
