"""What `hub load` and `hub request` need of a channel: its source, asked for itself, and a feed like the poller's.

It writes to the database of a running hub and needs none: what it stores is applied by whoever applies, now or later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hub.bootstrap import channels
from hub.bootstrap.assemble import Hub
from hub.bootstrap.limits import why_full
from hub.config import Channel
from hub.domain.errors import Misconfigured, TryAgain
from hub.domain.facts import Key
from hub.domain.model import KINDS
from hub.domain.ports import Condition, Loadable, Receipt, Received
from hub.mapping import Context
from hub.sync.load import Load
from hub.sync.pace import Pace
from hub.sync.polled import PolledFeed


class Asked:
    """A channel's source, asked for one kind. Used by one thread."""

    def __init__(self, hub: Hub, name: str, kind: str, source: Loadable, ending: Callable[[], bool], later: bool) -> None:
        """`later`: what comes is a load, so what is live goes before it."""
        self.channel = hub.config.channels[name]
        self.kind = kind
        self.source = source
        self.receipts: list[Receipt] = []  # of what was requested
        self.stored: Callable[[], None] = lambda: None  # called after each commit: wakes who applies
        self._hub = hub
        self._later = later
        self._intake = hub.intake()
        self.feed = PolledFeed(
            name, hub.store, hub.keys, self, self._patient_of, ending, channels.fhir_names(self.channel, hub.config.fhir),
            Pace(hub.store, ending).room, later,
        )  # fmt: skip

    def load(self, where: Sequence[Condition]) -> Load:
        return Load(self.source, self.feed, self._hub.keys, self.kind, where)

    def request(self, number: str) -> int:
        """Rows or resources that were found; `receipts` are of those that are news."""
        self.receipts.clear()
        self.feed.looking()
        return self.source.request(self.feed, self.kind, number, self._columns())

    def _columns(self) -> Sequence[str]:
        """Of rows: where their map reads the number of this kind from."""
        if channels.form_of(self.channel) != "row":
            return ()
        settings = channels.settings_of(self.channel)
        names = getattr(settings, "row_events", (getattr(settings, "event", ""),))  # a channel may have rows of several events
        found = {kind: columns for name in names for kind, columns in self._hub.maps.row_keys(name).items()}
        if self.kind not in found:
            known = ", ".join(kind.lower() for kind in found)
            raise Misconfigured(
                f"the rows of {self.channel.name} have no number for the kind {self.kind.lower()}; they have one for: {known}"
            )
        return found[self.kind]

    # -- hub.domain.ports.Intake ----------------------------------------------------------------------------------

    def store(self, batch: Sequence[Received]) -> list[Receipt]:
        full = why_full(self._hub)
        if full:
            raise TryAgain(full)
        receipts = self._intake.store(batch)
        self.stored()
        if not self._later:
            self.receipts += receipts
        return receipts

    def answered(self, first_id: int, last_id: int, undelivered: Sequence[int]) -> None:
        self._intake.answered(first_id, last_id, undelivered)

    def _patient_of(self, event: str, row: Mapping[str, Any]) -> Key | None:
        channel = self.channel
        return self._hub.maps.row_patient(event, row, Context(channel.assigner, channel.system, channel.timezone))


@contextmanager
def asked(hub: Hub, name: str, kind: str, ending: Callable[[], bool] = lambda: False, *, later: bool = False) -> Iterator[Asked]:
    """The channel, built beside the one that polls. Misconfigured: no such channel, or one that cannot be asked."""
    channel = _channel(hub, name)
    source = channels.build_source(channel)
    try:
        if not isinstance(source, Loadable):
            raise Misconfigured(f"{name} ({channel.adapter}) can be polled, but not asked for what it holds")
        made = Asked(hub, name, _kind(kind), source, ending, later)
        made._columns()
        yield made
    finally:
        source.close()


def _channel(hub: Hub, name: str) -> Channel:
    known = channels.polled(hub.config)
    if name not in known:
        raise Misconfigured(f'there is no polled channel "{name}"; there are: {", ".join(known) or "none"}')
    return known[name]


def _kind(text: str) -> str:
    for kind in KINDS:
        if kind.lower() == text.lower():
            return kind
    raise Misconfigured(f'"{text}" is no kind; there are: {", ".join(kind.lower() for kind in KINDS)}')
