"""`--where`: three parts, whatever stands in them, or a complaint; never SQL."""

from __future__ import annotations

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from hub.cli.load import condition
from hub.domain.ports import Condition


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("UPD_DT >= 2020-01-01", ("UPD_DT", ">=", "2020-01-01")),
        ("UPD_DT>=2020-01-01 00:00:00", ("UPD_DT", ">=", "2020-01-01 00:00:00")),
        ('DEPT = "내과"', ("DEPT", "=", "내과")),
        ("이름 = '홍길동'", ("이름", "=", "홍길동")),
        ('"Order" <> x', ('"Order"', "!=", "x")),
        ("A < <=", ("A", "<", "<=")),
        ("PANO = 1' OR '1'='1", ("PANO", "=", "1' OR '1'='1")),
        ("PANO = 1; DROP TABLE x", ("PANO", "=", "1; DROP TABLE x")),
    ],
)
def test_a_condition_has_three_parts(text: str, parts: tuple[str, str, str]) -> None:
    assert condition(text) == Condition(*parts)


@pytest.mark.parametrize("text", ["", "PANO", "PANO =", "= 1", "PANO LIKE 1", "A B = 1", "A =\n"])
def test_what_is_no_condition_is_said(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        condition(text)


@given(st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), st.text(min_size=1).map(str.strip).filter(bool))
def test_any_value_stays_what_it_is(operator: str, value: str) -> None:
    quoted = f'"{value}"'
    assert condition(f"COL {operator} {quoted}") == Condition("COL", operator, value)
