"""`hub run`, `hub reload`, `hub check`: the hub itself."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from hub import log
from hub.cli import checks, ready
from hub.cli.common import BAD, DEFAULT_CONFIG, GOOD, WARN, ConfigOption, JsonOption, complain, print_json, require_folder, say
from hub.config import Config, load

if TYPE_CHECKING:
    from hub.bootstrap import Hub
    from hub.bootstrap.bound import Bound
    from hub.bootstrap.runtime import Serve


class Role(StrEnum):
    """What one process may do."""

    ALL = "all"
    LISTEN = "listen"
    POLL = "poll"
    APPLY = "apply"
    DELIVER = "deliver"
    WEB = "web"
    KEEP = "keep"
    SWEEP = "sweep"


class LogForm(StrEnum):
    """How log lines look."""

    HUMAN = "human"
    JSON = "json"


def register(app: typer.Typer) -> None:
    for command in (run, reload, check):
        app.command()(command)


def run(
    config: ConfigOption = DEFAULT_CONFIG,
    role: Annotated[list[Role] | None, typer.Option(help="Only these roles in this process; several may be given.")] = None,
    log_level: Annotated[str, typer.Option(envvar=log.LEVEL, help="DEBUG, INFO, WARNING or ERROR.")] = "INFO",
    log_format: Annotated[LogForm, typer.Option(envvar=log.FORMAT, help="Lines for people, or JSON.")] = LogForm.HUMAN,
) -> None:
    """Start the hub and stay: listeners, apply, delivery, API and console, and with a broker its Celery workers.

    SIGTERM or Ctrl-C ends it cleanly, SIGHUP (hub reload) reads hub.toml again without dropping connections.

    Examples:

      hub run

      hub run -c /etc/hub/hub.toml --log-format json

      hub run --role web          (API and console only, beside another hub run on PostgreSQL)
    """
    settings = load(config)
    level = log_level.upper()
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise typer.BadParameter("write DEBUG, INFO, WARNING or ERROR", param_hint="--log-level")
    log.setup(level, log_format.value)
    os.environ |= {log.LEVEL: level, log.FORMAT: log_format.value}  # the children write as we do
    roles = [] if role is None or Role.ALL in role else [one.value for one in role]
    tell = _tell(log_format)
    tell(f"starting {settings.hub.name} from {settings.path}")
    from hub import bootstrap
    from hub.bootstrap import channels

    require_folder(settings)
    channels.check_all(settings)
    from hub.bootstrap.bound import Bound

    places, bound = ready.places(settings, roles), Bound()
    raise typer.Exit(
        bootstrap.run(
            settings, roles, serve=_serve(bound), waker=waker(settings),
            begun=lambda: ready.watch(places, bound, tell), bound=bound,
        )
    )  # fmt: skip


def _tell(form: LogForm) -> Callable[[str], None]:
    """Plain lines for people on stdout; where logs are JSON, log lines."""
    return log.get("hub.run").info if form is LogForm.JSON else say


def _serve(bound: Bound) -> Serve:
    """The web role: FastAPI takes as long to load as all the rest, and only one process of them needs it."""

    def serve(hub: Hub, stop: threading.Event, wake: Callable[[str], None] | None) -> None:
        from hub.web.serve import serve as serve_web

        serve_web(hub, stop, wake, bound)

    return serve


def waker(config: Config) -> Callable[[], Callable[[str], None]] | None:
    """What makes a process able to tell Celery's workers of new work, where there is a broker."""
    if not config.broker.url:
        return None
    os.environ["HUB_CONFIG"] = str(config.path)
    from hub.worker import Waker, app

    return lambda: Waker.of(app)


def reload(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Have a running hub read hub.toml again; connections stay open. The file is checked first.

    Example:  hub reload -c /etc/hub/hub.toml
    """
    settings = load(config)
    findings = checks.offline(settings)
    for finding in findings:
        if not finding.good:
            complain(f"{finding.what}: {finding.text}")
    if not all(finding.good for finding in findings):
        complain("the running hub was left as it is")
        raise typer.Exit(2)
    pid = running(settings)
    if pid is None:
        complain(f"no hub runs with this configuration ({settings.pid_file})")
        raise typer.Exit(1)
    os.kill(pid, signal.SIGHUP)
    say(f"hub (process {pid}) reads {settings.path} again", GOOD)


def running(config: Config) -> int | None:
    """The process id of the hub that runs from this configuration, or None."""
    from hub.bootstrap.pid_file import running_in

    return running_in(config.pid_file)


def check(
    config: ConfigOption = DEFAULT_CONFIG,
    ping: Annotated[bool, typer.Option("--ping", help="Also ask all targets and polled sources whether they are there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say whether `hub run` would start: hub.toml, adapters, TLS files, ports, maps, keys, database, disk. Exit 2 if not.

    Examples:

      hub check

      hub check --ping --json
    """
    settings = load(config)
    findings = [*checks.offline(settings), *checks.addresses(settings), *checks.stores(settings)]
    findings += checks.targets(settings) if ping else ()
    findings += checks.descriptions(settings, ask=ping)
    if as_json:
        print_json({"good": all(f.good for f in findings), "findings": [f._asdict() for f in findings]})
    else:
        for finding in findings:
            style = BAD if not finding.good else WARN if finding.text.startswith(checks.WARNING) else GOOD
            say(f"{'ok ' if finding.good else 'NO '} {finding.what}: {finding.text}", style)
    if not all(finding.good for finding in findings):
        raise typer.Exit(2)
