"""10,000 entities and 10,000 descriptions of a service, spoiled: none crashes, hangs over a second or takes 200 MB."""

from __future__ import annotations

import resource
import socket
import threading
from pathlib import Path

import pytest

from hub.codecs.sap import edmx
from hub.domain.errors import Unreadable
from tests import sap_fuzz_kit
from tests.unit.sap.test_edmx import XML

MEGABYTES = 200


def grown(before: int) -> float:
    """MB by which this process has grown."""
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def test_ten_thousand_entities() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ends = sap_fuzz_kit.entities(10_000, seed=20261122)
    assert ends.total() == 10_000
    assert ends["mapped"] > 3_000
    assert grown(before) < MEGABYTES


def test_ten_thousand_descriptions(tmp_path: Path) -> None:
    (tmp_path / "canary").write_text("canary-6f1c")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ends = sap_fuzz_kit.descriptions(10_000, 20261122, XML, tmp_path / "canary")
    assert ends.total() == 10_000
    assert ends["compared"] > 500
    assert not ends["told"]
    assert ends["forbidden_xml"] > 500
    assert grown(before) < MEGABYTES


def test_a_description_of_the_largest_size_takes_little() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    element = b'<Property Name="a" Type="Edm.String" MaxLength="10"/>'
    with pytest.raises(Unreadable):
        edmx.read(b"<Schema><EntityType>" + element * (edmx.MOST_BYTES // len(element) - 1))
    with pytest.raises(Unreadable):
        edmx.read(b"<a" + b" b='c'" * (edmx.MOST_BYTES // 6 - 1))
    assert grown(before) < MEGABYTES


def test_nobody_is_asked_by_a_description() -> None:
    """An external entity or schema that names a server: it hears nothing."""
    heard: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)

        def listen() -> None:
            try:
                heard.append(server.accept())
            except TimeoutError:
                return

        thread = threading.Thread(target=listen)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x".encode()
        for document in (
            b'<!DOCTYPE a SYSTEM "%s"><a/>' % url,
            b'<!DOCTYPE a [<!ENTITY %% x SYSTEM "%s"> %%x;]><a/>' % url,
            b'<!DOCTYPE a [<!ENTITY x SYSTEM "%s">]><a>&x;</a>' % url,
        ):
            with pytest.raises(Unreadable, match="no description has"):
                edmx.read(document)
        schema = b'<Schema xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="x %s" ' % url
        edmx.read(XML.replace(b"<Schema ", schema))
        thread.join()
    assert heard == []
