"""A simulated PACS by HTTP: QIDO-RS as DICOMweb has it, and the REST API of Orthanc as far as one asks it for studies."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from hub.simulator.http_peer import Request, response
from hub.simulator.pacs_archive import KEYWORDS, TAGS, Archive, Study, as_json
from hub.simulator.rest import RestPeer

PATIENT = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex")


class PacsWebPeer(RestPeer):
    """`archive`: what it holds; `received`: (method, target) of each question. QIDO-RS is below /dicom-web, Orthanc at /."""

    path = ""

    def __init__(self, *, archive: Archive | None = None, **where: Any) -> None:
        super().__init__(**where)
        self.archive = archive or Archive()
        self.most = 1000  # studies of one page, whatever is asked for
        self.offsets = True  # False: it gives everything, whatever offset is asked for

    @property
    def dicomweb(self) -> str:
        """The root of QIDO-RS."""
        return f"{self.url}/dicom-web"

    def tell(self, study: Study) -> str:
        return self.archive.put(study)

    def writes(self, request: Request) -> bool:  # noqa: ARG002 - the peers' shape: nobody changes anything here
        return False

    def answer(self, request: Request) -> bytes:
        if self.status is not None:
            return response(self.status, b"as asked")
        self.received.append((request.method, request.target))
        parts = urlsplit(request.target)
        query = parse_qs(parts.query, keep_blank_values=True)
        path = parts.path.strip("/").split("/")
        if path == ["dicom-web", "studies"]:
            return self._qido(query)
        with self.archive.lock:
            found = self._orthanc(request, path, query)
        return response(404) if found is None else _json(found)

    # -- QIDO-RS --------------------------------------------------------------------------------------------------

    def _qido(self, query: dict[str, list[str]]) -> bytes:
        keys = {name: values[0] for name, values in query.items() if name in TAGS}
        wanted = {KEYWORDS.get((int(tag[:4], 16), int(tag[4:], 16)), "") for tag in query.get("includefield", [])}
        first, count = int(query.get("offset", ["0"])[0]), min(int(query.get("limit", ["1000"])[0]), self.most)
        found = list(self.archive.matching(keys))
        page = found[first : first + count] if self.offsets else found
        body = [as_json({key: value for key, value in study.items() if key in wanted or value}) for study in page]
        if not body:
            return response(204)
        return response(200, json.dumps(body).encode(), {"Content-Type": "application/dicom+json"})

    # -- Orthanc --------------------------------------------------------------------------------------------------

    def _orthanc(self, request: Request, path: list[str], query: dict[str, list[str]]) -> Any:
        if path == ["changes"]:
            return self._changes(query)
        if path == ["statistics"]:
            return {"CountStudies": len(self.archive.studies)}
        if path == ["system"]:
            return {"Version": "1.10.1", "Name": "Simulated", "ApiVersion": 16}
        if path == ["studies"]:
            first, count = int(query.get("since", ["0"])[0]), int(query.get("limit", ["100"])[0])
            return [_study(one) for one in list(self.archive.studies.values())[first : first + count]]
        if path == ["tools", "find"]:
            asked = json.loads(request.body)["Query"]
            return [_study(one) for one in self.archive.matching(asked)]
        by_id = {_id(uid): study for uid, study in self.archive.studies.items()}
        study = by_id.get(path[1]) if path[0] == "studies" and len(path) > 1 else None
        if study is None:
            return None
        return _study(study) if len(path) == 2 else _series(study)

    def _changes(self, query: dict[str, list[str]]) -> Any:
        since, count = int(query.get("since", ["0"])[0]), int(query.get("limit", ["100"])[0])
        # Orthanc drops from its log what it does not have any more
        log = [one for one in self.archive.changes if one.uid in self.archive.studies and one.kind != "Deleted"]
        behind = [one for one in log if one.seq > since]
        page = behind[:count]
        last = page[-1].seq if page else max((one.seq for one in self.archive.changes), default=0)
        entries = [
            {"ChangeType": one.kind, "Date": one.at, "ID": _id(one.uid), "Path": f"/studies/{_id(one.uid)}",
             "ResourceType": "Study", "Seq": one.seq}
            for one in page
        ]  # fmt: skip
        return {"Changes": entries, "Done": len(behind) <= count, "Last": last}


def _id(uid: str) -> str:
    digest = hashlib.sha1(uid.encode(), usedforsecurity=False).hexdigest()
    return "-".join(digest[at : at + 8] for at in range(0, 40, 8))


def _study(study: Study) -> dict[str, Any]:
    own = {name: value for name, value in study.items() if name not in PATIENT and name != "ModalitiesInStudy"}
    return {
        "ID": _id(study["StudyInstanceUID"]), "IsStable": True, "MainDicomTags": own, "Type": "Study",
        "PatientMainDicomTags": {name: study[name] for name in PATIENT if name in study}, "Series": [],
    }  # fmt: skip


def _series(study: Study) -> list[dict[str, Any]]:
    modalities = study.get("ModalitiesInStudy", "").split("\\")
    return [{"ID": f"{n}", "Instances": ["1", "2"], "MainDicomTags": {"Modality": one}} for n, one in enumerate(modalities)]


def _json(document: Any) -> bytes:
    return response(200, json.dumps(document).encode(), {"Content-Type": "application/json"})
