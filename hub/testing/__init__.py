"""The contract suite that every adapter must pass, the hub's own and a site's, with the faults of hub.simulator.faults.

    # tests/conftest.py
    from hub.testing.plugin import *  # noqa: F403 - fixtures and pytest's hook

    # tests/test_contract.py
    from hub.testing.outbound import *  # noqa: F403 - the tests; or hub.testing.polled, hub.testing.listened
    CASES = [Case(...)]

`case` and `inbound_case` say what the suite must know of an adapter; `outbound`, `polled` and `listened` are the tests, one
module for each kind of adapter; `home` is a whole hub in a folder. The tests and `plugin` need pytest, which the hub itself
does not: pip install "hospital-hub[kit]". docs/adapters.md shows it step by step.
"""
