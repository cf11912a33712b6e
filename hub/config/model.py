"""What hub.toml can say: one frozen dataclass a table, with its defaults. See docs/configuration.md."""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from hub.config.bind import Source, bind, option
from hub.config.errors import ConfigError
from hub.config.lines import Place

S = TypeVar("S")
INHERITED = ("name", "assigner", "timezone")


@dataclass(frozen=True, slots=True)
class HubSection:
    """[hub]"""

    name: str = option("Hospital Hub", doc="shown in the console and in alerts")
    data_dir: Path = option(Path(), doc="where database and pid file live; default: the folder of hub.toml")
    assigner: str = option("HOSP", doc="assigning authority of numbers that come without one")
    timezone: str = option("Asia/Seoul", doc="time zone of times that come without an offset")


@dataclass(frozen=True, slots=True)
class DatabaseSection:
    """[database]"""

    url: str = option(
        "sqlite:///hub.db", doc="sqlite:///FILE (relative to data_dir) or postgresql+psycopg://USER:PASSWORD@HOST/NAME"
    )

    @property
    def is_sqlite(self) -> bool:
        return self.url.startswith("sqlite")


@dataclass(frozen=True, slots=True)
class BrokerSection:
    """[broker]"""

    url: str | None = option(None, doc="redis://HOST:PORT/0 for Celery's wake-up calls; without it hub run does all by itself")
    workers: int = option(2, doc="Celery worker processes that hub run starts", low=1, high=64)


@dataclass(frozen=True, slots=True)
class WebSection:
    """[web]"""

    host: str = option("127.0.0.1", doc="address that API and console listen on")
    port: int = option(8080, doc="their port; 0 picks a free one", low=0, high=65535)
    tls_cert: Path | None = option(None, doc="certificate chain (PEM); with tls_key the console speaks HTTPS")
    tls_key: Path | None = option(None, doc="private key (PEM)")


@dataclass(frozen=True, slots=True)
class KeysSection:
    """[keys]: data.key (bodies, digests) and audit.key (checkpoints); HUB_DATA_KEY and HUB_AUDIT_KEY win over the files."""

    folder: Path = option(Path("secrets"), doc="folder of data.key and audit.key, outside the database and its backups")


@dataclass(frozen=True, slots=True)
class AuditSection:
    """[audit]"""

    checkpoint_file: Path = option(
        Path("audit-checkpoints.txt"), doc="signed checkpoints are appended here: keep it off this host too"
    )


@dataclass(frozen=True, slots=True)
class RetentionSection:
    """[retention]: after how many days a message's body is deleted; what is undelivered is never deleted."""

    done_days: int = option(30, doc="bodies of messages that are done or discarded", low=1)
    ignored_days: int = option(7, doc="bodies of messages that were ignored (filtered, no map)", low=1)
    refused_days: int = option(30, doc="bodies of messages refused at intake", low=1)
    dead_days: int = option(90, doc="bodies of discarded dead letters; a dead letter that waits is kept", low=1)


@dataclass(frozen=True, slots=True)
class LimitsSection:
    """[limits]"""

    disk_free_mb: int = option(500, doc="with less free disk, intake answers TRY_AGAIN", low=1)
    queue: int = option(1_000_000, doc="with more messages waiting, intake answers TRY_AGAIN", low=1)


@dataclass(frozen=True, slots=True)
class ApplySection:
    """[apply]"""

    batch: int = option(100, doc="messages applied in one transaction", low=1, high=1000)


@dataclass(frozen=True, slots=True)
class FhirSection:
    """[fhir]: how the façade at /fhir/R4 calls our assigners and code systems."""

    systems: dict[str, str] = option(dict, doc='identifier.system of an assigner: { HOSP = "urn:oid:1.2.410.1" }')
    code_systems: dict[str, str] = option(dict, doc='Coding.system of a code system: { KCD = "http://…/kostat-kcd-8" }')


@dataclass(frozen=True, slots=True)
class ResultsSection:
    """[results]"""

    keep_values: bool = option(
        False, doc="true: values of results are kept, with unit and reference range; status and flag always are"
    )


@dataclass(frozen=True, slots=True)
class FieldAuthority:
    """One line of [authority]: who may set a field, best first."""

    systems: tuple[str, ...] = option(doc='systems that may set it, best first: ["ocs", "emr"]')
    policy: Literal["ranked", "newest"] = option(
        "ranked", doc="ranked: the best system that said something; newest: the latest change"
    )


@dataclass(frozen=True, slots=True)
class Retry:
    """Waits between attempts: base · 2ⁿ with jitter, never longer than max."""

    base_seconds: float = option(0.5, doc="wait after the first failed attempt", low=0.01, high=3600)
    max_seconds: float = option(600.0, doc="longest wait", low=0.01, high=86400)


@dataclass(frozen=True, slots=True)
class Common:
    """What every [channels.NAME] can say, whatever its adapter."""

    adapter: str = option(doc="kind of channel, as hub channel kinds lists them: ocs.hl7_in")
    system: str = option(doc="whose channel it is, for authority: ocs, emr, erp, pacs, crm")
    enabled: bool = option(True, doc="false: configured, but not started")
    assigner: str = option("", doc="assigning authority of numbers that come without one; default: [hub] assigner")
    timezone: str = option("", doc="time zone of times without an offset; default: [hub] timezone")
    overlay: Path | None = option(
        None, doc="in: a folder of maps (*.toml, codes/*.csv) laid over the shipped ones, for all channels"
    )
    accept: tuple[str, ...] = option((), doc='in: events that are taken, ["ADT", "SIU^S12"]; others end ignored; default: all')
    events: tuple[str, ...] = option((), doc='out: changes that are sent, ["patient.*"]; default: all that the adapter can carry')
    on_reuse: Literal["accept_and_alert", "refuse"] = option("accept_and_alert", doc="in: same control id, other content")
    dedupe_days: int = option(7, doc="in: how long a control id is remembered", low=1, high=400)
    on_dead: Literal["block", "skip"] = option("block", doc="a dead message blocks its lane, or is skipped")
    max_attempts: int = option(10, doc="out: attempts that reached the target before a message is dead", low=1, high=1000)
    retry: Retry = option(Retry, doc="out: waits between attempts")
    breaker_failures: int = option(10, doc="out: failures in a row that open the breaker", low=1, high=1000)
    breaker_seconds: float = option(
        30.0, doc="out: how long it stays open before one attempt probes the target", low=0.01, high=86400
    )


@dataclass(frozen=True, slots=True)
class Channel(Common):
    """One configured adapter. `settings` are the adapter's own keys: secrets resolved, `…_file` and `…_dir` made absolute."""

    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    written: frozenset[str] = frozenset()  # the keys that hub.toml says, common ones included
    place: Place = ()
    source: Source | None = field(default=None, repr=False, compare=False)

    def read(self, settings: type[S]) -> S:
        """The adapter's own keys (see `table`) as its Settings dataclass: types, bounds and unknown keys checked.

        Raises ConfigError, and whatever else the dataclass's own __post_init__ raises.
        """
        assert self.source is not None
        names = {f.name for f in fields(settings)}  # type: ignore[arg-type]  # S is a dataclass
        others = frozenset(f.name for f in fields(Common)) - names
        try:
            return bind(settings, self.table(names), self.place, self.source, ignore=others)
        except ValueError as error:
            raise self.error(str(error)) from None

    def table(self, names: Collection[str]) -> dict[str, Any]:
        """What the adapter's Settings (whose fields are `names`) are read from: its own keys, and of the common ones those
        that it names itself and that are written, or known anyway (its name, assigner and timezone of [hub])."""
        shared = {key for key in names if key in self.written - set(self.settings) or key in INHERITED}
        return {**self.settings, **{key: getattr(self, key) for key in shared}}

    def error(self, problem: str, instead: str = "", *, key: str = "") -> ConfigError:
        """A ConfigError at the line of this channel's `key`. Without one: at the first key that `problem` quotes."""
        assert self.source is not None
        quoted = [key] if key else [word for word in problem.split('"')[1::2] if (*self.place, word) in self.source.lines]
        return self.source.error((*self.place, *quoted[:1]), f"[channels.{self.name}] {problem}", instead)


@dataclass(frozen=True, slots=True)
class RouteSection:
    """One [[routes]]: changes that every filter written here lets through go to the channels of `to`."""

    to: tuple[str, ...] = option(doc='outbound channels that get it, each by a queue of its own: ["emr"]')
    events: tuple[str, ...] = option(
        (), doc='change types: ["patient.*", "appointment.created"]; default: all the channel carries'
    )
    kinds: tuple[str, ...] = option((), doc='canonical kinds: ["Patient", "Encounter"]; default: all')
    fields: tuple[str, ...] = option((), doc='only where one of these changed: ["telecom.mobile", "address"]; default: any')
    from_systems: tuple[str, ...] = option((), doc='whose changes: ["ocs", "crm"]; default: every other system\'s')
    departments: tuple[str, ...] = option((), doc='department of the visit or booking: ["OBGY", "OPD*"]; default: any')
    wards: tuple[str, ...] = option((), doc='location of the visit, the one it comes from too: ["5W*"]; default: any')
    from_channels: tuple[str, ...] = option((), doc='messages of these inbound channels go on as they came: ["lab-in"]')
    messages: tuple[str, ...] = option((), doc='their types: ["ORU^R01", "MDM"]; default: all')
    senders: tuple[str, ...] = option((), doc='their MSH-3, or MSH-3|MSH-4: ["LAB", "RIS|HOSP"]; default: all')
    where: dict[str, tuple[str, ...]] = option(dict, doc='what stands in a field: { "PV1-2" = ["I", "E"] }; default: anything')


@dataclass(frozen=True, slots=True)
class RouteRule(RouteSection):
    """A [[routes]] with its place in the file, for complaints."""

    number: int = 0
    source: Source | None = field(default=None, repr=False, compare=False)

    def error(self, problem: str, instead: str = "", *, key: str = "") -> ConfigError:
        """A ConfigError at the line of this route's `key`, else at its head."""
        assert self.source is not None
        return self.source.error(("routes", self.number, *([key] if key else [])), f"[[routes]] {problem}", instead)


@dataclass(frozen=True, slots=True)
class Config:
    """All of hub.toml, checked; paths absolute, secrets resolved, defaults filled in."""

    path: Path
    hub: HubSection
    database: DatabaseSection
    broker: BrokerSection
    web: WebSection
    keys: KeysSection
    audit: AuditSection
    retention: RetentionSection
    limits: LimitsSection
    apply: ApplySection
    fhir: FhirSection
    results: ResultsSection
    authority: Mapping[str, FieldAuthority]
    channels: Mapping[str, Channel]
    routes: tuple[RouteRule, ...] = ()

    @property
    def pid_file(self) -> Path:
        """Where a running hub writes its process id: `hub reload` sends SIGHUP there."""
        return self.hub.data_dir / "hub.pid"
