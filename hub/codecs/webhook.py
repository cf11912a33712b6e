"""Standard Webhooks: sign what goes out, verify what comes in (standardwebhooks spec, "Webhook signatures").

Signed is `{id}.{timestamp}.{body}`, the bytes as they stand, with HMAC-SHA256 under a symmetric secret (`whsec_` and
base64 of 24 to 64 bytes); the header carries `v1,` and base64 of it, one for each secret in use, separated by blanks.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping, Sequence

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE = 300  # seconds: the spec's libraries allow five minutes either way


class BadSecretError(ValueError):
    """Not a `whsec_` secret of 24 to 64 bytes. Never says what it was given."""


class NotAuthenticError(ValueError):
    """A webhook that must not be believed; `code`: missing | malformed | too_old | too_new | mismatch."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the webhook is not authentic: {code}")
        self.code = code


def new_secret() -> str:
    """A fresh secret of 32 random bytes, in the form to hand to the receiver."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def secret_bytes(secret: str) -> bytes:
    """The key of a `whsec_` secret; BadSecretError otherwise."""
    if not secret.startswith("whsec_"):
        raise BadSecretError("a webhook secret begins with whsec_")
    try:
        key = base64.b64decode(secret[6:], validate=True)
    except (binascii.Error, ValueError):
        raise BadSecretError("a webhook secret is whsec_ and base64") from None
    if not 24 <= len(key) <= 64:
        raise BadSecretError("a webhook secret holds 24 to 64 bytes")
    return key


def sign(keys: Sequence[bytes], webhook_id: str, timestamp: int, body: bytes) -> str:
    """The signature header's value: one `v1,…` for each key, so that a receiver with either secret can verify."""
    signed = b"%s.%d.%s" % (webhook_id.encode("ascii"), timestamp, body)
    return " ".join(["v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys])


def verify(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, *, now: float, tolerance: int = TOLERANCE) -> str:
    """The webhook's id if a signature is good under one of `keys` and its time is near `now` (seconds), else NotAuthenticError.

    `headers`: names in lower case. Every candidate is compared, in constant time, so that timing tells nothing.
    """
    webhook_id, stamp, given = headers.get(ID, ""), headers.get(TIMESTAMP, ""), headers.get(SIGNATURE, "")
    if not webhook_id or not stamp or not given:
        raise NotAuthenticError("missing")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12 and webhook_id.isascii()):
        raise NotAuthenticError("malformed")
    if int(stamp) < now - tolerance:
        raise NotAuthenticError("too_old")
    if int(stamp) > now + tolerance:
        raise NotAuthenticError("too_new")
    good = False
    signed = f"{webhook_id}.{stamp}.".encode("ascii") + body
    expected = [base64.b64encode(hmac.digest(key, signed, "sha256")) for key in keys]
    for candidate in given.split(" "):
        version, _, value = candidate.partition(",")
        if version == "v1":
            for one in expected:
                good |= hmac.compare_digest(one, value.encode("utf-8"))
    if not good:
        raise NotAuthenticError("mismatch")
    return webhook_id
