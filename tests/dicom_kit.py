"""dcmtk's command line tools as functions, and small DICOM files for tests: peers that are not ours (Debian's dcmtk)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from tests import servers

OURS = "TEST"  # the AE title that the tools call themselves by
WAIT = 60.0  # seconds for one tool to end


@dataclass(frozen=True)
class Told:
    """What a tool said: its exit code, and what it printed (both streams)."""

    code: int
    text: str

    @property
    def ok(self) -> bool:
        return self.code == 0


def run(tool: str, *arguments: str | Path, cwd: Path | None = None) -> Told:
    """Runs one of dcmtk's tools. Raises NotInstalledError where it is not there."""
    binary = shutil.which(tool, path="/usr/bin:/usr/local/bin")  # a virtual environment has pynetdicom's of the same names
    if binary is None:
        raise servers.NotInstalledError("dcmtk is not installed: apt-get install dcmtk")
    environment = {**os.environ, "TCP_NODELAY": "1"}
    done = subprocess.run([binary, *arguments], capture_output=True, timeout=WAIT, cwd=cwd, env=environment, check=False)
    return Told(done.returncode, (done.stdout + done.stderr).decode("utf-8", errors="replace"))


def echoscu(port: int, called: str, *more: str | Path, calling: str = OURS) -> Told:
    """C-ECHO; `ok` only where the answer was success. `more`: further options, as of TLS."""
    return run("echoscu", "-v", "-aet", calling, "-aec", called, *more, "127.0.0.1", str(port))


def storescu(port: int, called: str, files: Iterable[Path], *more: str | Path, calling: str = OURS) -> Told:
    """C-STORE of each file in one association; `ok` only where all were taken (+sd: files may be folders)."""
    return run("storescu", "-v", "-aet", calling, "-aec", called, "+sd", *more, "127.0.0.1", str(port), *files)


def findscu(
    port: int, called: str, keys: Mapping[str, str], folder: Path, *more: str | Path, model: str = "-W", calling: str = OURS
) -> list[Dataset]:
    """C-FIND; the answers, which the tool writes into `folder` (which must be empty). `model`: -W worklist, -S study root.

    `keys`: by keyword, or dcmtk's path as `ScheduledProcedureStepSequence[0].Modality`. Raises RuntimeError where it failed.
    """
    wanted = [part for name, value in keys.items() for part in ("-k", f"{name}={value}")]
    told = run("findscu", "-v", "-X", "-aet", calling, "-aec", called, model, *wanted, *more, "127.0.0.1", str(port), cwd=folder)
    if not told.ok:
        raise RuntimeError(f"findscu ended with {told.code}:\n{told.text[-2000:]}")
    return [dcmread(path, force=True) for path in sorted(folder.glob("rsp*.dcm"))]


def dump2dcm(lines: Iterable[str], path: Path, encoding: str = "utf-8") -> Path:
    """A DICOM file (or, by its suffix, a worklist file) from lines as `(0010,0010) PN [홍길동]`."""
    source = path.with_suffix(".dump")
    source.write_bytes("\n".join([*lines, ""]).encode(encoding))
    told = run("dump2dcm", source, path)
    if not told.ok:
        raise RuntimeError(f"dump2dcm ended with {told.code}:\n{told.text[-2000:]}")
    source.unlink()
    return path


def image(path: Path, *, pixels: int = 16, **elements: Any) -> Path:
    """A file of `image_set`; its path."""
    image_set(pixels=pixels, **elements).save_as(path, enforce_file_format=True)
    return path


def image_set(*, pixels: int = 16, **elements: Any) -> Dataset:
    """A CT image of `pixels` by `pixels`, in ISO_IR 192 where `elements` (by keyword) say no other."""
    data = Dataset()
    said = {
        "SpecificCharacterSet": "ISO_IR 192", "SOPClassUID": CTImageStorage, "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(), "Modality": "CT", "PatientName": "Hong^Gildong",
        "PatientID": "1", "StudyDate": "20260301", "StudyTime": "101500", "AccessionNumber": "", "StudyID": "1",
        "SeriesNumber": "1", "InstanceNumber": "1", "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels, "Columns": pixels, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0,
        "PixelData": bytes(2 * pixels * pixels),
    } | elements  # fmt: skip
    for keyword, value in said.items():
        setattr(data, keyword, value)
    data.file_meta = meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return data
