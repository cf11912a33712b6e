"""An SAP system's OData V2 services, from npm: CAP behind its V2 adapter, with a gateway's CSRF tokens (tests/sap_server)."""

from __future__ import annotations

import shutil
import signal
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.process import NotInstalledError, free_port, spawn, stop, wait_for_port


@dataclass
class Cap:
    """API_BUSINESS_PARTNER, API_BILLING_DOCUMENT_SRV and API_OPLACCTGDOCITEMCUBE_SRV, in memory. Nobody has to log in there."""

    page: int | None = None  # entities a page of a read (server-driven paging); None: as CAP has it
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def service(self, name: str = "API_BUSINESS_PARTNER") -> str:
        """A service's root."""
        return f"{self.url}/sap/opu/odata/sap/{name}"

    def start(self) -> Cap:
        node, code = shutil.which("node"), Path(__file__).parent.parent / "sap_server"
        if node is None or not (code / "node_modules/@sap/cds").is_dir():
            raise NotInstalledError("the SAP server is not installed: scripts/setup.sh system (nodejs, npm)")
        self.folder = Path(tempfile.mkdtemp(prefix="hubcap-"))
        self.log = self.folder / "log"
        environment = {"PORT": str(self.port), **({"PAGE": str(self.page)} if self.page else {})}
        with self.log.open("wb") as log:
            self.process = spawn([node, code / "server.js"], log, code, signal.SIGTERM, environment=environment)
        try:
            wait_for_port(self.port, self.process, self.log)
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def _wait_until_ready(self) -> None:
        """The port is open before the V2 adapter is."""
        import httpx  # the rest of this package serves without it

        transport = httpx.HTTPTransport(retries=3)
        with httpx.Client(transport=transport, timeout=10) as http:
            for _ in range(100):
                if http.get(f"{self.service()}/").is_success:
                    return
        raise RuntimeError(f"the SAP server does not answer:\n{self.log.read_text(errors='replace')[-2000:]}")

    def expire(self) -> None:
        """Every session is forgotten: the next change is answered 403 with `x-csrf-token: Required`."""
        import httpx

        httpx.post(f"{self.url}/test/expire", timeout=10).raise_for_status()

    def stop(self) -> None:
        stop(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)
