"""What `hub check` looks at, each a Finding: adapters and their settings, maps, keys, database, disk, targets.

As everywhere in hub/cli, what is heavy (SQLAlchemy, adapters) is imported where it is used: `hub --help` takes 0.2 s, not 1.
"""

from __future__ import annotations

import dataclasses
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hub.config import Channel, Config, ConfigError
from hub.domain.errors import HubError
from hub.domain.ids import now_us
from hub.domain.ports import MESSAGE, Manifest
from hub.mapping import MapSet, load_maps

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from hub.domain.ports import Described

WARNING = "warning: "  # begins the text of a finding that does not keep the hub from starting


class Finding(NamedTuple):
    """One thing looked at. `good` False: the hub would not start, or not do what hub.toml says."""

    what: str
    good: bool
    text: str


def offline(config: Config) -> list[Finding]:
    """Everything that needs neither network nor database."""
    return [
        Finding("hub.toml", True, f"{config.path}: {len(config.channels)} channel{'s' * (len(config.channels) != 1)}"),
        *(_channel(channel) for channel in config.channels.values()),
        *_strangers(config),
        *_web(config),
        *_ports(config),
        *_shared(config),
        *_routes(config),
        *_maps(config),
        _keys(config),
        _disk(config),
    ]


def _channel(channel: Channel) -> Finding:
    from hub.bootstrap import channels

    what = f"channel {channel.name}"
    try:
        folder = getattr(channels.settings_of(channel), "folder", None)
        if channel.enabled and channels.manifest_of(channel).direction == "out":
            channels.build_target(channel).close()  # a URL or a certificate that cannot be used shows here; nothing is sent
        if channel.enabled and channels.manifest_of(channel).polled:
            channels.build_source(channel).close()  # nothing is asked
        if channel.enabled and _listens(channel):
            _check_tls(channel)
        if channel.overlay is not None and not channel.overlay.is_dir():
            raise channel.error(f"there is no folder {channel.overlay}", "name a folder of maps", key="overlay")
    except ConfigError as error:
        return Finding(what, False, str(error))
    if isinstance(folder, Path) and not folder.is_dir():  # a share may come later: the hub starts, and says so
        return Finding(what, True, f"{WARNING}{channel.adapter}: there is no folder {folder}; make it, writable for the hub")
    return Finding(what, True, channel.adapter + ("" if channel.enabled else ", not enabled"))


def _check_tls(channel: Channel) -> None:
    """Opens a listener's certificate, key and authority as it will itself. ConfigError at the line that names them."""
    from hub.bootstrap import channels
    from hub.transport.tls import server_context

    settings = channels.settings_of(channel)
    cert, key, ca = (getattr(settings, name, None) for name in ("tls_cert", "tls_key", "tls_ca"))
    if cert is not None:
        try:
            server_context(str(cert), str(key or ""), str(ca or ""))
        except HubError as error:
            raise channel.error(error.reason, "name PEM files that the hub may read", key="tls_cert") from None


def addresses(config: Config) -> Iterator[Finding]:
    """Where no hub runs: whether each address that it will listen on is free, and this machine's."""
    from hub.bootstrap.pid_file import running_in

    if running_in(config.pid_file) is not None:
        return  # it holds them itself
    yield from _address("[web]", config.web.host, config.web.port)
    for channel in config.channels.values():
        host, port = channel.settings.get("host", "127.0.0.1"), channel.settings.get("port")
        if channel.enabled and isinstance(port, int) and isinstance(host, str) and _listens(channel):
            yield from _address(f"channel {channel.name}", host, port)


def _address(what: str, host: str, port: int) -> Iterator[Finding]:
    if not 0 < port < 65536:
        return  # 0 picks a free one; others are told with their channel
    try:
        for family, kind, protocol, _, place in socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the listeners do: not what is closing still
                if family == socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                one.bind(place)
    except OSError as error:
        yield Finding(
            what, False, f"cannot listen on {host}:{port} ({error.strerror}): write another host or port, or end what holds it"
        )


def _strangers(config: Config) -> Iterator[Finding]:
    """A site's adapters that cannot be used. Those that a channel wants were told with it."""
    from hub.bootstrap import kinds

    used = {channel.adapter for channel in config.channels.values()}
    for name, why in kinds.manifests()[1].items():
        if name not in used:
            yield Finding(f"adapter {name}", True, f"{WARNING}{why}")


def _web(config: Config) -> Iterator[Finding]:
    """The console's own certificate."""
    from hub.transport.tls import server_context

    if config.web.tls_cert is not None:
        try:
            server_context(str(config.web.tls_cert), str(config.web.tls_key or ""))
        except HubError as error:
            yield Finding("[web]", False, error.reason)


def _ports(config: Config) -> Iterator[Finding]:
    """Two listeners on one port: the second would not start."""
    taken: dict[int, str] = {config.web.port: "[web]"}
    for channel in config.channels.values():
        port = channel.settings.get("port")
        if channel.enabled and isinstance(port, int) and port and _listens(channel):
            if port in taken:
                error = channel.error(f'"port" {port} is taken by {taken[port]}', "write another one", key="port")
                yield Finding(f"channel {channel.name}", False, str(error))
            taken.setdefault(port, f"[channels.{channel.name}]")


def _shared(config: Config) -> Iterator[Finding]:
    """What two channels cannot have together: a sender's token, a drop folder."""
    from hub.bootstrap import channels

    try:
        for channel in config.channels.values():
            channels.settings_of(channel)
    except ConfigError:
        return  # told with its channel
    try:
        channels.check_shared(config)
    except ConfigError as error:
        yield Finding("channels", False, str(error))


def _listens(channel: Channel) -> bool:
    """Whether others connect to it."""
    from hub.bootstrap import channels

    try:
        manifest = channels.manifest_of(channel)
    except ConfigError:  # told with its channel
        return False
    return manifest.direction == "in" and not manifest.polled


def _routes(config: Config) -> Iterator[Finding]:
    """Who gets what: each outbound channel, whether routes name it or not."""
    from hub.bootstrap import channels, routing

    try:
        for channel in config.channels.values():
            channels.manifest_of(channel)
    except ConfigError:
        return  # told with its channel
    try:
        table, passages = channels.routes(config)
    except ConfigError as error:
        yield Finding("routes", False, str(error))
        return
    for route in table:
        for line in routing.shown(route):
            yield Finding(f"route {route.channel}", True, line)
    for passage in passages:
        yield Finding(f"route {passage.channel}", True, routing.shown_passage(passage))
    yield from _unreached(config, {passage.channel for passage in passages})


def _unreached(config: Config, reached: set[str]) -> Iterator[Finding]:
    """Channels that carry messages as they came, and no route gives them one."""
    from hub.bootstrap import channels

    for name, channel in config.channels.items():
        if channel.enabled and set(channels.manifest_of(channel).handles) == {MESSAGE} and name not in reached:
            text = f'{WARNING}nothing goes there: write [[routes]] with from_channels and to = ["{name}"]'
            yield Finding(f"channel {name}", True, text)


def _maps(config: Config) -> Iterator[Finding]:
    """The shipped maps and every overlay, compiled; and what a channel accepts that none of them knows."""
    try:
        overlays = sorted({channel.overlay for channel in config.channels.values() if channel.overlay})
        maps = load_maps(overlays, result_values=config.results.keep_values)
    except HubError as error:
        yield Finding("maps", False, error.reason)
        return
    events = [event for event, _ in maps.events()]
    yield Finding("maps", True, f"{len(events)} events, version {maps.version}")
    known = {*events, *(event.partition("^")[0] for event in events)}
    for channel in config.channels.values():
        odd = [event for event in channel.accept if event not in known]
        if odd:
            text = f"{WARNING}accept names {', '.join(odd)}, which no map has: such messages end ignored"
            yield Finding(f"channel {channel.name}", True, text)
    yield from _row_events(config, maps)


def _row_events(config: Config, maps: MapSet) -> Iterator[Finding]:
    from hub.bootstrap import channels

    for channel in config.channels.values():
        try:
            errors = channels.unmapped(config, channel, maps) if channel.enabled else []
        except ConfigError:
            continue  # told with its channel
        yield from (Finding(f"channel {channel.name}", False, str(error)) for error in errors)


def _keys(config: Config) -> Finding:
    from hub.db.crypt import KeyRing

    try:
        signer = KeyRing.load(config.keys.folder).signer
    except HubError as error:
        return Finding("keys", False, error.reason)
    return Finding("keys", True, f"{config.keys.folder}; checkpoints are signed by {str(signer.verifier).split('+', 1)[0]}")


def _disk(config: Config) -> Finding:
    folder: Path = config.hub.data_dir
    if not folder.is_dir():
        return Finding("disk", False, f"there is no folder {folder}: create it, or set [hub] data_dir")
    free = shutil.disk_usage(folder).free // (1 << 20)
    return Finding(
        "disk", free > config.limits.disk_free_mb, f"{free:,} MB free, [limits] disk_free_mb is {config.limits.disk_free_mb:,}"
    )


def stores(config: Config) -> list[Finding]:
    """Database and broker."""
    from hub.cli.common import database

    try:
        with database(config) as engine:
            found = [Finding("database", True, engine.url.render_as_string(hide_password=True)), *_tokens(config, engine)]
    except HubError as error:
        found = [Finding("database", False, error.reason)]
    if config.broker.url is not None:
        found.append(_broker(config.broker.url))
    return found


def _tokens(config: Config, engine: Engine) -> Iterator[Finding]:
    """Channels that are sent to by tokens which nobody has: made later, they work at once."""
    from hub.bootstrap import channels
    from hub.db.auth import AccessStore

    try:
        wanted = {name: channels.settings_of(channel).tokens for name, channel in channels.served(config).items()}
    except ConfigError:
        return  # told with its channel
    if not wanted:
        return
    now = now_us()
    good = {one.name for one in AccessStore(engine).tokens() if not one.revoked_at and (one.expires_at or now + 1) > now}
    for name, tokens in wanted.items():
        missing = [token for token in tokens if token not in good]
        if missing:
            text = f"{WARNING}there is no token {', '.join(missing)}: hub token create {missing[0]} --role sender"
            yield Finding(f"channel {name}", True, text)


def _broker(url: str) -> Finding:
    """Never a reason not to start: without Redis the hub only wakes later."""
    import redis

    client = redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3)
    try:
        policy = client.config_get("maxmemory-policy").get("maxmemory-policy", "")
    except redis.RedisError as error:
        return Finding(
            "broker", True, f"{WARNING}Redis does not answer ({type(error).__name__}); the hub runs without it, slower to wake"
        )
    finally:
        client.close()
    if policy not in ("noeviction", ""):
        return Finding("broker", True, f"{WARNING}Redis has maxmemory-policy {policy} and may drop whole queues; set noeviction")
    return Finding("broker", True, "Redis answers")


def targets(config: Config) -> list[Finding]:
    """Every enabled channel that asks others by itself, asked whether its target or source is there."""
    from hub.bootstrap import channels
    from hub.domain.ports import Pinged

    found: list[Finding] = []
    for channel in config.channels.values():
        try:
            if channels.manifest_of(channel).direction == "out" and channel.enabled:
                target = channels.build_target(channel)
                try:
                    found.append(Finding(f"target {channel.name}", True, target.ping()))
                finally:
                    target.close()
            elif channels.manifest_of(channel).polled and channel.enabled:
                source = channels.build_source(channel)
                try:
                    if isinstance(source, Pinged):
                        found.append(Finding(f"source {channel.name}", True, source.ping()))
                finally:
                    source.close()
        except HubError as error:
            side = "source" if channels.manifest_of(channel).polled else "target"
            found.append(Finding(f"{side} {channel.name}", False, error.reason))
        except ConfigError:
            continue  # told by `offline`
    return found


def descriptions(config: Config, *, ask: bool) -> list[Finding]:
    """What each channel needs of its peer, held against how the peer describes itself ($metadata): by a file that the channel
    names, or, where it may be asked, by its own word."""
    from hub.bootstrap import channels
    from hub.domain.ports import Described

    found: list[Finding] = []
    for channel in config.channels.values():
        try:
            manifest = channels.manifest_of(channel)
            if not channel.enabled or not (manifest.direction == "out" or manifest.polled):
                continue
            peer = channels.build_target(channel) if manifest.direction == "out" else channels.build_source(channel)
            try:
                found += _differences(channel.name, peer, ask) if isinstance(peer, Described) else []
            finally:
                peer.close()
        except HubError as error:
            found.append(Finding(f"channel {channel.name}", False, error.reason))
        except ConfigError:
            continue  # told by `offline`
    return found


def _differences(name: str, peer: Described, ask: bool) -> Iterator[Finding]:
    differences = peer.differences(ask=ask)
    if differences is None:
        return
    for one in differences:
        yield Finding(f"channel {name}", one.works, f"{WARNING if one.works else ''}{one.where}: {one.text}")
    if not differences:
        yield Finding(f"channel {name}", True, "its peer describes all that it needs")


def fields_of(manifest: Manifest) -> list[tuple[str, str, str]]:
    """(key, default, explanation) of an adapter's own settings."""
    from hub.bootstrap.kinds import module_of

    settings = module_of(manifest.name).Settings
    rows = []
    for field in dataclasses.fields(settings):
        if field.default is not dataclasses.MISSING:
            default = "" if field.default in (None, "", ()) else str(field.default)
        else:
            default = "required" if field.default_factory is dataclasses.MISSING else ""
        rows.append((field.name, default, field.metadata.get("doc", "")))
    return rows
