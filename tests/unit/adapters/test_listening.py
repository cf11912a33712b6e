"""Whoever listens says what is wrong with its TLS, in the same words at every door: else nobody would be verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hub.adapters.ocs import hl7_in, hl7_query
from hub.adapters.pacs import dicom_in, worklist
from hub.domain.errors import Misconfigured

DICOM = {"ae_title": "HUB", "peers": {"CT01": "127.0.0.1"}}
DOORS: list[tuple[Any, dict[str, Any]]] = [
    (hl7_in, {"port": 0}), (hl7_query, {"port": 0, "askers": ["CRM"]}),
    (dicom_in, {"port": 0, **DICOM}), (worklist, {"port": 0, **DICOM}),
]  # fmt: skip


@pytest.mark.parametrize(("door", "table"), DOORS, ids=lambda one: getattr(one, "__name__", "").rpartition(".")[2])
@pytest.mark.parametrize(
    ("tls", "said"),
    [
        ({"tls_ca": Path("ca.pem")}, "need tls_cert"),
        ({"tls_peers": ["ct01"]}, "need tls_cert"),
        ({"tls_cert": Path("c.pem"), "tls_key": Path("k.pem"), "tls_peers": ["ct01"]}, "tls_peers needs tls_ca"),
        ({"tls_peers": ["sha256:nonsense"]}, "sha256"),
    ],
)
def test_tls_that_would_verify_nobody_is_refused(door: Any, table: dict[str, Any], tls: dict[str, Any], said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        door.Settings.from_table({**table, **tls})
