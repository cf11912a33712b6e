"""Every kind of channel: the adapters that are shipped, and those that a site's own packages offer.

A package offers one by an entry point of the group `hub.adapters`, whose name is what hub.toml says after `adapter = ` and whose
value is a module with MANIFEST, Settings and build (docs/adapters.md):

    [project.entry-points."hub.adapters"]
    "acme.lab_in" = "acme_lab.lab_in"

What cannot be used raises Misconfigured, which says whose it is and what to change: never is one adapter taken for another.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from hub import adapters
from hub.domain.errors import Misconfigured
from hub.domain.ports import KIT, Manifest

GROUP = "hub.adapters"
NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")


@cache
def shipped() -> frozenset[str]:
    """The names of the hub's own adapters; and of the rooms beside them, which are nobody else's names either."""
    found = set()
    for package in pkgutil.iter_modules(adapters.__path__):
        if package.ispkg:
            folder = importlib.import_module(f"{adapters.__name__}.{package.name}")
            found |= {f"{package.name}.{module.name}" for module in pkgutil.iter_modules(folder.__path__)}
    return frozenset(found)


@cache
def offered() -> Mapping[str, tuple[EntryPoint, ...]]:
    """What is installed beside the hub, by name; read once a process."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, []).append(point)
    return {name: tuple({(_owner(p), p.value): p for p in points}.values()) for name, points in found.items()}


def module_of(name: str) -> ModuleType:
    """The module behind `adapter = "ocs.hl7_in"`. Raises Misconfigured."""
    points = offered().get(name, ())
    if name in shipped():
        if points:
            raise _clash(name, [*map(_owner, points), "the hub itself"])
        module = importlib.import_module(f"{adapters.__name__}.{name}")
        if isinstance(getattr(module, "MANIFEST", None), Manifest):
            return module
    if not points:
        raise Misconfigured(f'there is no adapter "{name}"; see hub channel kinds', code="no_adapter")
    if len(points) > 1:
        raise _clash(name, list(map(_owner, points)))
    return _load(points[0])


def names() -> list[str]:
    """All that can be written after `adapter = `, usable or not."""
    own = {name for name in shipped() if hasattr(importlib.import_module(f"{adapters.__name__}.{name}"), "MANIFEST")}
    return sorted(own | offered().keys())


def manifests() -> tuple[list[Manifest], dict[str, str]]:
    """What every usable adapter is, by name; and of the others, why they are not."""
    good: list[Manifest] = []
    bad: dict[str, str] = {}
    for name in names():
        try:
            good.append(module_of(name).MANIFEST)
        except Misconfigured as error:
            bad[name] = error.reason
    return good, bad


def _load(point: EntryPoint) -> ModuleType:
    """A site's module, looked at as closely as a reviewer would look at one of ours."""
    whose = f'the adapter "{point.name}" of the package {_owner(point)}'
    if NAME.fullmatch(point.name) is None:
        raise Misconfigured(f'{whose} has no name as hub.toml takes it: write one like "acme.lab_in"', code="adapter_name")
    try:
        module = importlib.import_module(point.module)
    except Exception as error:
        detail = str(error) if isinstance(error, ImportError) else ""
        reason = f"{whose} cannot be imported ({type(error).__name__}{': ' if detail else ''}{detail}); mend {point.module}"
        raise Misconfigured(reason, code="adapter_import") from error
    manifest = getattr(module, "MANIFEST", None)
    if not isinstance(manifest, Manifest):
        raise Misconfigured(f"{whose}: {point.module} has no MANIFEST of hub.domain.ports.Manifest", code="adapter_manifest")
    if manifest.kit != KIT:
        newer = "a newer hub" if manifest.kit > KIT else "a newer version of that package"
        reason = f"{whose} was written for adapter kit {manifest.kit}, this hub has {KIT}: install {newer}"
        raise Misconfigured(reason, code="adapter_kit")
    if manifest.name != point.name:
        raise Misconfigured(f'{whose} calls itself "{manifest.name}" in its MANIFEST: write one name', code="adapter_name")
    if manifest.direction not in ("in", "out") or not is_dataclass(getattr(module, "Settings", None)):
        raise Misconfigured(f'{whose} needs direction "in" or "out" and a dataclass Settings', code="adapter_manifest")
    if not callable(getattr(module, "build", None)):
        raise Misconfigured(f"{whose} has no function build", code="adapter_manifest")
    return module


def _owner(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value


def _clash(name: str, owners: list[str]) -> Misconfigured:
    owned = " and ".join(sorted(owners))
    return Misconfigured(f'the adapter "{name}" is offered by {owned}: rename one of them', code="adapter_clash")
