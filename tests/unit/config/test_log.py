"""What a log line may hold: our text, allowed fields, the class and place of an error; never a foreign error's text."""

from __future__ import annotations

import json
import logging
import sys

from hub import log, metrics
from hub.domain.errors import NotFound

PLANTED = "홍길동 010-1234-5678"


def record(error: BaseException | None = None, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("hub.sync", logging.WARNING, "x.py", 1, "not delivered", None, None)
    vars(made).update(extra)
    if error is not None:
        try:
            raise error
        except type(error):
            made.exc_info = sys.exc_info()
    return made


def test_allowed_fields_only() -> None:
    line = json.loads(log.JsonFormatter().format(record(channel="ocs-in", message_id=7, patient=PLANTED, body=PLANTED)))
    assert (line["channel"], line["message_id"], line["text"], line["level"]) == ("ocs-in", 7, "not delivered", "WARNING")
    assert PLANTED not in json.dumps(line, ensure_ascii=False)
    assert PLANTED not in log.HumanFormatter().format(record(channel="ocs-in", patient=PLANTED))


def test_a_foreign_error_is_named_not_quoted() -> None:
    for formatter in (log.JsonFormatter(), log.HumanFormatter()):
        text = formatter.format(record(KeyError(PLANTED)))
        assert "builtins.KeyError at test_log.py:" in text
        assert PLANTED not in text


def test_our_own_error_is_quoted() -> None:
    assert "NotFound: there is no message 7 at" in log.HumanFormatter().format(record(NotFound("there is no message 7")))


def test_libraries_that_log_urls_are_quiet() -> None:
    root = logging.getLogger()
    before, level, hook = root.handlers[:], root.level, sys.excepthook
    try:
        log.setup("DEBUG", "json")
        for name in ("httpx", "httpcore.connection", "uvicorn.access", "sqlalchemy.engine.Engine", "celery.worker.strategy"):
            assert not logging.getLogger(name).isEnabledFor(logging.INFO)
        assert logging.getLogger("hub.sync").isEnabledFor(logging.DEBUG)
    finally:
        root.handlers[:], sys.excepthook, logging.raiseExceptions = before, hook, True
        root.setLevel(level)


def test_metrics_have_no_label_for_people() -> None:
    metrics.TOTAL.labels("ocs-in", "received").set(3)
    text = metrics.render().decode()
    assert 'hub_messages_total{channel="ocs-in",state="received"} 3.0' in text
    for series in metrics.REGISTRY.collect():
        for sample in series.samples:
            assert set(sample.labels) <= {"channel", "state", "role"}
