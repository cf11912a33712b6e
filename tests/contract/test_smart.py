"""SMART Backend Services against an authorization server that verifies what it is shown."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hub.adapters.emr import fhir_patient, fhir_pull, smart
from hub.config import Secret
from hub.domain.errors import HubError, Misconfigured, NotDelivered
from hub.domain.ports import Target
from hub.simulator.authorization import AuthorizationPeer
from hub.simulator.emr import EmrPeer
from hub.simulator.faults import Fault
from tests.contract.case import patient_updated

SYSTEM = "urn:oid:1.2.410.99999.1"


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


EC = pem(ec.generate_private_key(ec.SECP384R1()))
RSA = pem(rsa.generate_private_key(65537, 2048))


@pytest.fixture
def authorization() -> Iterator[AuthorizationPeer]:
    with AuthorizationPeer() as peer:
        yield peer


@pytest.fixture
def emr(authorization: AuthorizationPeer) -> Iterator[EmrPeer]:
    with EmrPeer(authorization=authorization) as peer:
        yield peer


def settings(emr: EmrPeer, key: str = EC, **more: object) -> fhir_patient.Settings:
    table = {
        "url": emr.url, "identifier_systems": {"HOSP": SYSTEM}, "create": True, "timeout_seconds": 2.0, "client_id": "hub-1",
        "private_key": Secret(key), "scope": "system/Patient.cruds", **more,
    }  # fmt: skip
    return fhir_patient.Settings.from_table(table)


def target(emr: EmrPeer, key: str = EC, *, known: bool = True, **more: object) -> Target:
    made = settings(emr, key, **more)
    if known and emr.authorization is not None:
        emr.authorization.clients["hub-1"] = smart.jwks(made)
    return fhir_patient.build(made)


@pytest.mark.parametrize("key", [EC, RSA], ids=["ES384", "RS384"])
def test_a_token_is_fetched_once_and_used(emr: EmrPeer, authorization: AuthorizationPeer, key: str) -> None:
    made = target(emr, key)
    for n in range(3):
        made.send(patient_updated(n))
    assert len(emr.patients) == 3
    assert authorization.received == ["system/Patient.cruds"]
    made.close()


def test_a_token_is_renewed_before_it_expires_and_when_it_is_refused(emr: EmrPeer, authorization: AuthorizationPeer) -> None:
    authorization.lives = 0.5
    made = target(emr)
    made.send(patient_updated(1))
    time.sleep(0.45)  # in the last fifth of its life
    made.send(patient_updated(2))
    assert len(authorization.received) == 2
    authorization.lives = 300
    time.sleep(0.45)
    made.send(patient_updated(3))
    authorization.revoke()
    made.send(patient_updated(4))
    assert len(authorization.received) == 4
    assert len(emr.patients) == 4
    assert authorization.refused == []  # no jti twice, none too long


def test_a_key_that_is_not_registered_stops_the_channel(emr: EmrPeer, authorization: AuthorizationPeer) -> None:
    made = target(emr, known=False)
    with pytest.raises(Misconfigured, match=r"invalid_client.*hub channel jwks") as caught:
        made.send(patient_updated(1))
    assert b"invalid_client" in caught.value.answer
    assert caught.value.sent == b""
    authorization.clients["hub-1"] = smart.jwks(settings(emr))
    made.send(patient_updated(1))
    assert len(emr.patients) == 1


def test_a_server_with_another_clock_is_followed(emr: EmrPeer, authorization: AuthorizationPeer) -> None:
    authorization.clock_ahead = -900.0
    target(emr).send(patient_updated(1))
    assert authorization.refused == ["exp"]
    authorization.clock_ahead = 900.0
    target(emr).send(patient_updated(2))
    assert len(emr.patients) == 2


def test_a_token_that_is_no_good_however_fresh_stops_the_channel(emr: EmrPeer, authorization: AuthorizationPeer) -> None:
    made = target(emr)
    authorization.knows = lambda authorization: False  # type: ignore[method-assign]
    with pytest.raises(Misconfigured, match="401"):
        made.send(patient_updated(1))
    assert len(authorization.received) == 2


FAULTS = {
    Fault.CLOSED: NotDelivered, Fault.HANG_UP: NotDelivered, Fault.HALF_OPEN: NotDelivered, Fault.SILENT: NotDelivered,
    Fault.ANSWER_LOST: NotDelivered, Fault.ANSWER_CUT: NotDelivered, Fault.GARBAGE: NotDelivered, Fault.SLOW: NotDelivered,
    Fault.BUSY: NotDelivered, Fault.REFUSE: HubError, Fault.WRONG_ANSWER: HubError,
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_an_authorization_server_that_misbehaves_is_never_an_unknown_outcome(
    emr: EmrPeer, authorization: AuthorizationPeer, fault: Fault
) -> None:
    made = target(emr, timeout_seconds=0.4)
    authorization.misbehave(fault, None)
    with pytest.raises(FAULTS[fault]) as caught:
        made.send(patient_updated(1))
    assert type(caught.value).__name__ in ("NotDelivered", "Misconfigured", "Refused")
    assert "eyJ" not in str(caught.value) + repr(caught.value.sent)
    authorization.behave()
    made.send(patient_updated(1))
    assert len(emr.patients) == 1
    made.close()


def test_token_url_is_taken_from_the_settings_where_nothing_is_published(authorization: AuthorizationPeer) -> None:
    with EmrPeer() as emr:
        with pytest.raises(Misconfigured, match="SMART configuration"):
            target(emr).send(patient_updated(1))
        authorization.clients["hub-1"] = smart.jwks(settings(emr))
        target(emr, token_url=authorization.url).send(patient_updated(1))
    assert authorization.received == ["system/Patient.cruds"]


def test_the_public_key_is_shown_without_the_private_one(emr: EmrPeer) -> None:
    for key, alg, kty in ((EC, "ES384", "EC"), (RSA, "RS384", "RSA")):
        (jwk,) = smart.jwks(settings(emr, key))["keys"]
        assert (jwk["alg"], jwk["kty"], jwk["use"]) == (alg, kty, "sig")
        assert jwk["kid"]
        assert not {"d", "p", "q", "dp", "dq", "qi"} & jwk.keys()
        assert jwk == smart.jwks(settings(emr, key))["keys"][0]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"private_key": Secret("no key")}, "PEM"),
        ({"private_key": Secret(pem(ec.generate_private_key(ec.SECP256R1())))}, "P-384"),
        ({"user": "a", "password": Secret("b")}, "one way"),
        ({"client_id": ""}, "go together"),
    ],
)
def test_wrong_settings_say_what_to_write(emr: EmrPeer, more: dict[str, str], text: str) -> None:
    with pytest.raises(Misconfigured, match=text):
        settings(emr, **more)


def test_what_is_asked_for_is_asked_with_a_token_too(emr: EmrPeer, authorization: AuthorizationPeer) -> None:
    emr.put({"name": [{"text": "홍길동"}]})
    table = {"url": emr.url, "kinds": ["Patient"], "client_id": "hub-2", "private_key": Secret(RSA), "scope": "system/*.rs"}
    made = fhir_pull.Settings.from_table(table)
    authorization.clients["hub-2"] = smart.jwks(made)
    source = fhir_pull.build(made)
    assert source.ping().startswith("FHIR 4.0.1")
    authorization.revoke()
    assert source.ping().startswith("FHIR 4.0.1")
    assert authorization.received == ["system/*.rs"] * 2
    source.close()
