"""What the web layer is given by bootstrap: engines, ports and the few facts of the configuration that it shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from sqlalchemy import Engine
from starlette.requests import Request

from hub.codecs.fhir_types import Systems
from hub.db.auth import AccessStore
from hub.domain.ids import now_us
from hub.domain.ports import AuditWriter, FrontOffice, Keys, Operations, Receipt, Received


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """One configured channel, as the console names it. `on_dead`: block | skip."""

    name: str
    system: str
    adapter: str
    direction: str
    on_dead: str = "block"
    title: str = ""
    enabled: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)  # what hub.toml says of it, without secrets


Explain = Callable[[str, bytes], list[dict[str, Any]]]
"""(channel, bytes as received) -> one row a rule, as MapSet.explain gives them: path, to, result, function, fact, warning."""


class Doors(Protocol):
    """Inbound channels at this address, each the Door that its adapter builds, by a token's name; and the intake behind them."""

    def of_token(self, token: str) -> tuple[str, Any] | None: ...

    def store(self, batch: Sequence[Received]) -> list[Receipt]: ...

    def answered(self, first_id: int, last_id: int, undelivered: Sequence[int]) -> None: ...


def _nothing_wrong() -> str:
    return ""


def _nobody_to_wake() -> None:
    return


@dataclass(slots=True)
class WebHub:
    """The hub as the web layer sees it.

    `channels` is asked anew each time, so that a reload shows. `ready` returns "" or what is wrong, for /readyz.
    `explain` reads a stored message with its channel's map; None where no maps are at hand. `https`: cookies are Secure.
    `written` is called after each request that may have made work, so that workers need not look for it.
    """

    name: str
    engine: Engine
    write_engine: Engine
    front_office: FrontOffice
    operations: Operations
    audit: AuditWriter
    keys: Keys
    channels: Callable[[], Sequence[ChannelInfo]]
    explain: Explain | None = None
    ready: Callable[[], str] = _nothing_wrong
    written: Callable[[], None] = _nobody_to_wake
    https: bool = False
    timezone: str = "Asia/Seoul"  # what the console shows times in
    doors: Doors | None = None  # None: no system can send to this address
    fhir: Systems = field(default_factory=Systems)  # how the façade calls assigners and code systems
    clock: Callable[[], int] = now_us
    access: AccessStore = field(init=False)

    def __post_init__(self) -> None:
        self.access = AccessStore(self.engine, self.write_engine)

    def skipping(self) -> list[str]:
        """Channels whose policy is to skip a dead message."""
        return [channel.name for channel in self.channels() if channel.on_dead == "skip"]


def hub_of(request: Request) -> WebHub:
    """The hub that this request is for."""
    return cast(WebHub, request.app.state.hub)
