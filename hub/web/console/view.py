"""How console pages are made: one Jinja2 environment (autoescape, no undefined names), language, times, values for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from hub import __version__
from hub.web.auth import Principal
from hub.web.console.texts import LANGUAGES, TEXTS
from hub.web.context import hub_of

LANGUAGE_COOKIE = "hub_lang"
DEFAULT_LANGUAGE = "ko"


@dataclass(frozen=True, slots=True)
class NavItem:
    """A page in the head: for which roles, and the key that leads there (g, then `key`)."""

    path: str
    text: str
    key: str
    roles: frozenset[str]


NAVIGATION = (
    NavItem("/", "channels", "c", frozenset({"operator", "auditor", "admin"})),
    NavItem("/messages", "messages", "m", frozenset({"operator", "auditor", "admin"})),
    NavItem("/patients", "patients", "p", frozenset({"crm", "operator", "admin"})),
    NavItem("/audit", "audit", "a", frozenset({"auditor", "admin"})),
    NavItem("/docs", "api_docs", "d", frozenset({"crm", "operator", "auditor", "admin"})),
)


def language_of(request: Request) -> str:
    """The language that the visitor chose, else the first of the browser's that we speak."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    if chosen in LANGUAGES:
        return chosen
    for part in request.headers.get("accept-language", "").split(","):
        code = part.partition(";")[0].strip().lower().partition("-")[0]
        if code in LANGUAGES:
            return code
    return DEFAULT_LANGUAGE


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A rendered page. Every template has: t, lang, hub_name, who, csrf, nav, path, can(role, …)."""
    hub = hub_of(request)
    lang = language_of(request)
    texts = TEXTS[lang]
    who: Principal | None = getattr(request.state, "principal", None)
    zone = _zone(hub.timezone)

    def t(key: str, **fill: Any) -> str:
        return texts[key].format(**fill) if fill else texts[key]

    def can(*roles: str) -> bool:
        return who is not None and who.role in {*roles, "admin"}

    html = environment().get_template(template).render(
        t=t, lang=lang, languages=LANGUAGES, hub_name=hub.name, version=__version__, who=who, csrf=who.csrf if who else "",
        nav=[item for item in NAVIGATION if who is not None and who.role in item.roles], path=request.url.path, can=can,
        when=lambda at: when(at, zone), state_text=lambda state: texts.get(f"state_{state}", state), **values,
    )  # fmt: skip
    return HTMLResponse(html, status, headers={"Cache-Control": "no-store", "Vary": "Cookie, Accept-Language"})


def when(at: int | str | None, zone: tzinfo) -> str:
    """A time (µs or ISO 8601) for people, in the hospital's zone, to the millisecond."""
    if at is None or at == "":
        return ""
    moment = datetime.fromisoformat(at) if isinstance(at, str) else datetime.fromtimestamp(at / 1_000_000, UTC)
    local = moment.astimezone(zone)
    return local.strftime("%Y-%m-%d %H:%M:%S") + f".{local.microsecond // 1000:03d}"


def human(value: Any) -> str:
    """A canonical value in a line: names by their text, numbers with their assigner, phones, addresses, codes."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "✓" if value else "✗"
    if isinstance(value, list):
        return ", ".join(human(one) for one in value)
    if isinstance(value, Mapping):
        return _human_object(value)
    return str(value)


class Soft(dict[str, Any]):
    """A document whose absent fields are None in a template, where a wrong name is an error everywhere else."""

    def __missing__(self, key: str) -> None:
        return None


def soft(value: Any) -> Any:
    """`value` with every object in it as Soft."""
    if isinstance(value, Mapping):
        return Soft({key: soft(one) for key, one in value.items()})
    if isinstance(value, list):
        return [soft(one) for one in value]
    return value


def dial(number: str) -> str:
    """A Korean number as people here write it: `+821012345678` -> `010-1234-5678`; others as they are."""
    if not number.startswith("+82"):
        return number
    national = "0" + number[3:]
    area = 2 if national.startswith("02") else 3
    return f"{national[:area]}-{national[area:-4]}-{national[-4:]}" if len(national) - area > 4 else national


def seconds(us: int | float) -> str:
    """A duration in µs: `0.4 s`, `12 s`, `3 min`, `2 h`, `4 d`."""
    amount = us / 1_000_000
    if amount < 0.05:
        return "0 s"
    for limit, size, unit in ((10, 1, "s"), (120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if amount < limit:
            return f"{amount / size:.1f} {unit}" if limit == 10 else f"{amount / size:.0f} {unit}"
    return f"{amount / 86_400:.0f} d"


def brief(us: int) -> str:
    """A short duration in µs, exact where it is short: `12 ms`, `0.34 s`, `3 min`."""
    if us < 100_000:
        return f"{us // 1000} ms"
    return f"{us / 1_000_000:.2f} s" if us < 10_000_000 else seconds(us)


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The environment of all pages."""
    made = Environment(
        loader=PackageLoader("hub.web.console", "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["human"] = human
    made.filters["seconds"] = seconds
    made.filters["brief"] = brief
    made.tests["known_text"] = TEXTS[DEFAULT_LANGUAGE].__contains__
    made.filters["number"] = lambda n: f"{n:,}"
    made.filters["compact"] = lambda value: json.dumps(value, ensure_ascii=False)
    made.filters["dial"] = dial
    return made


def _human_object(value: Mapping[str, Any]) -> str:
    """The word that stands for an object: its text, its number, its code."""
    if "assigner" in value and "value" in value:
        extra = f" ({value['type']})" if value.get("type") else ""
        return f"{value['assigner']}|{value['value']}{extra}"
    if value.get("system") in ("phone", "sms", "fax") and value.get("value"):
        number = dial(str(value["value"]))
        return f"{number} ({value['use']})" if value.get("use") else number
    for key in ("text", "display", "value", "name", "code", "reference"):
        if value.get(key):
            use = value.get("use") or value.get("representation") or value.get("role")
            return f"{human(value[key])} ({use})" if use else human(value[key])
    if "identifier" in value:
        return human(value["identifier"])
    return ", ".join(f"{key}: {human(one)}" for key, one in value.items())


@lru_cache(maxsize=8)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
