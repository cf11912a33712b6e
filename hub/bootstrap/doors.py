"""Inbound channels at the web's own address: whose token leads to which, and the intake behind them all."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from hub.bootstrap import channels
from hub.bootstrap.assemble import Hub
from hub.bootstrap.limits import why_full
from hub.config import Channel, Config
from hub.domain.ports import Receipt, Received, Remembering
from hub.sync.fhir_received import Messages
from hub.sync.intake import IntakeService

LOOK_SECONDS = 1.0  # how often intake is asked whether there is room


class Doors:
    """What the web asks: by the token's name. One a process; threads share one intake, a request at a time."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._intake: IntakeService = hub.intake()
        self._lock = threading.Lock()
        self._looked = 0.0
        self._built: tuple[Config | None, Mapping[str, tuple[str, Any]]] = (None, {})

    def of_token(self, token: str) -> tuple[str, Any] | None:
        """(channel, Door) of that token; None where no channel names it. Looked up anew after a reload."""
        config, by_token = self._built
        if config is not self._hub.config:
            config = self._hub.config
            found: dict[str, tuple[str, Any]] = {}
            for name, channel in channels.served(config).items():
                settings = channels.settings_of(channel)
                door = channels.module_of(channel).build(settings, self._given(name, channel, config))
                if isinstance(door, Remembering):
                    door.remember_in(self._hub.memory(name))
                found |= dict.fromkeys(settings.tokens, (name, door))
            by_token = found
            self._built = (config, by_token)
        return by_token.get(token)

    def _given(self, name: str, channel: Channel, config: Config) -> Messages | str:
        """What its door is built with: of FHIR how resources become messages, else the channel's name."""
        if channels.manifest_of(channel).form != "fhir":
            return name
        return Messages(name, channels.fhir_names(channel, config.fhir), self._hub.store, self._hub.keys)

    # -- hub.domain.ports.Intake ----------------------------------------------------------------------------------

    def store(self, batch: Sequence[Received]) -> list[Receipt]:
        with self._lock:
            now = time.monotonic()
            if now - self._looked > LOOK_SECONDS:
                self._looked = now
                self._intake.full = why_full(self._hub)
            return self._intake.store(batch)

    def answered(self, first_id: int, last_id: int, undelivered: Sequence[int]) -> None:
        """Nobody is owed an answer: HTTP has its own."""
