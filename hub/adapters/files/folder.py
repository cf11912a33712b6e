"""One drop folder: which files are whole, claiming by rename, and where they end. Knows nothing of what is in them.

    NAME            as it was dropped
    working/NAME    claimed: renamed, and locked (flock) by who reads it, so that two hubs never read one file
    done/NAME       read to its end
    error/NAME      could not be read at all; error/NAME.reason says why

A process that dies leaves its file in working/ without a lock: whoever comes next reads it again.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import BufferedReader
from pathlib import Path

from hub.adapters.files.settings import FolderSettings
from hub.domain.errors import Misconfigured

WORKING, DONE, ERROR, REASON = "working", "done", "error", ".reason"
DAY = 86400.0
SWEEP_SECONDS = 600.0
Stamp = tuple[int, int, int]  # inode, size, time of the last change: equal as long as nobody wrote


@dataclass(slots=True)
class Claimed:
    """A file in working/, open and locked."""

    name: str
    path: Path
    handle: BufferedReader
    stamp: Stamp

    def untouched(self) -> bool:
        """Whether its writer really was done with it."""
        return _stamp(os.fstat(self.handle.fileno())) == self.stamp

    def release(self) -> None:
        """Stays in working/; closing gives the lock back."""
        self.handle.close()


class Folder:
    """Every OSError of the folder itself (permission, full disk, share gone) comes out as Misconfigured, once per call."""

    def __init__(self, settings: FolderSettings) -> None:
        self._settings = settings
        self._root = settings.folder
        self._seen: dict[str, tuple[Stamp, float]] = {}  # since when a file has not changed
        self._swept = -SWEEP_SECONDS

    def prepare(self) -> None:
        """Makes working, done and error. The folder itself must be there: a share that is not mounted is no empty folder."""
        try:
            if not self._root.is_dir():
                raise Misconfigured("the drop folder is not there", code="no_folder")
            for name in (WORKING, DONE, ERROR):
                (self._root / name).mkdir(exist_ok=True)
        except OSError as error:
            raise trouble("make working, done and error in the drop folder", error) from None
        self._sweep()

    def look(self) -> int:
        """How many files are there to be taken, whole or not yet. Raises Misconfigured where the hub could take none."""
        if not self._root.is_dir():
            raise Misconfigured(f"there is no folder {self._root}; make it, writable for the hub", code="no_folder")
        if not os.access(self._root, os.R_OK | os.W_OK | os.X_OK):
            raise Misconfigured(f"the hub may not write in {self._root}; it renames files there", code="no_folder")
        return len(list(self._names(self._root, left_over=False)))

    # -- claiming -------------------------------------------------------------------------------------------------

    def claimed(self) -> Iterator[Claimed]:
        """Files to be read, one after the other: what a dead process left in working/ first, then what is ready."""
        for name in self._names(self._root / WORKING, left_over=True):
            found = self._open(self._root / WORKING / name)
            if found is not None:
                yield found
        for name in self._ready():
            found = self._claim(name)
            if found is not None:
                yield found

    def _names(self, folder: Path, *, left_over: bool) -> list[str]:
        """Regular files, in order."""
        found: list[tuple[float, str, Stamp]] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not left_over and not self._wanted(entry.name):
                        continue
                    with suppress(FileNotFoundError):  # another hub was faster
                        about = entry.stat(follow_symlinks=False)
                        if stat.S_ISREG(about.st_mode):
                            found.append((about.st_mtime if self._settings.order == "time" else 0.0, entry.name, _stamp(about)))
        except OSError as error:
            raise trouble("list the drop folder", error) from None
        if not left_over:
            self._remember({name: stamp for _, name, stamp in found})
        elif self._settings.ready == "marker":
            return [name for _, name, _ in sorted(found) if not self._finish_marker(name)]
        return [name for _, name, _ in sorted(found)]

    def _wanted(self, name: str) -> bool:
        settings = self._settings
        if any(fnmatchcase(name, pattern) for pattern in settings.ignore):
            return False
        if settings.ready == "marker" and name.endswith(settings.marker_suffixes):
            return False
        return any(fnmatchcase(name, pattern) for pattern in settings.pattern)

    def _remember(self, stamps: dict[str, Stamp]) -> None:
        now = time.monotonic()  # ours: the clock of a file server may be any
        before = self._seen
        self._seen = {
            name: before[name] if name in before and before[name][0] == stamp else (stamp, now) for name, stamp in stamps.items()
        }

    def _ready(self) -> list[str]:
        names = self._names(self._root, left_over=False)
        ready = self._settings.ready
        if ready == "marker":
            return [name for name in names if self._marker(name) is not None]
        if ready == "rename":
            return names
        until = time.monotonic() - self._settings.quiet_seconds
        return [name for name in names if self._seen[name][1] <= until]

    def _marker(self, name: str) -> Path | None:
        return next((self._root / found for found in sorted(self._companions(name)) if (self._root / found).is_file()), None)

    def _finish_marker(self, name: str) -> bool:
        """A marker in working/ whose file has not been claimed yet: the process died between the two renames."""
        if not name.endswith(self._settings.marker_suffixes):
            return False
        marker = self._root / WORKING / name
        claimed = {entry.name for entry in os.scandir(self._root / WORKING)}
        if not any(name in self._companions(other) for other in claimed):
            for dropped in self._names(self._root, left_over=False):
                if name in self._companions(dropped):
                    found = self._open(self._root / dropped)
                    if found is not None:  # else another hub is about to claim it
                        marker.rename(self._root / name)  # back to where it was: claimed anew, both of them
                        found.release()
                    return True
        marker.unlink(missing_ok=True)
        return True

    def _companions(self, name: str) -> set[str]:
        """NAME.csv.done and NAME.done say that NAME.csv is whole."""
        return {found for s in self._settings.marker_suffixes for found in (name + s, Path(name).with_suffix(s).name)} - {name}

    def _claim(self, name: str) -> Claimed | None:
        """By two steps that another hub cannot take too: a lock on the file, and the rename."""
        source, target = self._root / name, self._root / WORKING / name
        if target.exists():
            return None  # one of that name is being read: this one waits
        found = self._open(source)
        if found is None:
            return None
        try:
            marker = self._marker(name) if self._settings.ready == "marker" else None
            if marker is not None:  # first: a marker that stays behind would make the next file of that name look whole
                os.rename(marker, self._root / WORKING / marker.name)
            os.rename(source, target)
            if marker is not None:
                (self._root / WORKING / marker.name).unlink(missing_ok=True)
        except FileNotFoundError:
            found.release()
            return None
        except OSError as error:
            found.release()
            raise trouble("claim a file by renaming it into working", error) from None
        self._seen.pop(name, None)
        found.path = target
        return found

    def _open(self, path: Path) -> Claimed | None:
        """Open and locked; None where another hub has it, or has ended it meanwhile."""
        try:
            handle = _opened(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise trouble("read a file of the drop folder", error) from None
        try:
            fcntl.flock(handle.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            about = os.fstat(handle.fileno())
            if os.stat(path, follow_symlinks=False).st_ino == about.st_ino:
                return Claimed(path.name, path, handle, _stamp(about))
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError as error:
            handle.close()
            raise trouble("lock a file of the drop folder", error) from None
        handle.close()
        return None

    # -- ending ---------------------------------------------------------------------------------------------------

    def done(self, file: Claimed, notes: str = "") -> None:
        """Read to its end. `notes`: what was wrong with parts of it."""
        try:
            if self._settings.done_days == 0:
                file.path.unlink(missing_ok=True)
            else:
                self._move(file, DONE, notes)
        except OSError as error:
            raise trouble("move a file to done", error) from None
        finally:
            file.release()

    def failed(self, file: Claimed, reason: str) -> None:
        """Of no use to anybody but a person."""
        try:
            self._move(file, ERROR, reason)
        except OSError as error:
            raise trouble("move a file to error", error) from None
        finally:
            file.release()

    def _move(self, file: Claimed, where: str, reason: str) -> None:
        """The reason first: a file in error/ without one would be a riddle."""
        target, n = self._root / where / file.name, 1
        while target.exists():
            n += 1
            target = self._root / where / f"{file.name}~{n}"
        if reason:
            target.with_name(target.name + REASON).write_text(reason + "\n", encoding="utf-8")
        os.rename(file.path, target)
        with suppress(OSError):  # not ours to touch: then its own time counts
            os.utime(file.handle.fileno())  # done_days count from here; in working/ it would look like another file

    def _sweep(self) -> None:
        """Deletes what was done long ago: the files hold patients' data in the clear."""
        if time.monotonic() - self._swept < SWEEP_SECONDS:
            return
        self._swept = time.monotonic()
        before = time.time() - self._settings.done_days * DAY
        try:
            for path in (self._root / DONE).iterdir():
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < before:
                        path.unlink()
        except OSError as error:
            raise trouble("delete old files in done", error) from None


def trouble(what: str, error: OSError) -> Misconfigured:
    """Without the file's name: names of files hold patient numbers."""
    return Misconfigured(f"cannot {what} ({error.strerror or type(error).__name__})", code="folder")


def _opened(path: Path) -> BufferedReader:
    """For writing where that is allowed: on NFS an exclusive lock needs it (flock(2)). A pipe is not waited for."""
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        number = os.open(path, os.O_RDWR | flags)
    except PermissionError:
        number = os.open(path, os.O_RDONLY | flags)
    return os.fdopen(number, "rb")


def _stamp(about: os.stat_result) -> Stamp:
    return about.st_ino, about.st_size, about.st_mtime_ns
