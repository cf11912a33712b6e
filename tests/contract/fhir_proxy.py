"""A real FHIR server (npm, tests/fhir_server) behind an HTTP proxy that misbehaves; the server is started when first needed."""

from __future__ import annotations

import atexit
import http.client
import itertools
import json
import os
import ssl
from functools import cache
from urllib.parse import urlsplit

import pytest

from hub.simulator.emr import outcome
from hub.simulator.http_peer import Request, response
from hub.simulator.rest import RestPeer
from tests import servers

_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length")
_number = itertools.count(1)


@cache
def server() -> servers.FhirServer:
    try:
        made = servers.FhirServer().start()
    except servers.NotInstalledError as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
    atexit.register(made.stop)
    return made


class FhirProxy(RestPeer):
    """`received`: (method, resource type) of every write that the server acknowledged. `system`: of identifiers that only those
    who come this way use, since all share the server."""

    path = "/fhir/R4"

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls=tls)
        server()  # from the test's own thread: it dies with the one that started it
        self.system = f"urn:oid:1.2.410.99999.7.{os.getpid()}.{next(_number)}"
        self.faults_at_writes = True

    def writes(self, request: Request) -> bool:
        return request.method not in ("GET", "HEAD") and "/_search" not in request.target

    def answer(self, request: Request) -> bytes:
        upstream = urlsplit(server().url)
        connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=10)
        try:
            headers = {name: value for name, value in request.headers.items() if name not in (*_HOP, "host")}
            connection.request(request.method, request.target, request.body, headers)
            answer = connection.getresponse()
            body = answer.read().replace(server().url.encode(), self.url.encode())  # its links lead through us, too
        finally:
            connection.close()
        if self.writes(request) and answer.status in (200, 201):
            self.received.append((request.method, str(json.loads(body)["resourceType"])))
        return response(answer.status, body, {k: v for k, v in answer.getheaders() if k.lower() not in _HOP})

    def busy(self, _request: object) -> bytes:
        return outcome(503, "throttled", "later", {"Retry-After": "7"})
