"""The outbound contract (hub/testing/outbound.py) for every adapter that is shipped, and for the fake."""

from hub.testing.outbound import *  # noqa: F403 - the suite, as a site's package takes it over, too
from tests.contract.registry import CASES as CASES
