"""Hub and hospital in one folder: hub.toml with every channel, the hub as a child process, the peers in this one.

    with House(folder) as house:          # set up, started, ready
        house.admin.get("/api/v1/channels")
        house.ocs, house.emr, house.erp, house.crm, house.desks, house.office

Everything listens on 127.0.0.1, on ports that nobody uses now, so that two demos can run at once.
"""

from __future__ import annotations

import ctypes
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from hub.codecs.webhook import new_secret
from hub.simulator.crm import CrmPeer
from hub.simulator.demo.api import Api
from hub.simulator.demo.back_office import SENDER, BackOffice
from hub.simulator.emr import EmrPeer
from hub.simulator.erp import ErpPeer
from hub.simulator.hl7_peer import Hl7Sender
from hub.simulator.ocs import OcsPeer

HOST = "127.0.0.1"
EMR_SYSTEM = "urn:oid:1.2.410.100110.10"  # how the EMR writes the hospital's patient numbers
START_SECONDS = 60.0
PR_SET_PDEATHSIG = 1
CHANNELS = """
# ---- written by hub demo -------------------------------------------------------------------------------------------
overlay = "site-maps"

[channels.crm-webhook]
adapter = "crm.webhook"
system = "crm"
url = "{crm}"
secrets = [{{ file = "secrets/crm-webhook.secret" }}]
retry = {{ base_seconds = 0.3, max_seconds = 1.0 }}
breaker_seconds = 1.5

[channels.ocs-out]
adapter = "ocs.hl7_out"
system = "ocs"
host = "127.0.0.1"
port = {ocs}
assigner = "HOSP"
retry = {{ base_seconds = 0.3, max_seconds = 1.0 }}

[channels.emr]
adapter = "emr.fhir_patient"
system = "emr"
url = "{emr}"
identifier_systems = {{ HOSP = "{system}" }}
create = true
retry = {{ base_seconds = 0.3, max_seconds = 1.0 }}

[channels.erp]
adapter = "erp.business_partner"
system = "erp"
url = "{erp}"
identification_type = "ZMRN"
create = true
retry = {{ base_seconds = 0.3, max_seconds = 1.0 }}
breaker_failures = 3
breaker_seconds = 1.5
"""


class HouseError(Exception):
    """The demo cannot begin or go on: what did not start, and where its log is."""


class House:
    """Started by `with`; leaving it ends the hub and the peers and removes a temporary folder."""

    def __init__(self, folder: Path | None = None, *, web_port: int = 0, database: str = "", broker: str = "") -> None:
        """`database`, `broker`: as `hub init` takes them; SQLite and no broker where they are left out."""
        self.temporary = folder is None
        self._more = [*(["--database", database] if database else []), *(["--broker", broker] if broker else [])]
        self.folder = Path(tempfile.mkdtemp(prefix="hub-demo-")) if folder is None else folder.resolve()
        self.mllp_port, self.web_port = free_port(), web_port or free_port()
        self.config = self.folder / "hub.toml"
        self.log = self.folder / "hub.log"
        self.token = self.sender = ""
        self.crm = CrmPeer([new_secret()], port=free_port())
        self.confirm = Hl7Sender(HOST, self.mllp_port, facility="OCS")
        self.ocs = OcsPeer(port=free_port(), confirm=self.confirm)
        self.emr = EmrPeer(port=free_port())
        self.erp = ErpPeer(port=free_port())
        self.office = BackOffice(free_port)
        self.office.follow(self.erp)
        self.desks = {
            "UNICODE UTF-8": Hl7Sender(HOST, self.mllp_port, charset="utf-8", facility="ADMISSION"),
            "KS X 1001": Hl7Sender(HOST, self.mllp_port, charset="cp949", facility="EMERGENCY"),
        }
        self._hub: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._set_up()
            self._start_hub()
            for peer in (self.crm, self.ocs, self.emr, self.erp):
                peer.start()
            self.office.start()
            self._wait_for_hub()
            self._tokens()
            for sender in (self.confirm, *self.desks.values()):
                sender.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where API and console are."""
        return f"http://{HOST}:{self.web_port}"

    def command(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """One `hub …` command with this configuration, as somebody at a terminal would give it."""
        line = [sys.executable, "-m", "hub", *arguments]
        return subprocess.run(line, capture_output=True, timeout=60, check=False, cwd=self.folder)  # noqa: S603 - our own command

    # ---- beginning -----------------------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.config.exists():
            raise HouseError(f"{self.folder} holds a hub already: name an empty folder")
        ports = ("--mllp-port", str(self.mllp_port), "--web-port", str(self.web_port))
        made = self.command("init", str(self.folder), *ports, *self._more, "--json")
        if made.returncode:
            raise HouseError(f"hub init failed: {made.stderr.decode(errors='replace').strip()}")
        self.token = orjson.loads(made.stdout)["token"]
        secret = self.folder / "secrets" / "crm-webhook.secret"
        secret.touch(mode=0o600)
        secret.write_text(self.crm.secrets[0] + "\n")
        (self.folder / "site-maps").mkdir(parents=True, exist_ok=True)
        text = self.config.read_text(encoding="utf-8")
        written = CHANNELS.format(crm=self.crm.url, ocs=self.ocs.port, emr=self.emr.url, erp=self.erp.url, system=EMR_SYSTEM)
        written += self.office.channels(EMR_SYSTEM)
        self.config.write_text(text + written, encoding="utf-8")  # [channels.ocs-in] is the last table that hub init writes

    def _start_hub(self) -> None:
        line = [sys.executable, "-m", "hub", "run", "--config", str(self.config), "--log-format", "json"]
        with self.log.open("wb") as log:
            self._hub = subprocess.Popen(  # noqa: S603 - our own command
                line, stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
                preexec_fn=_end_with_us,  # noqa: PLW1509 - called before this process has threads; a call into libc
            )  # fmt: skip

    def _wait_for_hub(self) -> None:
        end = time.monotonic() + START_SECONDS
        api = Api(self.url, "")
        while time.monotonic() < end:
            self.must_live()
            if listens(self.mllp_port) and api.ready():
                return
            time.sleep(0.1)
        raise HouseError(f"the hub was not ready within {START_SECONDS:.0f} s:\n{self.last_words()}")

    def _tokens(self) -> None:
        """A front-end, an operator and an auditor, each with no more rights than they need."""
        self.admin = Api(self.url, self.token)
        made = {role: self._token(role) for role in ("crm", "operator", "auditor")}
        self.front_end, self.operator, self.auditor = (Api(self.url, made[role]) for role in ("crm", "operator", "auditor"))
        given = self.command("token", "create", SENDER, "--role", "sender", "--config", str(self.config), "--json")
        self.sender = str(json_of(given).get("token", ""))  # who may send only gets his from the command line

    def _token(self, role: str) -> str:
        body = {"name": f"demo-{role}-{secrets.token_hex(2)}", "role": role}
        return str(self.admin.post("/api/v1/tokens", body, expect=201).data["secret"])

    # ---- going on and ending -------------------------------------------------------------------------------------------

    def must_live(self) -> None:
        """Raises HouseError where the hub's process is gone."""
        if self._hub is not None and self._hub.poll() is not None:
            raise HouseError(f"the hub ended with code {self._hub.returncode}:\n{self.last_words()}")

    def last_words(self) -> str:
        """The end of the hub's log."""
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""

    def stop_hub(self) -> int | None:
        """SIGTERM, and its exit code; killed after 15 s."""
        if self._hub is None:
            return None
        if self._hub.poll() is None:
            self._hub.send_signal(signal.SIGTERM)
            try:
                self._hub.wait(15)
            except subprocess.TimeoutExpired:
                self._hub.kill()
                self._hub.wait(5)
        return self._hub.returncode

    def close(self) -> None:
        """End everything that was started here."""
        for sender in (self.confirm, *self.desks.values()):
            sender.stop()
        self.stop_hub()
        for peer in (self.crm, self.ocs, self.emr, self.erp, self.office):
            peer.stop()
        if self.temporary:
            shutil.rmtree(self.folder, ignore_errors=True)


def free_port() -> int:
    """A port below the range that outgoing connections use, so that one that is closed for a while stays ours."""
    while True:
        port = random.randrange(20_000, 32_000)
        if not listens(port) and _can_bind(port):
            return port


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex((HOST, port)) == 0


def _can_bind(port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind((HOST, port))
        except OSError:
            return False
    return True


def _end_with_us() -> None:
    """In the child, before exec: SIGTERM when the demo dies, however it dies (prctl(2), Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def json_of(done: subprocess.CompletedProcess[bytes]) -> Any:
    """What a command printed with --json; {} where it printed none."""
    try:
        return orjson.loads(done.stdout)
    except orjson.JSONDecodeError:
        return {}
