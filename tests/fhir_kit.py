"""A whole hub with an inbound FHIR channel, and a client that sends to it as an EMR's server would. No sockets."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import orjson
from starlette.testclient import TestClient

from hub.codecs.fhir import MEDIA_TYPE
from hub.web.app import create_app
from hub.web.serve import web_hub
from tests.hub_kit import Kit, make_kit

BASE = "/fhir/R4"
IDS = "HOSP:emr:fhir"  # the assigner of its server's ids
CHANNEL = """
[channels.emr-fhir]
adapter = "emr.fhir_in"
system = "emr"
tokens = ["emr-push"]
identifier_systems = {{ HOSP = "urn:oid:1.2.410.1" }}
max_body = {max_body}
on_dead = "skip"
{more}
"""


class FhirKit:
    """`kit.hub` and its web; `client` is the EMR's server, `crm` a front-end."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        hub = web_hub(kit.hub)
        self.app = create_app(hub)
        named = {"sender": "emr-push", "crm": "crm-1", "auditor": "auditor-1"}
        self.tokens = {role: hub.access.create_token(name, role, now=0)[1] for role, name in named.items()}  # type: ignore[arg-type]
        self.stranger = hub.access.create_token("nobody", "sender", now=0)[1]
        self.client = self.by(self.tokens["sender"])
        self.crm = self.by(self.tokens["crm"])

    def by(self, secret: str) -> TestClient:
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": MEDIA_TYPE}
        return TestClient(self.app, headers=headers, raise_server_exceptions=False, follow_redirects=False)

    def send(self, document: Any, url: str = "", method: str = "POST", **headers: str) -> Any:
        body = document if isinstance(document, bytes) else orjson.dumps(document)
        return self.client.request(method, BASE + url, content=body, headers=headers)

    def put(self, document: dict[str, Any], **headers: str) -> Any:
        return self.send(document, f"/{document['resourceType']}/{document['id']}", "PUT", **headers)

    def tell(self, *documents: dict[str, Any]) -> None:
        """Each by itself, applied."""
        for document in documents:
            answer = self.put(document)
            assert answer.status_code == 200, answer.text
            self.kit.apply()

    def outcomes(self) -> list[tuple[str, str, str]]:
        """(type, outcome or state, reason) of every message, in their order."""
        sql = (
            "SELECT m.type, COALESCE(NULLIF(o.outcome, ''), o.state, w.state), COALESCE(o.reason, w.reason) FROM message m"
            " LEFT JOIN outcome o ON o.message_id = m.id"
            " LEFT JOIN work w ON w.message_id = m.id AND w.barrier = FALSE WHERE m.direction = 'in' ORDER BY m.id"
        )
        return [(str(a), str(b), str(c)) for a, b, c in self.kit.rows(sql)]

    def of(self, kind: str, number: str) -> dict[str, Any]:
        """The canonical resource behind the sender's id."""
        sql = "SELECT resource_id FROM identifier WHERE kind = ? AND assigner = ? AND value = ?"
        return self.kit.resource(str(self.kit.rows(sql, kind, IDS, f"{kind}/{number}")[0][0]))

    def all_of(self, kind: str) -> list[dict[str, Any]]:
        found = self.kit.rows("SELECT data FROM resource WHERE kind = ? AND status = 'active' ORDER BY id", kind)
        return [orjson.loads(row[0]) for row in found]


def make_fhir_kit(folder: Path, url: str = "sqlite:///hub.db", more: str = "", max_body: int = 1 << 20) -> FhirKit:
    return FhirKit(make_kit(folder, url, on_dead="skip", more=CHANNEL.format(more=more, max_body=max_body)))


def transaction(*resources: dict[str, Any], kind: str = "transaction", method: str = "POST", **more: Any) -> dict[str, Any]:
    """A bundle of creates whose entries are called by urn:uuid."""
    return {
        "resourceType": "Bundle", "type": kind,
        "entry": [
            {"fullUrl": f"urn:uuid:{one['id']}" if "id" in one else f"urn:uuid:00000000-0000-4000-8000-{at:012d}",
             "resource": one, "request": {"method": method, "url": one["resourceType"]
                                          + (f"/{one['id']}" if method == "PUT" else "")}}
            for at, one in enumerate(copy.deepcopy(resources))
        ],
        **more,
    }  # fmt: skip
