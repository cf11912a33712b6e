"""What an adapter says of itself and of its peer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

MESSAGE = "message"  # of Manifest.handles: messages as they were received ([[routes]] with from_channels)
KIT = 1  # what a site's own adapter is written against: these ports; another number where an old adapter would not do any more


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an adapter module is, for `hub channel kinds`, the docs and the contract suite."""

    name: str  # "ocs.hl7_out": what `adapter = ` in hub.toml says
    title: str
    direction: str  # "in" | "out"
    system: str  # ocs | emr | erp | pacs | crm
    protocol: str
    handles: tuple[str, ...] = ()  # out: change types it can carry ("patient.updated", "appointment.*")
    polled: bool = False  # in: `build` gives a Source, not a Listener
    served: bool = False  # in: what is sent to it comes to the web role's address; `build` gives a Door
    form: str = "hl7v2"  # in: what its messages are, hl7v2, row or fhir; a setting `form` of the adapter wins
    kit: int = 1  # the KIT that it was written for


@runtime_checkable
class Pinged(Protocol):
    """A target; or a polled source that can say of its server what it is, and what it cannot do as the channel is set."""

    def ping(self) -> str:
        """A line for people. Raises HubError."""
        ...


class Difference(NamedTuple):
    """What a channel reads or writes there, and its peer describes otherwise, or not at all."""

    where: str  # "A_BusinessPartner/BusinessPartnerDeathDate"
    works: bool  # False: the channel cannot work so; True: something is not carried
    text: str  # what is missing or different, what comes of it, and what instead


@runtime_checkable
class Described(Protocol):
    """A target or polled source whose peer describes itself, so that it can be compared before anything runs ($metadata)."""

    def differences(self, *, ask: bool) -> Sequence[Difference] | None:
        """By the peer's own word, where it may be asked; else by a description that the settings name (None: they name none).

        Raises HubError.
        """
        ...
