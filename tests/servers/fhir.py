"""An EMR's FHIR server, from npm (tests/fhir_server)."""

from __future__ import annotations

import shutil
import signal
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.process import NotInstalledError, free_port, spawn, stop, wait_for_port


@dataclass
class FhirServer:
    """An EMR's FHIR R4 server, in memory: npm's @medplum/fhir-router (tests/fhir_server). Nobody has to log in there.

    Version ids are UUIDs; a transaction is not atomic; dates are compared as texts, so ask in UTC with Z.
    """

    page: int = 20  # resources a page of a search where nobody asks for another number
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/fhir/R4"

    def start(self) -> FhirServer:
        node, code = shutil.which("node"), Path(__file__).parent.parent / "fhir_server"
        if node is None or not (code / "node_modules/@medplum/fhir-router").is_dir():
            raise NotInstalledError("the FHIR server is not installed: scripts/setup.sh system (nodejs, npm)")
        self.folder = Path(tempfile.mkdtemp(prefix="hubfhir-"))
        self.log = self.folder / "log"
        with self.log.open("wb") as log:
            self.process = spawn([node, code / "server.mjs", str(self.port), str(self.page)], log, self.folder, signal.SIGTERM)
        try:
            wait_for_port(self.port, self.process, self.log)  # it listens when it is ready
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        stop(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)
