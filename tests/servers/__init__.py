"""Real servers for tests: PostgreSQL, MariaDB, Redis, Orthanc and dcmtk from Debian's packages, a FHIR and an SAP server from
npm; on 127.0.0.1, on ports of their own.

Each process of pytest-xdist starts its own; they are stopped by pid, and by the kernel where the test run is killed.
"""

from tests.servers.databases import MariaDB, Postgres, Redis
from tests.servers.erp import Cap
from tests.servers.fhir import FhirServer
from tests.servers.pacs import Orthanc, Wlmscpfs
from tests.servers.process import NotInstalledError, die_with, free_port, spawn, stop, wait_for_port

__all__ = [
    "Cap", "FhirServer", "MariaDB", "NotInstalledError", "Orthanc", "Postgres", "Redis", "Wlmscpfs", "die_with", "free_port",
    "spawn", "stop", "wait_for_port",
]  # fmt: skip
