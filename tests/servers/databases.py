"""Databases and the broker: PostgreSQL, MariaDB and Redis from Debian's packages."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.process import NotInstalledError, free_port, spawn, stop, wait_for_port


def _postgres_bin() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    if on_path and shutil.which("initdb"):
        return Path(on_path).parent
    raise NotInstalledError("PostgreSQL is not installed: apt-get install postgresql")


@dataclass
class Postgres:
    """A PostgreSQL server in a folder of its own, run as user postgres (or nobody) where we are root: it refuses root."""

    fsync: bool = False  # True where speed is measured; a killed process loses nothing without it
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_hex(16))

    def start(self) -> Postgres:
        self.folder = Path(tempfile.mkdtemp(prefix="hubpg-"))
        binaries, user = _postgres_bin(), self._user()
        pwfile, data = self.folder / "pw", self.folder / "data"
        pwfile.write_text(self.password)
        data.mkdir(mode=0o700)
        if user:
            for path in (self.folder, pwfile, data):
                shutil.chown(path, user)
        self.log = self.folder / "log"
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "hub", "-A", "scram-sha-256", "--pwfile", pwfile, "-E", "UTF8",
             "--locale=C.UTF-8", *([] if self.fsync else ["--no-sync"])],
            check=True, stdout=subprocess.DEVNULL, user=user, cwd=self.folder, timeout=60,
        )  # fmt: skip
        options = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.folder, "max_connections": 200,
            "shared_buffers": "128MB", "fsync": "on" if self.fsync else "off", "timezone": "UTC",
        }  # fmt: skip
        command: list[str | Path] = [binaries / "postgres", "-D", data]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("wb") as log:
            self.process = spawn(command, log, self.folder, signal.SIGINT, user)
        try:
            wait_for_port(self.port, self.process, self.log)
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def _wait_until_ready(self, seconds: float = 30.0) -> None:
        """The port is open before the server takes connections ("the database system is starting up")."""
        import psycopg

        deadline = time.monotonic() + seconds
        while True:
            try:
                psycopg.connect(self.url().replace("+psycopg", ""), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _user(self) -> str | None:
        if os.geteuid() != 0:
            return None
        names = {line.split(":", 1)[0] for line in Path("/etc/passwd").read_text().splitlines()}
        return "postgres" if "postgres" in names else "nobody"

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://hub:{self.password}@127.0.0.1:{self.port}/{database}"

    def create(self) -> str:
        """A fresh, empty database: its URL."""
        import psycopg  # the rest of this file serves without it

        name = f"hub_{secrets.token_hex(6)}"
        with psycopg.connect(self.url().replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Drops a database that `create` made, whoever is connected."""
        import psycopg

        with psycopg.connect(self.url().replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {url.rsplit('/', 1)[1]} WITH (FORCE)")

    def stop(self) -> None:
        stop(self.process, signal.SIGINT)  # a fast shutdown
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class Redis:
    """A Redis server as the hub wants it: append-only, nothing evicted."""

    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> Redis:
        binary = shutil.which("redis-server")
        if binary is None:
            raise NotInstalledError("Redis is not installed: apt-get install redis-server")
        self.folder = Path(tempfile.mkdtemp(prefix="hubredis-"))
        self.log = self.folder / "log"
        command = [binary, "--bind", "127.0.0.1", "--port", str(self.port), "--appendonly", "yes", "--save", "",
                   "--maxmemory-policy", "noeviction", "--dir", str(self.folder)]  # fmt: skip
        with self.log.open("wb") as log:
            self.process = spawn(command, log, self.folder, signal.SIGTERM)
        try:
            wait_for_port(self.port, self.process, self.log)
        except BaseException:
            self.stop()
            raise
        return self

    def flush(self) -> None:
        """FLUSHALL: everything that the broker knew is gone."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as sock:
            sock.sendall(b"FLUSHALL\r\n")
            assert sock.recv(64).startswith(b"+OK")

    def stop(self) -> None:
        stop(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class MariaDB:
    """A MariaDB server in a folder of its own; user `hub` may do anything. Reached by ODBC (Debian's odbc-mariadb)."""

    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_hex(16))

    def start(self) -> MariaDB:
        binary, install = shutil.which("mariadbd", path="/usr/sbin:/usr/bin"), shutil.which("mariadb-install-db")
        if binary is None or install is None or not list(Path("/usr/lib").glob("*/odbc/libmaodbc.so")):
            raise NotInstalledError("MariaDB is not installed: apt-get install mariadb-server odbc-mariadb unixodbc")
        self.folder = Path(tempfile.mkdtemp(prefix="hubmaria-"))
        user = "mysql" if os.geteuid() == 0 else None
        data, init = self.folder / "data", self.folder / "init.sql"
        data.mkdir(mode=0o700)
        init.write_text(
            f"CREATE OR REPLACE USER hub@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
            "GRANT ALL ON *.* TO hub@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        if user:
            for path in (self.folder, data, init):
                shutil.chown(path, user)
        self.log = self.folder / "log"
        made = subprocess.run(
            [install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db",
             "--skip-name-resolve", *([f"--user={user}"] if user else [])],
            check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.folder, timeout=120,
        )  # fmt: skip
        if made.returncode:
            raise RuntimeError(
                f"mariadb-install-db ended with {made.returncode}:\n{made.stdout.decode(errors='replace')[-2000:]}"
            )
        command: list[str | Path] = [
            binary, "--no-defaults", f"--datadir={data}", "--bind-address=127.0.0.1", f"--port={self.port}",
            f"--socket={self.folder / 'sock'}", f"--init-file={init}", "--skip-name-resolve", "--skip-log-bin",
            "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M", "--character-set-server=utf8mb4",
            f"--pid-file={self.folder / 'pid'}",
        ]  # fmt: skip
        with self.log.open("wb") as log:
            self.process = spawn(command, log, self.folder, signal.SIGTERM, user)
        try:
            wait_for_port(self.port, self.process, self.log)
        except BaseException:
            self.stop()
            raise
        return self

    def odbc(self, database: str = "", **more: str) -> str:
        """A connection string; `more`: further keys of it."""
        parts = {"DRIVER": "{MariaDB Unicode}", "SERVER": "127.0.0.1", "PORT": str(self.port), "UID": "hub",
                 "PWD": self.password, **({"DATABASE": database} if database else {}), **more}  # fmt: skip
        return ";".join(f"{key}={value}" for key, value in parts.items())

    def stop(self) -> None:
        stop(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)
