"""What a simulated PACS holds: studies by their UID, what may be asked of them, and its log of changes."""

from __future__ import annotations

import fnmatch
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

# keyword -> (group, element, VR) of what is held and asked (PS3.4 C.6.2.1; PS3.6)
TAGS: Mapping[str, tuple[int, int, str]] = {
    "SpecificCharacterSet": (0x0008, 0x0005, "CS"),
    "StudyDate": (0x0008, 0x0020, "DA"),
    "StudyTime": (0x0008, 0x0030, "TM"),
    "AccessionNumber": (0x0008, 0x0050, "SH"),
    "QueryRetrieveLevel": (0x0008, 0x0052, "CS"),
    "ModalitiesInStudy": (0x0008, 0x0061, "CS"),
    "InstitutionName": (0x0008, 0x0080, "LO"),
    "ReferringPhysicianName": (0x0008, 0x0090, "PN"),
    "TimezoneOffsetFromUTC": (0x0008, 0x0201, "SH"),
    "StudyDescription": (0x0008, 0x1030, "LO"),
    "PatientName": (0x0010, 0x0010, "PN"),
    "PatientID": (0x0010, 0x0020, "LO"),
    "IssuerOfPatientID": (0x0010, 0x0021, "LO"),
    "PatientBirthDate": (0x0010, 0x0030, "DA"),
    "PatientSex": (0x0010, 0x0040, "CS"),
    "StudyInstanceUID": (0x0020, 0x000D, "UI"),
    "StudyID": (0x0020, 0x0010, "SH"),
    "NumberOfStudyRelatedSeries": (0x0020, 0x1206, "IS"),
    "NumberOfStudyRelatedInstances": (0x0020, 0x1208, "IS"),
}
KEYWORDS = {(group, element): keyword for keyword, (group, element, _) in TAGS.items()}
_ticks = itertools.count()
Study = Mapping[str, str]  # keyword -> text; many values stand apart by a backslash


class Change(NamedTuple):
    """One line of the log, as Orthanc keeps it (GET /changes)."""

    seq: int
    kind: str  # NewStudy, StableStudy, Deleted
    uid: str
    at: str  # when, as Orthanc writes it


class Archive:
    """Thread-safe. `studies`: by Study Instance UID."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.studies: dict[str, dict[str, str]] = {}
        self.changes: list[Change] = []
        self.crowd: Callable[[], Iterator[Study]] | None = None  # instead of what is held: as many as a test wants
        self._seq = 0
        self._stored: dict[str, dict[str, dict[str, str]]] = {}  # study -> series -> instance -> modality

    def put(self, study: Study) -> str:
        """A study is there from now on, or is another than before; its UID."""
        uid = study["StudyInstanceUID"]
        with self.lock:
            if uid not in self.studies:
                self._log("NewStudy", uid)
            self.studies[uid] = dict(study)
            self._log("StableStudy", uid)
        return uid

    def add(self, instance: Mapping[str, Any]) -> str:
        """An instance was stored: its study is there, with one series or instance more. `instance`: a row of its header."""
        uid = str(instance["StudyInstanceUID"])
        with self.lock:
            held = self._stored.setdefault(uid, {})
            held.setdefault(str(instance.get("SeriesInstanceUID", "")), {})[str(instance.get("SOPInstanceUID", ""))] = str(
                instance.get("Modality", "")
            )
            study = {key: str(value) for key, value in instance.items() if key in TAGS}
            modalities = {modality for one in held.values() for modality in one.values() if modality}
            counted = {"NumberOfStudyRelatedSeries": len(held), "NumberOfStudyRelatedInstances": sum(map(len, held.values()))}
            more = {"ModalitiesInStudy": "\\".join(sorted(modalities)), **{key: str(value) for key, value in counted.items()}}
            return self.put({**self.studies.get(uid, {}), **study, **more})

    def delete(self, uid: str) -> None:
        with self.lock:
            del self.studies[uid]
            self._log("Deleted", uid)

    def reset_log(self) -> None:
        """As after a new database: the studies are there, the numbers begin anew."""
        with self.lock:
            self.changes.clear()
            self._seq = 0
            for uid in self.studies:
                self._log("StableStudy", uid)

    def _log(self, kind: str, uid: str) -> None:
        self._seq += 1
        self.changes.append(Change(self._seq, kind, uid, f"{datetime.now(UTC):%Y%m%dT%H%M%S}.{next(_ticks)}"))

    def matching(self, keys: Mapping[str, str]) -> Iterator[Study]:
        """Those that match all keys that have a value (PS3.4 C.2.2.2): single value, list of UID, wildcard, range of dates."""
        if self.crowd is not None:
            return self.crowd()
        with self.lock:
            held = [dict(study) for study in self.studies.values()]
        wanted = {key: value for key, value in keys.items() if value and key in TAGS and key not in NOT_KEYS}
        return (study for study in held if all(_matches(study.get(key, ""), value, key) for key, value in wanted.items()))


NOT_KEYS = frozenset({"SpecificCharacterSet", "QueryRetrieveLevel", "TimezoneOffsetFromUTC"})


def _matches(held: str, asked: str, key: str) -> bool:
    if TAGS[key][2] == "DA" and "-" in asked:
        first, _, last = asked.partition("-")
        return bool(held) and (not first or held >= first) and (not last or held <= last)
    asked_values = asked.split("\\")
    return any(fnmatch.fnmatchcase(one, wanted) for one in held.split("\\") for wanted in asked_values)


def as_json(study: Study, charset: str = "ISO_IR 192") -> dict[str, Any]:
    """PS3.18 F: tags as names, values in lists, names of people by their groups."""
    found: dict[str, Any] = {"00080005": {"vr": "CS", "Value": [charset]}}
    for keyword, text in study.items():
        group, element, vr = TAGS[keyword]
        values: list[Any] = text.split("\\") if text else []
        if vr == "IS":
            values = [int(value) for value in values]
        elif vr == "PN":
            names = ("Alphabetic", "Ideographic", "Phonetic")
            values = [{name: part for name, part in zip(names, value.split("="), strict=False) if part} for value in values]
        found[f"{group:04X}{element:04X}"] = {"vr": vr, **({"Value": values} if values else {})}
    return found
