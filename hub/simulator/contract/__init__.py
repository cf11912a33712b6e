"""The contract suite that every adapter must pass, the hub's own and a site's, with the faults of hub.simulator.faults.

    # tests/conftest.py
    from hub.simulator.contract.plugin import *  # noqa: F403 - fixtures and pytest's hook

    # tests/test_contract.py
    from hub.simulator.contract.outbound import *  # noqa: F403 - the tests
    CASES = [Case(...)]

`case` and `inbound_case` say what the suite must know of an adapter, `outbound` and `inbound` are the tests. These two and
`plugin` need pytest, which the hub itself does not: pip install "hospital-hub[kit]".
"""
