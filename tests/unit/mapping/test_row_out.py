"""Outbound maps: every mistake named with its line and what to write; values as tables; what goes out reads back."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.domain.errors import Misconfigured, Unmappable
from hub.domain.ports import Outbound
from hub.mapping import SHIPPED, Context, load_maps
from hub.mapping.codes import read_codes
from hub.mapping.language import read_maps
from hub.mapping.out_functions import FUNCTIONS
from hub.mapping.row_compose import OutRow, about, compose
from hub.mapping.row_out import OutMap, is_outbound, read_out_map
from hub.mapping.row_source import RowEngine
from hub.mapping.times import BadValue

SEOUL = ZoneInfo("Asia/Seoul")
CODES, _ = read_codes([SHIPPED / "codes"])
HEAD = """target = "row"
[write.w]
events = ["patient.*"]
table = "T"
do = "upsert"
key = ["ID"]
[write.w.fields]
"ID" = { from = "message.resource" }
"""


def read(text: str) -> OutMap:
    return read_out_map("w.toml", text, CODES)


def message(resource: dict[str, Any], **more: Any) -> Outbound:
    values: dict[str, Any] = {
        "message_id": 12, "channel": "c", "type": "patient.updated", "at": 1_795_000_000_000_000, "attempt": 1, "kind": "Patient",
        "resource_id": "r1", "version": 3, "resource": resource, "changed": [], "patient_id": "r1", "patient": resource,
    }  # fmt: skip
    return Outbound(**values | more)


def row(rule: str, resource: dict[str, Any], **more: Any) -> OutRow:
    made = compose(read(f'{HEAD}"C" = {rule}\n'), message(resource, **more), SEOUL)
    assert made is not None
    return made


MISTAKES = {  # what is written instead of a good line -> what is said
    'target = "rwo"': (('target = "row"', 'target = "rwo"'), 'w.toml:1: an outbound map begins with `target = "row"`'),
    "unknown event": (('["patient.*"]', '["patiant.*"]'), "w.toml:3: `patiant.*` is no change; .*did you mean `patient`"),
    "two kinds": (('["patient.*"]', '["patient.*", "encounter.*"]'), "w.toml:3: `events` must name changes of one kind"),
    "no target": (('table = "T"\n', ""), "w.toml:2: write either `table` or `procedure`"),
    "SQL as a name": (('"T"', '"T; DROP TABLE x"'), "w.toml:4: `table` must be a name"),
    "no such way": (('"upsert"', '"upsrt"'), r'w.toml:5: `do` is "insert"'),
    "no key": (('key = ["ID"]\n', ""), "`key` says by which columns"),
    "key of no field": (('key = ["ID"]', 'key = ["IDD"]'), "w.toml:6: `key` names `IDD`, .*did you mean `ID`"),
    "unknown word": (('do = "upsert"', 'do = "upsert"\nkeys = 1'), "w.toml:6: unknown key `keys`; did you mean `key`"),
    "insert by a thing's key": (('"upsert"', '"insert"'), "w.toml:6: a row a message is found again by its message only"),
    "upsert by a message's key": (("message.resource", "message.id"), "w.toml:6: a row a thing has no message in its `key`"),
    "no such field": (("message.resource", "brithDate"), "w.toml:8: Patient has no field `brithDate`.*did you mean `birthDate`"),
    "no such part": (("message.resource", "name.txt"), "w.toml:8: HumanName has no field `txt`.*did you mean `text`"),
    "no such of a message": (("message.resource", "message.ids"), "w.toml:8: a message has no `ids`; did you mean `id`"),
    "no such function": (('resource" }', 'resource", as = "dat" }'), "w.toml:8: no function `dat`; did you mean `date`"),
    "no such codes": (('resource" }', 'resource", codes = "sx" }'), "w.toml:8: no value map `sx`"),
    "default without codes": (('resource" }', 'resource", default = "x" }'), "w.toml:8: `default` .* needs `codes`"),
    "a flag as text": (("message.resource", "active"), r'w.toml:8: yes or no: write `as = "yn"`'),
    "pick of no list": (('message.resource" }', 'gender", with = { a = "b" } }'), "w.toml:8: `with` picks an item of a list"),
    "pick by no part": (('message.resource" }', 'telecom", with = { usage = "home" } }'), "w.toml:8: `with`: .*no `usage`"),
    "column that is SQL": (('"ID" = {', '"ID) --" = {'), "cannot be the name of a column"),
    "nothing to write": (('{ from = "message.resource" }', "{ }"), "w.toml:8: needs `from`"),
    "procedure without check": (('table = "T"\ndo = "upsert"\nkey = ["ID"]', 'procedure = "P"'), "a procedure needs `check`"),
    "check that writes": (('do = "upsert"', 'do = "upsert"\ncheck = "DELETE FROM T WHERE ID = :ID"'), "w.toml:6: .*one SELECT"),
    "two statements": (('do = "upsert"', 'do = "upsert"\ncheck = "SELECT 1; DELETE FROM T"'), "w.toml:6: .*one SELECT"),
    "check of no field": (('do = "upsert"', 'do = "upsert"\ncheck = "SELECT ID FROM T WHERE ID = :I"'), "w.toml:6: .*for `:I`"),
    "check by nothing": (('do = "upsert"', 'do = "upsert"\ncheck = "SELECT ID FROM T"'), "`check` finds no row by its key"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_with_its_line(change: tuple[str, str], said: str) -> None:
    assert change[0] in HEAD
    with pytest.raises(Misconfigured, match=said):
        read(HEAD.replace(*change, 1))


def test_the_map_without_a_mistake_is_read() -> None:
    assert read(HEAD).events == ("patient.*",)
    [write] = read(HEAD).writes
    assert (write.kind, write.target, write.do, write.key) == ("Patient", "T", "upsert", ("ID",))


def test_inbound_maps_leave_an_outbound_file_of_their_folder_aside(tmp_path: Any) -> None:
    (tmp_path / "write.toml").write_text("# what goes out\n\n" + HEAD, encoding="utf-8")
    assert is_outbound("\ufeff# what goes out\n\n" + HEAD)
    assert not is_outbound('source = "row"\n# target = 1\n')
    assert load_maps([tmp_path]).events() == load_maps([]).events()


PATIENT: dict[str, Any] = {
    "identifier": [
        {"assigner": "HOSP", "value": "old", "type": "MR", "use": "old"}, {"assigner": "EMR", "value": "E1"},
        {"assigner": "HOSP", "value": "00012345", "type": "MR"},
    ],
    "name": [{"text": "홍길동", "representation": "IDE"}, {"text": "Hong", "representation": "ABC", "given": ["Gil", "dong"]}],
    "telecom": [
        {"system": "phone", "value": "+82212345678", "use": "home"},
        {"system": "phone", "value": "+821012345678", "use": "mobile"},
        {"system": "phone", "value": "+8215881234"}, {"system": "email", "value": "a@b.kr"},
    ],
    "birthDate": "1980-01-31", "gender": "male", "deceased": False, "importance": "12.50",
    "address": [{"text": "서울", "postalCode": "06236"}],
}  # fmt: skip
VALUES = [
    ('{ from = "identifier", with = { assigner = "HOSP" } }', "00012345"),
    ('{ from = "identifier.value", with = { assigner = "NONE" } }', None),
    ('{ from = "name" }', "홍길동"),
    ('{ from = "name.given", with = { representation = "ABC" } }', "Gil dong"),
    ('{ from = "telecom.mobile", as = "phone" }', "010-1234-5678"),
    ('{ from = "telecom.home", as = "phone" }', "02-1234-5678"),
    ('{ from = "telecom.home", as = "digits" }', "0212345678"),
    ('{ from = "telecom.phone", as = "phone" }', "1588-1234"),
    ('{ from = "telecom.email", as = "upper" }', "A@B.KR"),
    ('{ from = "telecom.work", as = "phone" }', None),
    ('{ from = "telecom.work", as = "phone", empty = "-" }', "-"),
    ('[{ from = "telecom.work", as = "phone" }, { from = "telecom.mobile", as = "digits" }]', "01012345678"),
    ('{ from = "birthDate", as = "date" }', "19800131"),
    ('{ from = "birthDate", as = "sql_date" }', dt.date(1980, 1, 31)),
    ('{ from = "deceasedAt", as = "date", empty = "00000000" }', "00000000"),
    ('{ from = "gender", codes = "administrative-sex" }', "M"),
    ('{ from = "gender", codes = { male = "1", female = "2" } }', "1"),
    ('{ from = "gender", codes = { female = "2" }, default = "9" }', "9"),
    ('{ from = "gender", codes = { female = "2" }, default = "=" }', "male"),
    ('{ from = "deceased", as = "yn" }', "N"),
    ('{ from = "deceased", codes = { true = "1", false = "0" } }', "0"),
    ('{ from = "active", as = "yn", empty = "Y" }', "Y"),
    ('{ from = "address.postalCode" }', "06236"),
    ('{ from = "deceasedAt", value = "D" }', None),
    ('{ from = "birthDate", value = "B" }', "B"),
    ("{ value = 7 }", 7),
    ('{ value = "U", when = { path = "gender", in = ["female"] } }', None),
    ('{ value = "U", when = { path = "gender", not_in = ["female"] } }', "U"),
    ('{ value = "U", when = { path = "deceasedAt", present = false } }', "U"),
    ('{ from = "message.key" }', "r1:12"),
    ('{ from = "message.version", as = "number" }', 3),
    ('{ from = "importance", as = "number" }', Decimal("12.50")),
    ('{ from = "message.type", codes = { "patient.updated" = "U" } }', "U"),
    ('{ from = "message.at", as = "time" }', "20261118200640"),
    ('{ from = "message.at", as = "hhmm" }', "2006"),
    ('{ from = "message.at", as = "sql_time" }', dt.datetime(2026, 11, 18, 20, 6, 40)),  # noqa: DTZ001 - a table's local time
]


@pytest.mark.parametrize(("rule", "cell"), VALUES, ids=[rule for rule, _ in VALUES])
def test_what_a_rule_gives(rule: str, cell: Any) -> None:
    assert row(rule, PATIENT).cell("C") == cell


@pytest.mark.parametrize(
    ("rule", "resource"),
    [
        ('{ from = "birthDate", as = "date" }', {"birthDate": "1980-01"}),
        ('{ from = "birthDate", as = "time" }', {"birthDate": "1980-01-31"}),
        ('{ from = "gender", codes = { female = "2" } }', {"gender": "male"}),
        ('{ from = "importance", as = "number" }', {"importance": "VIP"}),
        ('{ from = "importance", as = "yn" }', {"importance": "VIP"}),
    ],
)
def test_what_cannot_be_said_is_named_without_the_value(rule: str, resource: dict[str, Any]) -> None:
    with pytest.raises(Unmappable, match=r"column C \(") as caught:
        row(rule, resource)
    assert not any(str(value) in str(caught.value) for value in resource.values())


def test_the_first_write_whose_events_and_condition_fit_is_taken() -> None:
    second = HEAD.partition("\n")[2].replace("write.w", "write.x").replace('"T"', '"OTHER"')
    first = HEAD.replace('table = "T"', 'table = "T"\nwhen = { path = "gender", in = ["female"] }')
    found = compose(read(first + second), message(PATIENT), SEOUL)
    assert found is not None
    assert found.write.target == "OTHER"
    assert compose(read(first), message(PATIENT), SEOUL) is None
    assert compose(read(HEAD), message(PATIENT, kind="Encounter", type="encounter.created"), SEOUL) is None


def test_of_a_booking_the_patient_and_who_takes_part() -> None:
    text = HEAD.replace("patient.*", "appointment.*") + (
        '"PANO" = { from = "patient.identifier", with = { assigner = "HOSP" } }\n'
        '"TEL" = { from = "patient.telecom.mobile", as = "phone" }\n'
        '"DR" = { from = "participant.identifier.value", with = { role = "performer" } }\n'
        '"MIN" = { from = "minutes", as = "number" }\n'
    )
    booking = {"participant": [{"role": "location"}, {"role": "performer", "identifier": {"value": "D1"}}], "minutes": 30}
    made = compose(read(text), message(booking, kind="Appointment", type="appointment.created", patient=PATIENT), SEOUL)
    assert made is not None
    assert [value.cell for value in made.values] == ["r1", "00012345", "010-1234-5678", "D1", 30]
    assert made.sent_fields() == {"participant": booking["participant"], "minutes": 30}


CHANGED = [
    ([], ["ID", "MOB", "NAME"]),
    (["telecom.mobile"], ["MOB"]),
    (["telecom.mobile.2"], ["MOB"]),
    (["telecom"], ["MOB"]),
    (["telecom.home"], []),
    (["name", "gender"], ["NAME"]),
]


@pytest.mark.parametrize(("changed", "columns"), CHANGED)
def test_which_columns_a_change_is_about(changed: list[str], columns: list[str]) -> None:
    found = compose(read(f'{HEAD}"MOB" = {{ from = "telecom.mobile" }}\n"NAME" = {{ from = "name" }}\n'), message(PATIENT), SEOUL)
    assert found is not None
    assert [value.column.name for value in about(found, changed)] == columns


INBOUND = """source = "row"
[block.p]
kind = "Patient"
key = "ID"
[block.p.fields]
"BIRTH" = { to = "birthDate", as = "date" }
"HP" = { to = "telecom", as = "phone", each = true }
"DEAD" = { to = "deceased", as = "yn" }
"DEADAT" = { to = "deceasedAt", as = "time" }
"SEX" = { to = "gender", codes = "administrative-sex" }
"NAME" = { to = "name", as = "name_text", each = true }
[event.P]
blocks = ["p"]
"""
BACK = """"BIRTH" = { from = "birthDate", as = "date" }
"HP" = { from = "telecom.mobile", as = "phone" }
"DEAD" = { from = "deceased", as = "yn" }
"DEADAT" = { from = "deceasedAt", as = "time" }
"SEX" = { from = "gender", codes = "administrative-sex" }
"NAME" = { from = "name" }
"""
OUT = read(HEAD + BACK)


@cache
def inbound() -> RowEngine:
    """The row engine alone: a whole MapSet is 80 kB of text in Hypothesis's reports."""
    return RowEngine(read_maps([{"in.toml": INBOUND}], CODES)[0], CODES, "v")


NAMES = st.sampled_from(["홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수", "洪吉洞"])


@given(
    st.dates(min_value=dt.date(1800, 1, 1)), st.integers(10_000_000, 99_999_999), st.booleans(),
    st.datetimes(min_value=dt.datetime(1990, 1, 1), max_value=dt.datetime(2100, 1, 1)),  # noqa: DTZ001 - SEOUL follows
    st.sampled_from(["male", "female", "other"]),
    NAMES,
)  # fmt: skip
def test_what_goes_out_reads_back_as_what_it_was(
    birth: dt.date, phone: int, dead: bool, at: dt.datetime, gender: str, name: str
) -> None:
    resource = {
        "birthDate": birth.isoformat(), "deceased": dead,
        "telecom": [{"system": "phone", "value": f"+8210{phone}", "use": "mobile"}],
        "deceasedAt": at.replace(microsecond=0, tzinfo=SEOUL).isoformat(), "gender": gender, "name": [{"text": name}],
    }  # fmt: skip
    made = compose(OUT, message(resource), SEOUL)
    assert made is not None
    columns = {value.column.name: value.cell for value in made.values}
    [fact] = inbound().map_row("P", columns, Context("HOSP", "ocs", "Asia/Seoul", 0)).facts
    read_back = fact.values  # type: ignore[union-attr]
    whole = {name: value for name, value in read_back.items() if name not in ("telecom", "name", "identifier")}
    assert whole == {name: value for name, value in resource.items() if name not in ("telecom", "name")}
    assert [point["value"] for point in read_back["telecom"]] == [f"+8210{phone}"]
    assert [one["text"] for one in read_back["name"]] == [name]


@given(st.sampled_from(sorted(FUNCTIONS)), st.one_of(st.text(), st.integers(), st.booleans(), st.lists(st.text())))
def test_no_function_fails_otherwise_than_by_saying_so(name: str, value: Any) -> None:
    try:
        FUNCTIONS[name](value, SEOUL)
    except BadValue:
        return
