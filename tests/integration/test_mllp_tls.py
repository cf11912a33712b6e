"""TLS and mutual TLS at both ends, with certificates made here: wrong CA, wrong peer, too old a TLS."""

from __future__ import annotations

import datetime as dt
import ssl
import warnings
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hub.codecs.hl7v2 import ack
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown
from hub.transport.mllp_client import MllpClient
from hub.transport.tls import client_context, normal_peer
from tests.integration.test_mllp_listener import adt, running


class Pair(NamedTuple):
    """A certificate with its key, as files."""

    cert: Path
    key: Path
    fingerprint: str


class Authority:
    """A CA of this test."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self.name, self.key, ca=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, subject, key, *, ca, names=()):
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5)).not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )  # fmt: skip
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, name: str) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} unit")])
        certificate = self._sign(subject, key, ca=False, names=(name,))
        pair = Pair(self.folder / f"{name}.crt", self.folder / f"{name}.key", certificate.fingerprint(hashes.SHA256()).hex())
        pair.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return pair


@pytest.fixture(scope="module")
def ca(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "hospital-ca")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger-ca")


def send(port: int, tls: ssl.SSLContext, **options) -> tuple[str, str]:
    client = MllpClient(
        "127.0.0.1", port, tls=tls, connect_seconds=3, answer_seconds=3, **{"server_name": "hub.local", **options}
    )
    try:
        for _ in range(3):  # the same connection: TLS 1.3 session tickets are no answer
            answer = client.send(adt("1"), "1")
        return ack.acknowledged(answer)
    finally:
        client.close()


def test_tls(ca):
    server = ca.issue("hub.local")
    with running(tls_cert=server.cert, tls_key=server.key) as hub:
        assert send(hub.port, client_context(str(ca.file))) == ("AA", "1")
        assert send(hub.port, client_context(str(ca.file)), allowed=frozenset({f"sha256:{server.fingerprint}"})) == ("AA", "1")


def test_the_client_takes_no_stranger(ca, stranger):
    server = ca.issue("hub.local")
    with running(tls_cert=server.cert, tls_key=server.key) as hub:
        with pytest.raises(Misconfigured):
            send(hub.port, client_context(str(stranger.file)))
        with pytest.raises(Misconfigured):
            send(hub.port, client_context(str(ca.file)), server_name="other.local")
        with pytest.raises(Misconfigured):
            send(hub.port, client_context(str(ca.file)), allowed=frozenset({"sha256:" + "0" * 64}))
        assert hub.intake.received == []


def test_mutual_tls_binds_the_certificate_to_the_channel(ca, stranger):
    server, ocs, other, foreign = (
        ca.issue("hub.local"),
        ca.issue("ocs.local"),
        ca.issue("pacs.local"),
        stranger.issue("ocs.local"),
    )
    for allowed in (("ocs.local",), ("OCS.local unit",), (f"SHA256:{ocs.fingerprint.upper()}",)):
        with running(tls_cert=server.cert, tls_key=server.key, tls_ca=ca.file, tls_peers=allowed) as hub:
            assert send(hub.port, client_context(str(ca.file), str(ocs.cert), str(ocs.key))) == ("AA", "1")
            stored = len(hub.intake.received)
            for wrong in (other, foreign, None):
                context = client_context(str(ca.file), *((str(wrong.cert), str(wrong.key)) if wrong else ("", "")))
                with pytest.raises(HubError) as caught:
                    send(hub.port, context)
                assert isinstance(caught.value, Misconfigured | NotDelivered | OutcomeUnknown)
            assert len(hub.intake.received) == stored


def test_tls_below_1_2_and_plain_text_get_nowhere(ca):
    server = ca.issue("hub.local")
    with running(tls_cert=server.cert, tls_key=server.key) as hub:
        old = client_context(str(ca.file))
        old.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version = ssl.TLSVersion.TLSv1
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(NotDelivered):
            send(hub.port, old)
        with pytest.raises(OutcomeUnknown):
            MllpClient("127.0.0.1", hub.port, answer_seconds=2).send(adt("1"), "1")
        assert hub.intake.received == []


def test_unreadable_files_stop_the_channel(ca, tmp_path):
    (tmp_path / "broken.pem").write_text("no certificate")
    with pytest.raises(Misconfigured), running(tls_cert=tmp_path / "broken.pem", tls_key=tmp_path / "none.key"):
        pass


@pytest.mark.parametrize("entry", ["", " ", "sha256:12", "sha256:" + "g" * 64])
def test_a_wrong_peer_entry_is_a_config_error(entry):
    with pytest.raises(Misconfigured):
        normal_peer(entry)
