"""Messages as they were received, a file each, in a folder that somebody empties: never half a file, never one twice.

    .sending/NAME        being written; the receiver looks for files of the folder itself and sees none of it
    .sending/NAME.sent   an empty mark, made when NAME is whole on the disk, before it gets its place
    NAME                 by rename: there at once, and whole

A worker may die between any two of these steps. The mark without the file beside it says that the rename was done: then nothing
is written again, even where the receiver has taken the file long ago. NAME is made of the message's number and its bytes and
holds nothing of a patient.
"""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

import errno
import os
import threading
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.adapters.raw import recode
from hub.adapters.settings import read_table, wrong
from hub.config import option
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown
from hub.domain.ports import MESSAGE, Delivered, Manifest, Outbound

MANIFEST = Manifest(
    name="raw.folder_out",
    title="Messages as they came, a file each",
    direction="out",
    system="ocs",
    protocol="files",
    handles=(MESSAGE,),
)
SENDING, SENT = ".sending", ".sent"
MARK_SECONDS = 30 * 86400.0  # no worker takes up a message again after so long
SWEEP_SECONDS = 3600.0
NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@dataclass(frozen=True, slots=True)
class Settings:
    """Where files are put."""

    folder: Path = option(doc="where files are put; .sending is made in it, on the same file system")
    suffix: str = option(".hl7", doc="what their names end with: what the receiver looks for")
    charset: str = option("", doc=recode.OPTION)

    def __post_init__(self) -> None:
        recode.check(self.charset)
        if "/" in self.suffix or not self.suffix.isprintable() or self.suffix == SENT:
            raise wrong(f'suffix "{self.suffix}" is no end of a name', 'write ".hl7"')

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table. Raises Misconfigured."""
        return read_table(cls, table)


class Box:
    """The folder. Thread-safe: no two messages have one name, and a lane has one message on its way."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sending = folder / SENDING
        self._swept = 0.0
        self._guard = threading.Lock()

    def put(self, name: str, body: bytes) -> str:
        """The file in its place, once; what was done. Raises one of the four errors, with the bytes."""
        part, mark = self._sending / name, self._sending / (name + SENT)
        try:
            self._prepare()
            if mark.exists():
                if not part.exists():
                    return "was there before"
            else:
                _write(part, body)
                _write(mark, b"")
                _sync(self._sending)
        except OSError as error:
            raise _with(_named(error), body) from None
        except HubError as error:
            raise _with(error, body) from None
        self._place(part, self._folder / name, body)
        return "written"

    def _place(self, part: Path, target: Path, body: bytes) -> None:
        try:
            os.rename(part, target)
            _sync(self._folder)
            _sync(self._sending)
        except OSError as error:
            raise _with(OutcomeUnknown(f"the file may be in its place ({_said(error)})", code="rename"), body) from None

    def ping(self) -> str:
        """Looks at the folder; writes nothing."""
        try:
            self._there()
            if not os.access(self._folder, os.W_OK | os.X_OK):
                raise Misconfigured("the folder is not writable for the hub", code="folder")
        except OSError as error:
            raise _named(error) from None
        return "the folder is there and writable"

    def _there(self) -> None:
        """A share that is not mounted is no empty folder: nothing is made in its place."""
        if not self._folder.is_dir():
            raise NotDelivered("the folder is not there", code="no_folder", reached=False)

    def _prepare(self) -> None:
        self._there()
        self._sending.mkdir(mode=0o700, exist_ok=True)
        with self._guard:
            if time.monotonic() - self._swept < SWEEP_SECONDS and self._swept:
                return
            self._swept = time.monotonic()
        before = time.time() - MARK_SECONDS
        for mark in self._sending.glob("*" + SENT):
            with suppress(FileNotFoundError):
                if mark.stat().st_mtime < before:
                    mark.unlink()


class FolderTarget:
    """A file a message."""

    resend_is_safe = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._box = Box(settings.folder)

    def send(self, message: Outbound) -> Delivered:
        body = recode.in_charset(message, self._settings.charset)
        name = f"{message.message_id:012d}-{zlib.crc32(body):08x}{self._settings.suffix}"
        return Delivered(sent=body, detail=self._box.put(name, body))

    def find(self, message: Outbound) -> Delivered | None:  # noqa: ARG002 - the port's signature
        """Never asked: `resend_is_safe`, as the mark tells a repetition."""
        return None

    def ping(self) -> str:
        return self._box.ping()

    def close(self) -> None:
        """Nothing is kept open."""


def _write(path: Path, body: bytes) -> None:
    """Whole and on the disk."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    with os.fdopen(number, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(number)


def _sync(folder: Path) -> None:
    """A name is on the disk when its folder is (fsync(2))."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _said(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _named(error: OSError) -> HubError:
    """Before the rename nothing is where a receiver looks."""
    if error.errno in NOT_ALLOWED:
        return Misconfigured(f"the hub may not write into the folder ({_said(error)})", code="folder")
    return NotDelivered(f"the file could not be written ({_said(error)})", code="folder", reached=False)


def _with(error: HubError, body: bytes) -> HubError:
    error.sent = body
    return error


def build(settings: Settings) -> FolderTarget:
    """The channel's target; looks at the folder only when it writes."""
    return FolderTarget(settings)
