"""Where keys stand: the scan agrees with tomllib on every key, and with a person on every line."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.config.lines import Place, key_lines

TEXT = '''# a comment with [brackets] and = signs
top = "a # b"

[hub]
name = "서울 병원"            # trailing
list = [
  "ADT", # one
  # [not.a.table]
  "SIU^S12",
]
deep = { a = 1, b = { "c d" = [1, 2] } }
[channels.ocs-in]
text = """
[channels.fake]
port = 1
"""
raw = \'\'\'x = 'y' \'\'\'\'\'
port = 2575
"quoted key" = true
dotted.key.here = 1.5
[[alerts]]
kind = "mail"
[[alerts]]
kind = "sms"
[alerts.to]
who = "night"
'''


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("top",), 2),
        (("hub",), 4),
        (("hub", "name"), 5),
        (("hub", "list"), 6),
        (("hub", "list", 0), 7),
        (("hub", "list", 1), 9),
        (("hub", "deep", "b", "c d", 1), 11),
        (("channels", "ocs-in"), 12),
        (("channels", "ocs-in", "text"), 13),
        (("channels", "ocs-in", "raw"), 17),
        (("channels", "ocs-in", "port"), 18),
        (("channels", "ocs-in", "quoted key"), 19),
        (("channels", "ocs-in", "dotted", "key", "here"), 20),
        (("alerts", 0, "kind"), 22),
        (("alerts", 1, "kind"), 24),
        (("alerts", 1, "to", "who"), 26),
    ],
)
def test_line_of_each_key(place: Place, line: int) -> None:
    assert key_lines(TEXT)[place] == line


def test_a_table_inside_a_text_is_none() -> None:
    assert ("channels", "fake") not in key_lines(TEXT)


def places(value: Any, base: Place = ()) -> set[Place]:
    """Every place in a parsed document."""
    found: set[Place] = {base} if base else set()
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found |= places(item, (*base, key))
    return found


def test_every_key_that_tomllib_reads_has_a_line() -> None:
    assert places(tomllib.loads(TEXT)) <= set(key_lines(TEXT))


keys = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True), st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=5)
)
scalars = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.booleans(), st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8)


def quote(text: str) -> str:
    out = "".join(c if c >= " " and c not in '"\\\x7f' else f"\\u{ord(c):04x}" for c in text)
    return f'"{out}"'


def dump(value: Any) -> str:
    """TOML of a value, lists over several lines with comments between."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, list):
        return "[ # a ] here\n" + "".join(f"  {dump(item)}, # '\"\n" for item in value) + "]"
    return "{ " + ", ".join(f"{quote(k)} = {dump(v)}" for k, v in value.items()).replace("\n", "\n") + " }"


@given(st.dictionaries(keys, st.dictionaries(keys, values, max_size=4), max_size=4))
def test_any_document(document: dict[str, dict[str, Any]]) -> None:
    text = "".join(
        f"[{quote(name)}]\n" + "".join(f"{quote(k)} = {dump(v)}\n\n" for k, v in table.items())
        for name, table in document.items()
    )
    parsed = tomllib.loads(text)
    assert parsed == document
    lines = key_lines(text)
    assert places(parsed) <= set(lines)
    split = text.split("\n")
    for name, table in document.items():
        assert split[lines[(name,)] - 1] == f"[{quote(name)}]"
        for key in table:
            assert split[lines[name, key] - 1].startswith(f"{quote(key)} = ")
