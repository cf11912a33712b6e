"""`hub adapter new`: a package of one's own for an adapter that the hub does not have, complete and green from the first moment.

What it writes lies in hub/cli/kit as it will be, but for the names: `example.adapter`, `example_adapter`, `example-adapter`.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal

import typer

from hub.cli.common import GOOD, say
from hub.domain.errors import Misconfigured

app = typer.Typer(no_args_is_help=True, help="Adapters of one's own: new.", rich_markup_mode=None)
Direction = Literal["in", "out"]
SUFFIX = ".txt"
PROTOCOLS: dict[tuple[str, str], str] = {("out", "http"): "out_http", ("in", "http"): "in_http"}


@app.callback()
def _group() -> None:
    """Keeps `new` a command of its own while it is the only one."""


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As hub.toml shall call it: acme.lab_in, acme.lab_out.")],
    direction: Annotated[Direction | None, typer.Option(help="Default: how NAME ends.")] = None,
    protocol: Annotated[str, typer.Option(help="http: JSON over HTTP, posted (out) or asked for line by line (in).")] = "http",
    system: Annotated[str, typer.Option(help="Whose adapter it is: ocs, emr, erp, pacs.")] = "ocs",
    folder: Annotated[Path | None, typer.Option(help="Where to write it; default: NAME with hyphens, here.")] = None,
) -> None:
    """Write a package with an adapter that works, a simulated peer with faults, a map, and the hub's contract tests.

    Examples:

      hub adapter new acme.lab_in

      hub adapter new acme.pharmacy_out --system erp && cd acme-pharmacy-out && pip install -e ".[dev]" && pytest
    """
    way = _direction(name, direction)
    _check(name, system)
    kit = PROTOCOLS.get((way, protocol))
    if kit is None:
        known = ", ".join(sorted(other for side, other in PROTOCOLS if side == way))
        raise Misconfigured(f'there is no protocol "{protocol}" for direction "{way}"; there are: {known}', code="protocol")
    home = folder or Path(name.replace(".", "-").replace("_", "-"))
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise Misconfigured(f"{home} is there already; name another one with --folder", code="folder")
    written = write(kit, home, name, system)
    say(f"{home}: {len(written)} files", GOOD)
    say(f'next: cd {home} && pip install -e ".[dev]" && pytest; README.md says what to change')


def _direction(name: str, direction: Direction | None) -> Direction:
    if direction is not None:
        return direction
    if name.endswith("_in"):
        return "in"
    if name.endswith("_out"):
        return "out"
    raise Misconfigured(f'"{name}" does not say which way it goes; end it with _in or _out, or add --direction', code="direction")


def _check(name: str, system: str) -> None:
    from hub.bootstrap import kinds

    if kinds.NAME.fullmatch(name) is None:
        raise Misconfigured(f'"{name}" is no name of an adapter; write one like acme.lab_in', code="adapter_name")
    if name in kinds.shipped():
        raise Misconfigured(f'"{name}" is a name of the hub itself; take another one', code="adapter_clash")
    if system not in ("ocs", "emr", "erp", "pacs"):
        raise Misconfigured(f'there is no system "{system}"; write ocs, emr, erp or pacs', code="system")


def write(kit: str, home: Path, name: str, system: str) -> list[Path]:
    """The files of `common` and of `kit`, under their names; what was written."""
    names = {
        "example_system": system,
        "example.adapter": name,
        "example_adapter": name.replace(".", "_"),
        "example-adapter": name.replace(".", "-").replace("_", "-"),
        "EXAMPLE_PATIENT": f"{name.replace('.', '_').upper()}_PATIENT",
        "ExamplePeer": "".join(part.capitalize() for part in name.replace(".", "_").split("_")) + "Peer",
        "[channels.example]": f"[channels.{name.replace('.', '-').replace('_', '-')}]",
        "ping example": f"ping {name.replace('.', '-').replace('_', '-')}",
    }
    root = files("hub.cli").joinpath("kit")
    return [
        _file(source, home / _named(place, names), names)
        for part in ("common", kit)
        for place, source in _all(root.joinpath(part), "")
    ]


def _all(folder: Traversable, place: str) -> list[tuple[str, Traversable]]:
    found: list[tuple[str, Traversable]] = []
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.is_dir():
            found += _all(entry, f"{place}{entry.name}/")
        elif entry.name.endswith(SUFFIX):
            found.append((f"{place}{entry.name.removesuffix(SUFFIX)}", entry))
    return found


def _named(text: str, names: dict[str, str]) -> str:
    for before, after in names.items():
        text = text.replace(before, after)
    return text


def _file(source: Traversable, target: Path, names: dict[str, str]) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(_named(source.read_text(encoding="utf-8"), names), encoding="utf-8")
    return target
