"""Reading hub.toml: text -> tables -> Config. Every complaint names file, line, fault and remedy."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from hub.config.bind import Secret, Source, bind, resolve_secrets
from hub.config.errors import ConfigError, did_you_mean
from hub.config.lines import Place, key_lines
from hub.config.model import (
    ApplySection,
    AuditSection,
    BrokerSection,
    Channel,
    Common,
    Config,
    DatabaseSection,
    FhirSection,
    FieldAuthority,
    HubSection,
    KeysSection,
    LimitsSection,
    ResultsSection,
    RetentionSection,
    RouteRule,
    RouteSection,
    WebSection,
)

T = TypeVar("T")
SECTIONS: dict[str, type[Any]] = {
    "hub": HubSection,
    "database": DatabaseSection,
    "broker": BrokerSection,
    "web": WebSection,
    "keys": KeysSection,
    "audit": AuditSection,
    "retention": RetentionSection,
    "limits": LimitsSection,
    "apply": ApplySection,
    "fhir": FhirSection,
    "results": ResultsSection,
}
CHANNEL_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
ADAPTER_NAME = re.compile(r"[a-z]+\.[a-z0-9_]+")
ABSOLUTE_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")
PASSWORD = re.compile(
    r"""^\s*[\w ]+=[^;]*;(?:.*;)?\s*(?:pwd|password)\s*=\s*[^\s;]   # ODBC: DRIVER={x};UID=hub;PWD=…
    | ^\s*(?:pwd|password)\s*=\s*[^\s;]
    | ^[a-z][a-z0-9+.-]*://[^\s/?\#:@]*:(?!\d*(?:[/?\#]|$))[^\s@]+@      # scheme://hub:…@host, and not host:port
    | ^[a-z][a-z0-9+.-]*://\S*[?&](?:pwd|passwd|password)=[^\s&]""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
COMMON_KEYS = frozenset(f.name for f in dataclasses.fields(Common))


def load(path: str | Path) -> Config:
    """The configuration in `path`. Raises ConfigError; reads the files of secrets that it points to."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            str(path), 0, "there is no such file", "make one with: hub init DIR, or name it with --config FILE"
        ) from None
    except OSError as error:
        raise ConfigError(str(path), 0, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        raise ConfigError(str(path), line, "is not UTF-8 text", "save the file as UTF-8") from None
    return parse(text, file)


def parse(text: str, file: Path) -> Config:
    """As `load`, from `text`; `file` says where relative paths start."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(text, str(file), str(error)) from None
    source = Source(str(file), file.absolute().parent, key_lines(text))
    known = {*SECTIONS, "authority", "channels", "routes"}
    for name, table in tables.items():
        if name not in known:
            what = f"[{name}]" if isinstance(table, dict) else f'"{name}"'
            raise source.error((name,), f"unknown {what}", did_you_mean(name, known))
        if not isinstance(table, dict) and name != "routes":
            raise source.error((name,), f'"{name}" is not a table', f"write [{name}]")
    for name in ("database", "broker"):
        _check_password(resolve_secrets(tables.get(name, {}), (name,), source), (name,), source)
    parts = {
        name: bind(cls, resolve_secrets(tables.get(name, {}), (name,), source), (name,), source) for name, cls in SECTIONS.items()
    }
    parts["hub"] = hub = _hub(parts["hub"], source)
    parts["database"] = _database(parts["database"], hub, source)
    parts["keys"] = _under(parts["keys"], source.folder)
    parts["audit"] = _under(parts["audit"], source.folder)
    _check_broker(parts["broker"], source)
    _check_web(parts["web"], source)
    _check_fhir(parts["fhir"], source)
    channels = _channels(tables.get("channels", {}), hub, source)
    return Config(
        path=file.absolute(),
        **parts,
        authority=_authority(tables.get("authority", {}), source),
        channels=channels,
        routes=_routes(tables.get("routes", []), channels, source),
    )


def _syntax_error(text: str, file: str, message: str) -> ConfigError:
    found = re.search(r"\(at line (\d+), column (\d+)\)", message)
    line = int(found.group(1)) if found else text.count("\n") + 1
    problem = re.sub(r"\s*\(at .*\)$", "", message)
    instead = "write key = value: texts in double quotes, true or false in small letters, [table] on a line of its own"
    if "overwrite" in problem or "twice" in problem:
        instead = "a key or table can be written once only"
    return ConfigError(file, line, problem[:1].lower() + problem[1:], instead)


def _check_timezone(name: str, place: tuple[str, ...], source: Source) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        raise source.error(place, f'there is no time zone "{name}"', 'write an IANA name: "Asia/Seoul"') from None


def _hub(hub: HubSection, source: Source) -> HubSection:
    _check_timezone(hub.timezone, ("hub", "timezone"), source)
    return dataclasses.replace(hub, data_dir=source.folder / hub.data_dir)


def _database(database: DatabaseSection, hub: HubSection, source: Source) -> DatabaseSection:
    url, place = database.url, ("database", "url")
    if url.startswith("sqlite:///"):
        name = url.removeprefix("sqlite:///")
        if not name or name == ":memory:":
            raise source.error(place, "a hub cannot live in memory", 'write url = "sqlite:///hub.db"')
        return dataclasses.replace(database, url=f"sqlite:///{hub.data_dir / name}")
    if url.startswith("postgresql+psycopg://"):
        return database
    if url.startswith(("postgresql:", "postgres:", "postgresql+")):
        raise source.error(place, "PostgreSQL is reached by psycopg 3 only", "let the URL begin with postgresql+psycopg://")
    raise source.error(
        place, "is no database that the hub knows", "write sqlite:///hub.db or postgresql+psycopg://USER@HOST/NAME"
    )


def _check_broker(broker: BrokerSection, source: Source) -> None:
    if broker.url is not None and not broker.url.startswith(("redis://", "rediss://")):
        raise source.error(
            ("broker", "url"), "is no broker that the hub knows", "write redis://HOST:6379/0 (or rediss:// for TLS)"
        )


def _check_web(web: WebSection, source: Source) -> None:
    if (web.tls_cert is None) != (web.tls_key is None):
        raise source.error(("web",), "tls_cert and tls_key go together", "write both, or neither")


def _check_fhir(fhir: FhirSection, source: Source) -> None:
    for key, table in (("systems", fhir.systems), ("code_systems", fhir.code_systems)):
        for name, uri in table.items():
            if not ABSOLUTE_URI.fullmatch(uri):
                raise source.error(("fhir", key, name), f'"{uri}" is no absolute URI', 'write "urn:oid:1.2.3" or "http://…"')


def _under(section: T, folder: Path) -> T:
    changed = {
        f.name: folder / value
        for f in dataclasses.fields(section)  # type: ignore[arg-type]
        if isinstance(value := getattr(section, f.name), Path)
    }
    return dataclasses.replace(section, **changed)  # type: ignore[type-var]


def _authority(table: dict[str, Any], source: Source) -> Mapping[str, FieldAuthority]:
    read: dict[str, FieldAuthority] = {}
    for name, value in table.items():
        place = ("authority", name)
        if not isinstance(value, dict):
            raise source.error(
                place, f'"{name}" says nothing of systems', f'write "{name}" = {{ systems = ["ocs", "crm"], policy = "newest" }}'
            )
        read[name] = bind(FieldAuthority, value, place, source)
        if not read[name].systems:
            raise source.error(place, f'nobody may set "{name}"', "name at least one system")
    return MappingProxyType(read)


def _channels(tables: dict[str, Any], hub: HubSection, source: Source) -> Mapping[str, Channel]:
    read: dict[str, Channel] = {}
    for name, table in tables.items():
        place = ("channels", name)
        if not isinstance(table, dict):
            raise source.error(place, f'"{name}" is not a channel', f"write [channels.{name}]")
        if not CHANNEL_NAME.fullmatch(name):
            raise source.error(place, f'"{name}" cannot name a channel', "write small letters, digits and -, 40 at most")
        read[name] = _channel(name, resolve_secrets(table, place, source), hub, source)
    return MappingProxyType(read)


def _channel(name: str, table: dict[str, Any], hub: HubSection, source: Source) -> Channel:
    place = ("channels", name)
    own = frozenset(table) - COMMON_KEYS
    common = bind(Common, table, place, source, ignore=own)
    if not ADAPTER_NAME.fullmatch(common.adapter):
        raise source.error(
            (*place, "adapter"),
            f'"{common.adapter}" cannot name an adapter',
            'write it as "ocs.hl7_in"; hub channel kinds lists all',
        )
    timezone = common.timezone or hub.timezone
    _check_timezone(timezone, (*place, "timezone"), source)
    if common.retry.max_seconds < common.retry.base_seconds:
        raise source.error((*place, "retry"), "max_seconds is less than base_seconds", "let max_seconds be the greater one")
    values = {f.name: getattr(common, f.name) for f in dataclasses.fields(Common)}
    values.update(assigner=common.assigner or hub.assigner, timezone=timezone)
    for key in own:
        _check_password(table[key], (*place, key), source)
    settings = MappingProxyType({key: _own(key, table[key], source) for key in own})
    return Channel(**values, name=name, settings=settings, written=frozenset(table), place=place, source=source)


def _routes(tables: Any, channels: Mapping[str, Channel], source: Source) -> tuple[RouteRule, ...]:
    """Each [[routes]]; the channels of `to` exist, and every list that is written says something."""
    if not isinstance(tables, list):
        raise source.error(("routes",), "routes are a list", "write [[routes]] in double brackets, one for each route")
    read: list[RouteRule] = []
    for number, table in enumerate(tables):
        place = ("routes", number)
        if not isinstance(table, dict):
            raise source.error(place, "this is no route", "write [[routes]] and under it to = [ … ]")
        section = bind(RouteSection, table, place, source)
        for name in ("to", *table):
            if not getattr(section, name):
                raise source.error(
                    (*place, name), f'"{name}" is empty: nothing would be sent', "name at least one, or leave it out"
                )
        for index, name in enumerate(section.to):
            if name not in channels:
                raise source.error((*place, "to", index), f'there is no channel "{name}"', did_you_mean(name, channels))
        values = {f.name: getattr(section, f.name) for f in dataclasses.fields(RouteSection)}
        read.append(RouteRule(**values, number=number, source=source))
    return tuple(read)


def _check_password(value: Any, place: Place, source: Source) -> None:
    """A connection string or URL with a password in it is a secret as a whole; without one it may stand in the file."""
    if isinstance(value, Secret):
        return
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            _check_password(item, (*place, key), source)
    elif isinstance(value, str) and PASSWORD.search(value):
        steps = [step for step in place if isinstance(step, str) and step != "channels"]
        name = steps[-1]
        instead = f'write the whole of it into a file: {name} = {{ file = "secrets/{"-".join(steps)}" }}, or {{ env = "NAME" }}'
        raise source.error(place, f'"{name}" has a password in it, which must not stand in this file', instead)


def _own(key: str, value: Any, source: Source) -> Any:
    """An adapter's own value, paths made absolute."""
    if isinstance(value, Secret):
        return value
    if isinstance(value, list):
        return [_own(key, item, source) for item in value]
    if isinstance(value, dict):
        return {name: _own(name, item, source) for name, item in value.items()}
    if isinstance(value, str) and value and key.endswith(("_file", "_dir", "_files")):
        return str(source.folder / value)
    return value
