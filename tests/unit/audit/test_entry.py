"""The bytes that are hashed: fixed for ever, reproducible without this program, free of patient data."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.audit.actions import Action
from hub.audit.entry import EntryRow, check_detail, detail_text, leaf_bytes, leaf_hash, leaf_hashes

ROW = EntryRow(7, 1_790_000_000_000_000, "message.applied", "system", "ocs-in", 42, "019a-x", '{"map":"a1b2"}')

rows = st.builds(
    EntryRow,
    st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**53), st.text(), st.text(), st.text(),
    st.none() | st.integers(0, 2**63 - 1), st.none() | st.text(), st.text(),
)  # fmt: skip


def test_the_bytes_never_change() -> None:
    """A log that was signed with an earlier version must verify with every later one: this vector stays as it is."""
    want = '[7,1790000000000000,"message.applied","system","ocs-in",42,"019a-x","{\\"map\\":\\"a1b2\\"}"]'
    assert leaf_bytes(ROW).decode() == want
    assert leaf_hash(ROW).hex() == sha256(b"\x00" + want.encode()).hexdigest()
    assert leaf_hash(ROW).hex() == "4f1a00578bde6a8c3e06683d25f0d0d72e50365a877e98f022821e7c3e43ae61"


@given(rows)
def test_any_json_library_makes_the_same_bytes(row: EntryRow) -> None:
    assert leaf_bytes(row) == json.dumps(list(row), ensure_ascii=False, separators=(",", ":")).encode()


@given(st.lists(rows, max_size=5))
def test_many_at_once_are_the_same_hashes(many: list[EntryRow]) -> None:
    assert leaf_hashes([tuple(row) for row in many]) == b"".join(leaf_hash(row) for row in many)


@given(rows, st.integers(0, 7), st.data())
def test_every_column_counts(row: EntryRow, column: int, data: st.DataObject) -> None:
    other = data.draw(rows)
    changed = row._replace(**{EntryRow._fields[column]: other[column]})
    assert (leaf_hash(changed) == leaf_hash(row)) == (changed == row)


def test_detail_has_one_text() -> None:
    assert detail_text({"b": 1, "a": [1, "x"]}) == detail_text({"a": [1, "x"], "b": 1}) == '{"a":[1,"x"],"b":1}'
    assert detail_text({}) == "{}"


@pytest.mark.parametrize(
    "detail",
    [
        {"changes": [[12, "patient.updated", ["telecom", "address"]]], "map": "a1b2c3d4e5f60718"},
        {"from": "192.168.100.200", "what": "timeline", "count": 3, "complete": True, "next": None},
        {"patients": ["019a1234-5678-7000-8000-0123456789ab"], "terms": {"name": "0" * 32}},
        {"code": "AE", "where": "PID[1]-5(2).1", "hl7": 207, "status": "422"},
        {"reason": "빈 예약이라 다시 보냄, room 3"},
        {"reason": "peer_said_no"},
    ],
)
def test_codes_field_names_numbers_and_digests_pass(detail: dict[str, Any]) -> None:
    check_detail(detail)


@pytest.mark.parametrize(
    "detail",
    [
        {"name": "홍길동"}, {"name": "洪吉洞"}, {"x": "Hong Gildong"}, {"x": "010-1234-5678"}, {"x": "01012345678"},
        {"x": "901301-1234567"}, {"x": "19900113"}, {"홍길동": 1}, {"x": ["a", {"y": "남궁민수"}]}, {"x": 1.5}, {"x": b"a"},
        {"x": "a" * 200}, {"reason": "전화 010-1234-5678"}, {"reason": "901301-1234567"}, {"reason": "x" * 201},
        {"reason": ["a b"]},
    ],
)  # fmt: skip
def test_what_may_be_a_patients_does_not(detail: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as raised:
        check_detail(detail)
    assert "010" not in str(raised.value)
    assert "901301" not in str(raised.value)


def test_every_action_is_subject_and_act() -> None:
    for action in Action:
        subject, act = action.split(".")
        assert subject.isidentifier()
        assert act.isidentifier()
        assert action.name == f"{subject}_{act}".upper()
