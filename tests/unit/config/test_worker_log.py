"""A Celery worker writes log lines as every process of the hub does: Celery's own would quote what an exception says."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from hub import log

PLANTED = "홍길동 010-1234-5678"
SCRIPT = f"""
from hub.worker import app
app.log.setup(loglevel="DEBUG", logfile=None, redirect_stdouts=True)
from celery.utils.log import get_task_logger
import logging
try:
    raise KeyError({PLANTED!r})
except KeyError:
    logging.getLogger("hub.sync.apply").exception("apply failed")
    get_task_logger("hub.drain").exception("task failed")
"""


def test_neither_our_loggers_nor_celerys_quote_a_foreign_error() -> None:
    environment = {**os.environ, log.LEVEL: "WARNING", log.FORMAT: "json", "HUB_CONFIG": "", "PYTHONIOENCODING": "utf-8"}
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, env=environment)
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert [line["text"] for line in lines] == ["apply failed", "task failed"], ran.stderr
    assert PLANTED not in ran.stdout + ran.stderr
