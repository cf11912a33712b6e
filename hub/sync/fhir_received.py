"""A FHIR resource becomes a message, whoever brought it: a bundle, a subscription, a poll of the server.

Body: the resource as JSON, one a message. Type: its resource type (`Encounter`; `Encounter.deleted`). Control id: what stays
the same when the same thing is told again: type, id and version; without a version the time of its last change, without that
a digest of the content. Patient: whose lane it is in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from hub.codecs.fhir_incoming import body_of, id_of, read, same_of, type_of
from hub.domain.ports import Received
from hub.mapping.fhir_keys import Names

Digest = Callable[[bytes], bytes]


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]


def of_body(channel: str, names: Names, body: bytes, *, sender: str = "", digest: Digest = _sha256) -> Received:
    """One resource as it came. Raises Unreadable. `digest`: Keys.digest where that is at hand: a control id is kept in clear."""
    return _received(channel, names, read(body), body, sender, digest)


def of_document(
    channel: str, names: Names, document: Mapping[str, Any], *, sender: str = "", digest: Digest = _sha256
) -> Received:
    """One resource out of a bundle or search (`hub.codecs.fhir_incoming.tombstone` where it was deleted)."""
    return _received(channel, names, document, body_of(document), sender, digest)


def control_id(document: Mapping[str, Any], content: bytes, digest: Digest = _sha256) -> str:
    """`Patient/123/4`: type, id, version or what stands for it."""
    kind, resource_id, meta = type_of(document), id_of(document), document.get("meta")
    stamps = [meta.get(name) for name in ("versionId", "lastUpdated")] if isinstance(meta, Mapping) else []
    told = next((one for one in stamps if isinstance(one, str) and 0 < len(one) <= 64), "") if resource_id else ""
    return "/".join(filter(None, (kind, resource_id, told or digest(content).hex())))


def _received(channel: str, names: Names, document: Mapping[str, Any], body: bytes, sender: str, digest: Digest) -> Received:
    content = same_of(document)
    return Received(
        channel=channel, body=body, sender=sender or names.system, control_id=control_id(document, content, digest),
        type=type_of(document), patient=names.patient_of(document), content=content, answer_owed=False, charset="utf-8",
    )  # fmt: skip
