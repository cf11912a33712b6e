"""The contract of sources that are asked (hub/testing/polled.py), for those that ask a PACS."""

from hub.testing.polled import *  # noqa: F403 - the suite's tests
from tests.contract.pacs_cases import ASKING

CASES = ASKING
