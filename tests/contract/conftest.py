"""The contract suite's fixtures, as a site's package takes them over, too."""

from hub.testing.plugin import authority, peer, pytest_generate_tests

__all__ = ["authority", "peer", "pytest_generate_tests"]
