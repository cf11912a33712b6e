"""docs/pacs-query.md says every key of the adapters that it is about; what the types cannot rule out is told."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from hub.adapters.pacs import dicom_poll, dicomweb_in, dicomweb_poll, orthanc, worklist
from hub.domain.errors import Misconfigured
from hub.transport.http import HttpSettings

PAGE = (Path(__file__).parents[3] / "docs" / "pacs-query.md").read_text(encoding="utf-8")
SAID = set(re.findall(r"`([a-z_]+)`", PAGE))
HTTP = {field.name for field in dataclasses.fields(HttpSettings)}
MODULES = [dicom_poll, dicomweb_in, dicomweb_poll, orthanc, worklist]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.MANIFEST.name)
def test_every_key_is_explained(module: Any) -> None:
    own = {field.name for field in dataclasses.fields(module.Settings)} - HTTP - {"name"}
    assert own - SAID == set()
    for field in dataclasses.fields(module.Settings):
        assert field.metadata["doc"]
        rows = [line for line in PAGE.splitlines() if line.startswith(f"| `{field.name}` |")]
        if rows and isinstance(field.default, int | float) and not isinstance(field.default, bool):
            assert any(f"| {field.default:g} |" in row or f"| {field.default} |" in row for row in rows), field.name


@pytest.mark.parametrize(
    ("module", "table", "key"),
    [
        (dicom_poll, {"host": "h", "called_ae": "TOO LONG A TITLE X"}, "called_ae"),
        (dicom_poll, {"host": "h", "called_ae": "P", "since": "yesterday"}, "since"),
        (dicom_poll, {"host": "h", "called_ae": "P", "ca_file": "ca.pem"}, "ca_file"),
        (dicom_poll, {"host": "h", "called_ae": "P", "window_days": 0}, "window_days"),
        (dicomweb_poll, {"url": "ftp://x"}, "url"),
        (dicomweb_poll, {"url": "http://x", "since": "?"}, "since"),
        (orthanc, {"url": "http://x", "changes": ["Deleted"]}, "changes"),
        (orthanc, {"url": "http://x", "changes": []}, "changes"),
        (dicomweb_in, {"tokens": []}, "tokens"),
        (dicomweb_in, {"tokens": ["x"], "charset": "klingon"}, "charset"),
        (worklist, {"port": 0, "peers": {}}, "peers"),
        (worklist, {"port": 0, "peers": {"CT\\1": ""}}, "AE title"),
        (worklist, {"port": 0, "peers": {"CT1": "10.1.2.300"}}, "address"),
        (worklist, {"port": 0, "peers": {"CT1": ""}, "charset": "cp949"}, "charset"),
        (worklist, {"port": 0, "peers": {"CT1": ""}, "tls_ca": "ca.pem"}, "tls_cert"),
    ],
)
def test_what_cannot_be_is_told(module: Any, table: dict[str, Any], key: str) -> None:
    with pytest.raises(Misconfigured, match=key):
        module.Settings.from_table(table)
