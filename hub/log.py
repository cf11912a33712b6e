"""Logging: one line an event to stderr, JSON or for people, and never a patient.

Only the fields of `FIELDS` are printed: a field that nobody allowed cannot carry a name or a phone number into a log file.
Texts of messages are written by us; tracebacks are printed without the exception's own text unless it is one of ours
(see hub/domain/errors.py: `str(error)` is free of patient data), because a driver's error may quote the row.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

# What may stand beside a message: names of ours, ids of rows, counts, times, codes.
FIELDS = frozenset({
    "channel", "message_id", "change_id", "bucket", "state", "outcome", "event", "code", "reason", "role", "pid", "attempt",
    "count", "bytes", "seconds", "rate", "peer", "port", "host", "path", "address", "method", "status", "request_id",
    "token_name",
    "adapter", "database", "version", "size", "kind", "worker", "signal", "file", "line", "listener", "connections", "due",
    "until",
})  # fmt: skip
# Libraries that log URLs, headers or SQL parameters at INFO or DEBUG.
QUIET = (
    "httpx", "httpcore", "uvicorn", "sqlalchemy.engine", "sqlalchemy.pool", "psycopg", "celery.redirected",
    "celery.worker.strategy", "kombu", "amqp", "redis", "asyncio", "hl7apy", "alembic", "multipart",
    "python_multipart",
)  # fmt: skip
OURS = "hub."
LEVEL, FORMAT = "HUB_LOG_LEVEL", "HUB_LOG_FORMAT"  # environment: child processes write as `hub run` was told to
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def setup(level: str = "INFO", form: Literal["human", "json"] = "human") -> None:
    """Send every log line to stderr in `form`; call once a process. `level` is a name of logging: INFO, DEBUG …"""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else HumanFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.raiseExceptions = False  # a failing log call would print its arguments
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def setup_child() -> None:
    """The same in a process that does not read the options of `hub run`: a Celery worker."""
    form: Literal["human", "json"] = "json" if os.environ.get(FORMAT) == "json" else "human"
    setup(os.environ.get(LEVEL) or "INFO", form)


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """The last words of a process or thread, without the text of a foreign exception."""
    if error is not None and not issubclass(kind, KeyboardInterrupt | SystemExit):
        get("hub").critical("stopped by an error that nobody foresaw", exc_info=(kind, error, trace))


def get(name: str) -> logging.Logger:
    """The logger of a module; pass fields as `extra={"channel": "ocs-in"}`."""
    return logging.getLogger(name)


def allowed(record: logging.LogRecord) -> dict[str, Any]:
    """The extra fields of `record` that may be printed."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD and key in FIELDS and value is not None}


def describe(record: logging.LogRecord) -> str:
    """Class and place of the record's exception, innermost frame last; its text only where the class is ours."""
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    error = record.exc_info[1]
    frames = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)]
    text = f": {error}" if type(error).__module__.startswith(OURS) else ""
    return f"{type(error).__module__}.{type(error).__qualname__}{text} at {' > '.join(frames[-8:])}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at (ISO 8601, UTC), level, logger, text, then the allowed fields."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        line: dict[str, Any] = {"at": at, "level": record.levelname, "logger": record.name, "text": record.getMessage()}
        line.update(allowed(record))
        if error := describe(record):
            line["error"] = error
        return json.dumps(line, ensure_ascii=False, default=str)


class HumanFormatter(logging.Formatter):
    """`12:34:56 WARNING ocs-in refused the connection  channel=ocs-in count=3`."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={value}" for key, value in allowed(record).items())
        error = describe(record)
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        return (
            f"{at} {record.levelname:<7} {record.getMessage()}"
            + (f" {fields}" if fields else "")
            + (f"\n  {error}" if error else "")
        )
