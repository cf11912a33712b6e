"""Putting the hub together: the only place that names concrete classes (assemble), and what runs them (runtime, supervise)."""

from hub.bootstrap.assemble import Hub, open_hub
from hub.bootstrap.supervise import run

__all__ = ["Hub", "open_hub", "run"]
