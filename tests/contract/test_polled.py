"""The contract of adapters that ask (hub/testing/polled.py), for every one that is shipped."""

from hub.testing.polled import *  # noqa: F403 - the suite, as a site's package takes it over, too
from tests.contract.asking_cases import ASKING
from tests.contract.erp_in_cases import CASE as ERP_IN
from tests.contract.inbound_cases import POLLED

CASES = [*POLLED, *ASKING, ERP_IN]
