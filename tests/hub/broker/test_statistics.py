"""What the broker's nodes say of themselves."""

from __future__ import annotations

from typing import Any

from prahari_hub import metrics
from prahari_hub.roles import watching


async def test_the_brokers_node_tells_its_version_and_connections(site: Any) -> None:
    [node] = await site.broker.nodes()
    assert node.name == "prahari" and node.version.count(".") == 2
    assert node.connections >= 3 and node.slow == 0
    site.broker.bus.problems["SlowConsumerError"] += 2
    await watching.watch_broker(site.broker)()
    told = metrics.REGISTRY.get_sample_value
    assert told("prahari_broker_up") == 1
    assert told("prahari_broker_connections", {"node": "prahari"}) == node.connections
    assert told("prahari_broker_errors", {"error": "SlowConsumerError"}) == 2


async def test_a_scrape_waits_for_no_broker_that_is_away(site: Any) -> None:
    sample = watching.watch_broker(site.broker)
    await site.broker.stop()
    await sample()
    assert metrics.REGISTRY.get_sample_value("prahari_broker_up") == 0
