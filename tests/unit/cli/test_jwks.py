"""`hub channel jwks`: the public key for an EMR's administrator, never the private one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

CHANNEL = """
[channels.emr]
adapter = "emr.fhir_out"
system = "emr"
url = "https://emr.hospital.example/fhir"
identifier_systems = { HOSP = "urn:oid:1.2.3" }
client_id = "hub-1"
private_key = { file = "secrets/emr-key.pem" }
[channels.emr-in]
adapter = "emr.fhir_pull"
system = "emr"
url = "https://emr.hospital.example/fhir"
[channels.ocs-in]
adapter = "ocs.hl7_in"
system = "ocs"
port = 0
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    key = ec.generate_private_key(ec.SECP384R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "emr-key.pem").write_bytes(key)
    (tmp_path / "secrets" / "emr-key.pem").chmod(0o600)
    file = tmp_path / "hub.toml"
    file.write_text('[hub]\nname = "t"\n[database]\nurl = "sqlite:///hub.db"\n' + CHANNEL, encoding="utf-8")
    return str(file)


def test_it_prints_a_key_set(config: str, run: Any) -> None:
    code, out, _ = run("channel", "jwks", "emr", "--config", config)
    assert code == 0
    (key,) = orjson.loads(out)["keys"]
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("EC", "P-384", "ES384", "sig")
    assert "d" not in key


@pytest.mark.parametrize(("name", "said"), [("emr-in", "no private_key"), ("ocs-in", "shows no token"), ("none", "no channel")])
def test_a_channel_without_one_says_so(config: str, run: Any, name: str, said: str) -> None:
    code, _, err = run("channel", "jwks", name, "--config", config)
    assert code != 0
    assert said in err
