"""The web layer's fixtures for all tests of this folder."""

from tests.web_fixtures import as_role, engine, filled, hub

__all__ = ["as_role", "engine", "filled", "hub"]
