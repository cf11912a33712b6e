"""Keys: what is sealed opens in its own row only; rotation; digests; files that others cannot read."""

from __future__ import annotations

import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.db.crypt import CannotOpen, KeyRing, rotate
from hub.domain.errors import Misconfigured
from hub.domain.ports import Keys

RING = KeyRing({1: b"1" * 32}, b"d" * 32)
NONE: dict[str, str] = {}


@given(st.binary(max_size=2000), st.sampled_from(["message", "attempt"]), st.integers(0, 2**63) | st.text(max_size=20))
def test_what_is_sealed_opens(plain: bytes, table: str, row: int | str) -> None:
    keys: Keys = RING
    sealed = keys.seal(table, row, plain)
    assert len(sealed) == len(plain) + 30
    assert keys.open_(table, row, sealed) == plain
    assert len(plain) < 8 or plain not in sealed
    assert keys.seal(table, row, plain) != sealed


def test_a_ciphertext_opens_in_its_own_row_only() -> None:
    one, two = RING.seal("message", 1, "홍길동".encode()), RING.seal("message", 2, b"two")
    for table, row, sealed in (("message", 2, one), ("message", 1, two), ("attempt", 1, one), ("message", "01", one)):
        with pytest.raises(CannotOpen):
            RING.open_(table, row, sealed)


@given(st.integers(0, 32), st.integers(1, 255))
def test_any_changed_byte_is_noticed(at: int, flip: int) -> None:
    sealed = bytearray(RING.seal("message", 1, b"abc"))
    sealed[at] ^= flip
    with pytest.raises((CannotOpen, Misconfigured)) as raised:
        RING.open_("message", 1, bytes(sealed))
    assert "abc" not in str(raised.value)


def test_cut_or_foreign_values_are_refused() -> None:
    sealed = RING.seal("message", 1, b"")
    for value in (b"", b"\x01", sealed[:-1], b"MSH|^~\\&|" + bytes(40)):
        with pytest.raises(CannotOpen):
            RING.open_("message", 1, value)
    with pytest.raises(CannotOpen):
        KeyRing({1: b"2" * 32}, b"d" * 32).open_("message", 1, sealed)
    with pytest.raises(Misconfigured, match="data key 1"):
        KeyRing({2: b"1" * 32}, b"d" * 32).open_("message", 1, sealed)


def test_digests_are_keyed_and_apart_from_the_other_keys() -> None:
    assert RING.digest(b"x") == RING.digest(b"x") != RING.digest(b"y")
    assert len(RING.digest(b"")) == 16
    assert RING.digest(b"x") != KeyRing({1: b"1" * 32}, b"e" * 32).digest(b"x")
    assert RING.digest(b"x") != hmac.digest(b"d" * 32, b"x", "sha256")[:16]
    assert KeyRing({1: b"d" * 32}, b"d" * 32).digest(b"x") == RING.digest(b"x")


def test_created_keys_are_the_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    ring = KeyRing.create(folder, "st-mary")
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "data.key": 0o600, "audit.key": 0o600, "audit.pub": 0o644,
    }  # fmt: skip
    assert (folder / "audit.pub").read_text().strip() == str(ring.verifier)
    assert ring.verifier.name == "st-mary"
    again = KeyRing.load(folder, NONE)
    assert again.open_("t", 1, ring.seal("t", 1, b"x")) == b"x"
    with pytest.raises(Misconfigured, match="never overwritten"):
        KeyRing.create(folder)


def test_rotation_seals_anew_and_still_opens_the_old(tmp_path: Path) -> None:
    before = KeyRing.create(tmp_path / "k")
    old = before.seal("message", 1, b"old")
    assert rotate(tmp_path / "k") == 2
    after = KeyRing.load(tmp_path / "k", NONE)
    assert after.open_("message", 1, old) == b"old"
    new = after.seal("message", 2, b"new")
    assert (old[1], new[1]) == (1, 2)
    with pytest.raises(Misconfigured, match="data key 2"):
        before.open_("message", 2, new)
    assert after.digest(b"x") == before.digest(b"x")
    assert (tmp_path / "k" / "data.key").stat().st_mode & 0o777 == 0o600


def test_keys_by_environment_win(tmp_path: Path) -> None:
    KeyRing.create(tmp_path / "a")
    other = KeyRing.create(tmp_path / "b")
    environ = {
        "HUB_DATA_KEY": (tmp_path / "b" / "data.key").read_text().replace("\n", ","),
        "HUB_AUDIT_KEY": (tmp_path / "b" / "audit.key").read_text(),
    }
    for folder in (tmp_path / "a", None):
        ring = KeyRing.load(folder, environ)
        assert ring.open_("t", 1, other.seal("t", 1, b"x")) == b"x"
        assert ring.verifier == other.verifier


def test_sealing_works_without_a_signing_key(tmp_path: Path) -> None:
    KeyRing.create(tmp_path / "k")
    (tmp_path / "k" / "audit.key").unlink()
    ring = KeyRing.load(tmp_path / "k", NONE)
    assert ring.open_("t", 1, ring.seal("t", 1, b"x")) == b"x"
    with pytest.raises(Misconfigured, match="signing key"):
        _ = ring.signer


KEY = "1:" + "A" * 43 + "=\n"
DIGEST = "digest:" + "B" * 42 + "A=\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        KEY,
        DIGEST,
        KEY + DIGEST + "2:AAAA\n",
        KEY + KEY + DIGEST,
        DIGEST + "0" + KEY[1:],
        DIGEST + "256" + KEY[1:],
        DIGEST + KEY[2:],
    ],
)
def test_a_wrong_key_file_is_named_and_not_quoted(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.key").touch(0o600)
    (tmp_path / "data.key").write_text(text)
    with pytest.raises(Misconfigured, match=r"data\.key") as raised:
        KeyRing.load(tmp_path, NONE)
    assert "AAAA" not in str(raised.value)


def test_a_missing_or_open_key_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="hub init"):
        KeyRing.load(tmp_path, NONE)
    KeyRing.create(tmp_path / "k")
    (tmp_path / "k" / "data.key").chmod(0o640)
    with pytest.raises(Misconfigured, match="chmod 600"):
        KeyRing.load(tmp_path / "k", NONE)
