"""Configuration: hub.toml read, checked and explained. Imports nothing of the hub's other packages.

config = hub.config.load("hub.toml")        -> Config, or ConfigError (file, line, problem, instead)
config.channels["ocs-in"].read(Settings)    -> the adapter's own keys as its dataclass
"""

from __future__ import annotations

from hub.config.bind import Secret, Source, bind, option
from hub.config.errors import ConfigError, did_you_mean
from hub.config.lines import key_lines
from hub.config.load import load, parse
from hub.config.model import Channel, Config, FieldAuthority, Retry, RouteRule

__all__ = [
    "Channel",
    "Config",
    "ConfigError",
    "FieldAuthority",
    "Retry",
    "RouteRule",
    "Secret",
    "Source",
    "bind",
    "did_you_mean",
    "key_lines",
    "load",
    "option",
    "parse",
]
