"""A PACS that is not ours, Orthanc with DICOMweb and worklists, and dcmtk's worklist server: both from Debian's packages."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.simulator.certificates import Authority
from tests.servers.process import NotInstalledError, free_port, spawn, stop, wait_for_port

PLUGINS = Path("/usr/share/orthanc/plugins")


@dataclass
class Orthanc:
    """A PACS in a folder of its own. Anybody may C-ECHO and C-STORE; C-FIND is for the AE titles that it `knows`.

    It checks the AE title that it is called by. Worklist files (`*.wl`) go into `worklists`. `stable_seconds`: so long after
    the last instance a study counts as stable in /changes. Its DICOM port listens on every address: it cannot be bound.
    """

    aet: str = "ORTHANC"
    modalities: Mapping[str, int] = field(default_factory=dict)  # AE title -> port on 127.0.0.1, as if `knows` was called
    encoding: str = "Utf8"  # character set of C-FIND's answers, and of files that name none; "Korean": ISO 2022 IR 149
    stable_seconds: int = 1
    authority: Authority | None = (
        None  # whose certificates it shows: DICOM over TLS. Debian's build dies of its first HTTPS request
    )
    clients: bool = False  # with an authority: its peers show a certificate, too
    users: Mapping[str, str] = field(default_factory=dict)  # name -> password of the HTTP side; none: nobody logs in
    port: int = field(default_factory=free_port)  # DICOM
    http_port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        """The REST API: /changes, /studies, /tools/find."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb(self) -> str:
        """The root of QIDO-RS, STOW-RS and WADO-RS."""
        return f"{self.url}/dicom-web"

    @property
    def worklists(self) -> Path:
        return self.folder / "worklists"

    def start(self) -> Orthanc:
        binary = shutil.which("Orthanc", path="/usr/sbin:/usr/bin")
        plugins = [PLUGINS / f"lib{name}.so" for name in ("OrthancDicomWeb", "ModalityWorklists")]
        if binary is None or not all(plugin.exists() for plugin in plugins):
            raise NotInstalledError("Orthanc is not installed: apt-get install orthanc orthanc-dicomweb")
        self.folder = Path(tempfile.mkdtemp(prefix="huborthanc-"))
        self.worklists.mkdir()
        self.log, config = self.folder / "log", self.folder / "orthanc.json"
        config.write_text(json.dumps(self._config(plugins)), encoding="utf-8")
        with self.log.open("wb") as log:
            # without TCP_NODELAY each small answer waits for the peer's delayed acknowledgement: 87 ms a C-STORE instead of 3
            self.process = spawn([binary, config], log, self.folder, environment={"TCP_NODELAY": "1"})
        try:
            for port in (self.http_port, self.port):
                wait_for_port(port, self.process, self.log)
        except BaseException:
            self.stop()
            raise
        return self

    def _config(self, plugins: list[Path]) -> dict[str, Any]:
        return {
            "Name": self.aet,
            "StorageDirectory": str(self.folder / "db"),
            "IndexDirectory": str(self.folder / "db"),
            "Plugins": [str(plugin) for plugin in plugins],
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": bool(self.users),
            "RegisteredUsers": dict(self.users),
            "HttpPort": self.http_port,
            "HttpVerbose": False,
            "KeepAlive": True,
            "TcpNoDelay": True,
            "DicomAet": self.aet,
            "DicomPort": self.port,
            "DicomCheckCalledAet": True,
            "DicomCheckModalityHost": False,
            "DicomModalities": {aet: _modality(aet, port, self.authority) for aet, port in self.modalities.items()},
            "DefaultEncoding": self.encoding,
            "StableAge": self.stable_seconds,
            "OverwriteInstances": False,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True, "StudiesMetadata": "Full"},
            "Worklists": {"Enable": True, "Database": str(self.worklists), "FilterIssuerAet": False},
            **self._tls(),
        }

    def _tls(self) -> dict[str, Any]:
        if self.authority is None:
            return {}
        certificate, key = self.authority.issue("127.0.0.1")
        files = {"certificate.pem": certificate, "key.pem": key, "ca.pem": self.authority.pem}
        for name, content in files.items():
            (self.folder / name).touch(mode=0o600)
            (self.folder / name).write_bytes(content)
        return {
            "DicomTlsEnabled": True,
            "DicomTlsCertificate": str(self.folder / "certificate.pem"),
            "DicomTlsPrivateKey": str(self.folder / "key.pem"),
            "DicomTlsTrustedCertificates": str(self.folder / "ca.pem"),
            "DicomTlsRemoteCertificateRequired": self.clients,
        }

    def knows(self, aet: str, port: int = 104) -> None:
        """From now on that AE may C-FIND here, and can be sent to by name (POST /modalities/{aet}/store)."""
        import httpx  # the rest of this package serves without it

        auth = next(iter(self.users.items()), None)
        answer = httpx.put(f"{self.url}/modalities/{aet}", json=_modality(aet, port, self.authority), auth=auth)
        answer.raise_for_status()

    def stop(self) -> None:
        stop(self.process, signal.SIGKILL)  # it takes 2-3 s to end by itself, and its folder goes anyway
        shutil.rmtree(self.folder, ignore_errors=True)


def _modality(aet: str, port: int, authority: Authority | None) -> dict[str, Any]:
    return {"AET": aet, "Host": "127.0.0.1", "Port": port, "Manufacturer": "Generic", "UseDicomTls": authority is not None}


@dataclass
class Wlmscpfs:
    """dcmtk's worklist server: answers from the `*.wl` files in `worklists`, in the character set of each file (-csk).

    One association after the other, so that it can be stopped by one pid.
    """

    aet: str = "WLM"
    port: int = field(default_factory=free_port)

    @property
    def worklists(self) -> Path:
        """Where its files go: it finds the folder by the AE title that it is called by."""
        return self.folder / "data" / self.aet

    def start(self) -> Wlmscpfs:
        binary = shutil.which("wlmscpfs")
        if binary is None:
            raise NotInstalledError("dcmtk is not installed: apt-get install dcmtk")
        self.folder = Path(tempfile.mkdtemp(prefix="hubwlm-"))
        self.worklists.mkdir(parents=True)
        (self.worklists / "lockfile").touch()
        self.log = self.folder / "log"
        command: list[str | Path] = [binary, "-s", "-v", "-csk", "-dfr", "-dhl", "-dfp", self.folder / "data", str(self.port)]
        with self.log.open("wb") as log:
            self.process = spawn(command, log, self.folder, environment={"TCP_NODELAY": "1"})
        try:
            wait_for_port(self.port, self.process, self.log)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        stop(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)
