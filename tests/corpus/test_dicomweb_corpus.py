"""What dicomweb-client's tests hold as answers of DICOMweb servers, and pydicom's DICOM JSON: read as pydicom reads it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pydicom
import pytest

from hub.codecs.dicom import columns, json
from hub.codecs.dicom.columns import LISTS

pytestmark = pytest.mark.corpus
FILES = {"retrieve_instance_metadata.json", "search_for_instances.json", "search_for_series.json", "search_for_studies.json",
         "search_for_studies_limit-2_offset-1.json"}  # fmt: skip


def theirs(document: Any, known: columns.Columns) -> dict[str, Any]:
    """The row as pydicom's data set gives it."""
    data = pydicom.Dataset.from_json(dict(document), lambda *_: "")
    made: dict[str, Any] = {}
    for tag, column in known.items():
        value = data[tag].value if tag in data else None
        values = list(value) if isinstance(value, pydicom.multival.MultiValue) else [value]
        plain = [int(one) if column.vr == "IS" else str(one).rstrip("=") for one in values if one not in (None, "")]
        if plain:
            made[column.keyword] = plain if len(plain) > 1 or column.keyword in LISTS else plain[0]
    return made


def test_every_answer_is_read_as_pydicom_reads_it(corpus: Path) -> None:
    warnings.simplefilter("ignore")
    found = sorted((corpus / "dicom" / "dicomweb-client").glob("*.json"))
    assert {path.name for path in found} == FILES
    count = 0
    for path in [*found, *(corpus / "dicom" / "pydicom").glob("test*.json")]:
        for document in json.documents(path.read_bytes()):
            for known in (columns.study(), columns.instance()):
                assert json.row(document, known) == theirs(document, known), path.name
            count += 1
    assert count > 10


def test_a_search_for_studies_gives_studies(corpus: Path) -> None:
    rows = [json.row(one, columns.study()) for one in
            json.documents((corpus / "dicom" / "dicomweb-client" / "search_for_studies.json").read_bytes())]  # fmt: skip
    assert all(row["ModalitiesInStudy"] == ["SM"] and row["NumberOfStudyRelatedSeries"] == 1 for row in rows)
    assert len({row["StudyInstanceUID"] for row in rows}) == len(rows)
