"""Standard Webhooks: the published vector, every way to be not authentic, rotation, and the bytes that we send."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs.webhook import (
    BadSecretError,
    NotAuthenticError,
    new_secret,
    secret_bytes,
    sign,
    verify,
)  # fmt: skip

# The vector of the specification's reference libraries
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, STAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNED = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
KEY = secret_bytes(SECRET)
OTHER = secret_bytes("whsec_" + base64.b64encode(b"o" * 32).decode())


def headers(**more: str) -> dict[str, str]:
    given = {"webhook-id": ID, "webhook-timestamp": str(STAMP), "webhook-signature": SIGNED}
    return {name: value for name, value in {**given, **more}.items() if value != "absent"}


def test_the_published_vector() -> None:
    assert sign([KEY], ID, STAMP, BODY) == SIGNED
    assert verify([KEY], headers(), BODY, now=STAMP) == ID


def test_two_secrets_sign_twice_and_either_verifies() -> None:
    both = sign([OTHER, KEY], ID, STAMP, BODY)
    assert both.count("v1,") == 2
    for keys in ([KEY], [OTHER], [KEY, OTHER]):
        assert verify(keys, headers(**{"webhook-signature": both}), BODY, now=STAMP) == ID


@pytest.mark.parametrize(
    ("given", "body", "now", "code"),
    [
        ({"webhook-id": "absent"}, BODY, STAMP, "missing"),
        ({"webhook-timestamp": "absent"}, BODY, STAMP, "missing"),
        ({"webhook-signature": "absent"}, BODY, STAMP, "missing"),
        ({"webhook-signature": ""}, BODY, STAMP, "missing"),
        ({"webhook-timestamp": "soon"}, BODY, STAMP, "malformed"),
        ({"webhook-timestamp": "-1"}, BODY, STAMP, "malformed"),
        ({"webhook-timestamp": "١٦١٤٢٦٥٣٣٠"}, BODY, STAMP, "malformed"),
        ({"webhook-timestamp": "9" * 400}, BODY, STAMP, "malformed"),
        ({}, BODY, STAMP + 301, "too_old"),
        ({}, BODY, STAMP - 301, "too_new"),
        ({}, BODY + b" ", STAMP, "mismatch"),
        ({"webhook-id": ID + "x"}, BODY, STAMP, "mismatch"),
        ({"webhook-timestamp": str(STAMP + 1)}, BODY, STAMP, "mismatch"),
        ({"webhook-signature": SIGNED.replace("v1,", "v2,")}, BODY, STAMP, "mismatch"),
        ({"webhook-signature": SIGNED[3:]}, BODY, STAMP, "mismatch"),
        ({"webhook-signature": "v1,"}, BODY, STAMP, "mismatch"),
        ({"webhook-signature": "v1,홍길동"}, BODY, STAMP, "mismatch"),
    ],
)
def test_what_is_not_authentic(given: dict[str, str], body: bytes, now: int, code: str) -> None:
    with pytest.raises(NotAuthenticError) as caught:
        verify([KEY], headers(**given), body, now=now)
    assert caught.value.code == code


@pytest.mark.parametrize("now", [STAMP - 300, STAMP, STAMP + 300])
def test_five_minutes_either_way_are_allowed(now: int) -> None:
    assert verify([KEY], headers(), BODY, now=now) == ID


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_%%%", "whsec_" + base64.b64encode(b"x" * 23).decode(),
     "whsec_" + base64.b64encode(b"x" * 65).decode()],
)  # fmt: skip
def test_a_bad_secret_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(BadSecretError) as caught:
        secret_bytes(secret)
    assert len(secret) < 7 or secret[6:] not in str(caught.value)


def test_a_new_secret_is_a_good_one() -> None:
    assert len(secret_bytes(new_secret())) == 32
    assert new_secret() != new_secret()


@given(st.binary(max_size=300), st.integers(0, 2**33), st.from_regex(r"\Amsg_[0-9a-zA-Z]{1,30}\Z"))
def test_signed_is_verified_and_a_flipped_bit_is_not(body: bytes, stamp: int, webhook_id: str) -> None:
    signed: dict[str, Any] = {
        "webhook-id": webhook_id, "webhook-timestamp": str(stamp), "webhook-signature": sign([KEY], webhook_id, stamp, body)
    }  # fmt: skip
    assert verify([KEY], signed, body, now=stamp) == webhook_id
    if body:
        with pytest.raises(NotAuthenticError):
            verify([KEY], signed, bytes([body[0] ^ 1]) + body[1:], now=stamp)


def test_a_canonical_event_survives_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    body = orjson.dumps({"type": "patient.updated", "data": {"name": [{"text": "뷁똠방각하"}]}})
    assert verify([KEY], headers(**{"webhook-signature": sign([KEY], ID, STAMP, body)}), body, now=STAMP) == ID
