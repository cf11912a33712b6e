"""The contract of adapters that are sent to (hub/testing/listened.py), for every one that is shipped."""

from hub.testing.listened import *  # noqa: F403 - the suite, as a site's package takes it over, too
from tests.contract.inbound_cases import LISTENED

CASES = LISTENED
