"""The hospital of tests/e2e/hospital with all its systems up: real databases, a FHIR server of npm's, MLLP peers, folders, a CRM.

    with Hospital(tmp_path, mariadb, postgres, fhir_server) as house:
        house.ocs.send("ADT^A04", …); house.maria("INSERT …"); house.drop("lab", rows); house.api.get(…)

hub.toml and maps are those of the folder; only addresses and ports are put in.
"""

from __future__ import annotations

import csv
import io
import json
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import httpx
import psycopg

from hub.codecs.webhook import new_secret
from hub.simulator.crm import CrmPeer
from hub.simulator.demo.api import Api
from hub.simulator.hl7_peer import Hl7Sender
from hub.simulator.ocs import OcsPeer
from tests import servers
from tests.chaos.hub_process import HUB, ROOT, Hub
from tests.integration import odbc_kit

HOSPITAL = Path(__file__).parent / "hospital"
SYSTEM = "urn:oid:1.2.410.100110.10"
HOST = "127.0.0.1"


class BackOffice(Protocol):
    """What a hospital has besides: its piece of hub.toml, and its systems, which come up and go with the hospital."""

    def piece(self) -> str:
        """A piece of hub.toml at our addresses."""
        ...

    def furnish(self, folder: Path) -> None:
        """Puts what that piece names into the hub's folder, once its maps are there."""
        ...

    def start(self, api: Api) -> None:
        """The hub is up; `api`: as its administrator."""
        ...

    def stop(self) -> None: ...


class HospitalHub(Hub):
    """`hub run` on that hub.toml."""

    def __init__(self, folder: Path, text: str, ports: tuple[int, int], database: str) -> None:
        """`database`: as `hub init --database` takes it; "" is SQLite."""
        self.folder, self.config, self.ports = folder, folder / "hub.toml", ports
        self.process, self.starts = None, 0
        command = [*HUB, "init", str(folder), "--json", *(["--database", database] if database else [])]
        made = subprocess.run(command, capture_output=True, timeout=60, cwd=ROOT, check=True)
        self.token = str(json.loads(made.stdout)["token"])
        if database:  # where init has put the URL, which holds a password
            [line] = [one for one in self.config.read_text(encoding="utf-8").splitlines() if one.startswith("url = ")]
            text = text.replace('url = "sqlite:///hub.db"', line)
        self.config.write_text(text, encoding="utf-8")


class Hospital:
    """Started by `with`. `maria`, `pg`: a statement in the OCS's, the EMR's database."""

    def __init__(
        self,
        folder: Path,
        mariadb: servers.MariaDB,
        postgres: servers.Postgres,
        fhir: servers.FhirServer,
        database: str = "",
        back: BackOffice | None = None,
    ) -> None:
        """`database`: the hub's own; SQLite where it is left out. `back`: a back office, too."""
        name = "of_doors"
        self.folder, self.fhir, self.back = folder / "hub", fhir, back
        self._lock = threading.Lock()  # one connection to MariaDB, and one thread at a time on it
        ocs_db = odbc_kit.mariadb(mariadb, f"ocs_{name}", "latin1", "cp949", "cp949")
        emr_db = odbc_kit.postgresql(postgres, f"emr_{name}", "UTF8", "utf-8", "utf-8")
        self._maria = ocs_db.write
        self._pg = psycopg.connect(postgres.url(f"emr_{name}").replace("+psycopg", ""), autocommit=True)
        for statement in filter(str.strip, (HOSPITAL / "ocs.sql").read_text(encoding="utf-8").split(";")):
            ocs_db.write(statement)
        self._pg.execute((HOSPITAL / "emr.sql").read_text(encoding="utf-8"))
        mllp, web = servers.free_port(), servers.free_port()
        self.crm = CrmPeer([new_secret()])
        self.confirm = Hl7Sender(HOST, mllp, facility="OCS")
        self.peer = OcsPeer(confirm=self.confirm)
        self.ocs = Hl7Sender(HOST, mllp, charset="cp949", facility="ADMISSION")
        for peer in (self.crm, self.peer):
            peer.start()
        self.hub = HospitalHub(self.folder, self._config(mllp, web), (mllp, web), database)
        shutil.copytree(HOSPITAL / "maps", self.folder / "maps")
        if back is not None:
            back.furnish(self.folder)
        for drop in ("lab", "cashier"):
            (self.folder / "drop" / drop).mkdir(parents=True)
        self._secret("ocs-odbc", ocs_db.connection)
        self._secret("emr-odbc", emr_db.connection)
        self._secret("crm-webhook", self.crm.secrets[0])
        self.admin = Api(f"http://{HOST}:{web}", self.hub.token)
        self._dropped = 0

    def _config(self, mllp: int, web: int) -> str:
        """Their hub.toml at our addresses."""
        text = (HOSPITAL / "hub.toml").read_text(encoding="utf-8")
        for there, here in {
            "port = 8080": f"port = {web}",
            "port = 2575": f"port = {mllp}",
            "port = 2576": f"port = {self.peer.port}",
            "http://127.0.0.1:8081/fhir/R4": self.fhir.url,
            "http://127.0.0.1:9400/hooks/hub": self.crm.url,
        }.items():
            assert there in text, there
            text = text.replace(there, here)
        return text if self.back is None else f"{text}\n{self.back.piece()}"

    def _secret(self, name: str, text: str) -> None:
        path = self.folder / "secrets" / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)

    def __enter__(self) -> Self:
        try:
            code, checked = self.hub.ask("check")
            assert code == 0, [one for one in checked.get("findings", [checked]) if not one.get("good")]
            self.hub.start()
            self.until(self.ready, "the hub is ready")
            secret = self.admin.post("/api/v1/tokens", {"name": "reception", "role": "crm"}, expect=201).data["secret"]
            self.api = Api(f"http://{HOST}:{self.hub.ports[1]}", str(secret))
            code, pharmacy = self.hub.ask("token", "create", "pharmacy", "--role", "sender")
            assert code == 0, pharmacy
            headers = {"Authorization": f"Bearer {pharmacy['token']}", "Content-Type": "application/fhir+json"}
            self.pharmacy = httpx.Client(base_url=f"http://{HOST}:{self.hub.ports[1]}", headers=headers, timeout=10)
            self.confirm.start()
            self.ocs.start()
            if self.back is not None:
                self.back.start(self.admin)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self.back is not None:
            self.back.stop()
        self.hub.end()
        for sender in (self.confirm, self.ocs):
            sender.stop()
        for peer in (self.crm, self.peer):
            peer.stop()
        self._pg.close()

    # -- the hospital's systems ----------------------------------------------------------------------------------------

    def maria(self, table: str, **row: Any) -> None:
        """INSERT, or all other columns of the row with that key anew; texts as cp949 bytes."""
        columns, values = ", ".join(row), ", ".join(_cp949(value) for value in row.values())
        again = ", ".join(f"{name} = VALUES({name})" for name in row)
        with self._lock:
            self._maria(f"INSERT INTO {table} ({columns}) VALUES ({values}) ON DUPLICATE KEY UPDATE {again}")

    def maria_rows(self, sql: str) -> list[tuple[str, ...]]:
        """What a SELECT finds, as texts; ask for HEX() of cp949."""
        with self._lock:
            return [tuple(str(value).strip() for value in row) for row in self._maria(sql).fetchall()]

    def pg(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        cursor = self._pg.execute(sql, values)
        return cursor.fetchall() if cursor.description else []

    def drop(self, folder: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """A CSV file in cp949, which gets its name when it is whole."""
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0])
        writer.writeheader()
        writer.writerows(rows)
        self._dropped += 1
        being = self.folder / "drop" / folder / f"{self._dropped:03}.csv.tmp"
        being.write_bytes(text.getvalue().encode("cp949"))
        being.rename(being.with_suffix(""))

    def emr_patients(self, number: str) -> list[dict[str, Any]]:
        """What the EMR's FHIR server has under a number."""
        found = httpx.post(f"{self.fhir.url}/Patient/_search", data={"identifier": f"{SYSTEM}|{number}"}, timeout=10).json()
        return [entry["resource"] for entry in found.get("entry", [])]

    def emr(self, path: str) -> dict[str, Any]:
        """What the EMR's FHIR server answers."""
        return dict(httpx.get(f"{self.fhir.url}/{path}", timeout=10).json())

    def charted(self, document: dict[str, Any]) -> None:
        """A clinician's program writes into the EMR's FHIR server."""
        httpx.post(f"{self.fhir.url}/{document['resourceType']}", json=document, timeout=10).raise_for_status()

    def push(self, document: dict[str, Any]) -> None:
        """The pharmacy's program posts to the hub, again until that says that it has it."""

        def taken() -> bool:
            try:
                return self.pharmacy.post("/fhir/R4", json=document).is_success
            except httpx.TransportError:
                return False

        self.until(taken, "the hub takes a bundle")

    # -- looking -----------------------------------------------------------------------------------------------------------

    def patient(self, number: str) -> dict[str, Any] | None:
        """The one patient whom the CRM finds under a number, in his envelope."""
        found = self.api.post("/api/v1/patients/search", {"identifier": f"HOSP|{number}"}).data["items"]
        assert len(found) < 2, f"{len(found)} patients under one number"
        return dict(found[0]) if found else None

    def timeline(self, number: str) -> list[dict[str, Any]]:
        """What happened with him, the latest first."""
        envelope = self.patient(number)
        return list(self.api.items(f"/api/v1/patients/{envelope['id']}/timeline")) if envelope else []

    def moving(self) -> dict[str, str]:
        """What is on its way in the hub, by channel."""
        channels = self.hub.status()["channels"].items()
        moving = {n: f"{c['queued']} queued, {c['in_flight']} in flight" for n, c in channels if c["queued"] or c["in_flight"]}
        return moving | ({} if self.confirm.join(0) else {"OCS": "has something to send"})

    def settle(self, seconds: float = 60) -> None:
        """Until nothing moves for longer than any door's poll takes."""
        since = time.monotonic()
        deadline = since + seconds

        while time.monotonic() - since < 2.5:
            moving = self.moving()
            assert time.monotonic() < deadline, f"the hub does not come to rest: {moving}\n{self.last_words()}"
            if moving:
                since = time.monotonic()
            time.sleep(0.1)

    def until(self, what: Callable[[], Any], name: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            if time.monotonic() > deadline:
                raise AssertionError(f"it did not come to pass: {name}\n{self.last_words()}")
            time.sleep(0.1)

    def last_words(self) -> str:
        """What stands still or is on its way, and the end of the hub's log."""
        waiting = ("queued", "in_flight", "dead", "uncertain", "refused", "ignored", "stopped", "breaker")
        channels = self.hub.status()["channels"].items()
        states = {name: {what: counts[what] for what in waiting if counts.get(what)} for name, counts in channels}
        why = self.hub.ask("messages", "--state", "dead", "--limit", "3")[1]
        return f"{states}\n{why}\n" + (self.folder / "run.log").read_text(errors="replace")[-1500:]

    def ready(self) -> bool:
        return self.hub.listening() and self.admin.ready()

    def kill(self) -> None:
        """-9 to every process of the hub; started again, as a service manager would."""
        self.hub.kill("all", random.Random(1))
        self.hub.start()


def _cp949(value: Any) -> str:
    if isinstance(value, int):
        return str(value)
    return f"X'{str(value).encode('cp949').hex()}'"
