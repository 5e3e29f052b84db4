"""What Prometheus reads: parsed by its own parser, documented, and named rightly by the dashboard and the alerts."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from prahari_hub import metrics
from prahari_hub.ingest.queue import Beats
from prahari_hub.live.feed import QUEUE, Feed, Message
from prahari_hub.operations import gauges
from prahari_hub.roles import watching
from prahari_hub.web.app import Parts, console_app
from prometheus_client.parser import text_string_to_metric_families

DOCS = Path(__file__).parents[3] / "docs"
NOW = datetime(2026, 11, 22, 3, 15, tzinfo=UTC)
SUFFIXES = re.compile(r"_(total|bucket|sum|count)$")


def families() -> dict[str, object]:
    return {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}


def value(metric: str, **labels: str) -> float:
    found = metrics.REGISTRY.get_sample_value(metric, labels)
    assert found is not None, metric
    return found


def names() -> set[str]:
    return {name for name in families() if name.startswith("prahari_")}


async def test_the_console_gives_what_the_store_and_the_home_tell(city) -> None:
    parts = Parts(city.settings, city.store, gauges=gauges.of(city.settings, lambda: NOW))
    transport = httpx.ASGITransport(console_app(parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    found = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"prahari_database_bytes", "prahari_disk_free_bytes", "prahari_build_info"} <= found
    assert value("prahari_database_bytes") > 100_000
    assert math.isnan(value("prahari_disk_days"))
    assert value("prahari_certificate_end_timestamp_seconds", name="root") > NOW.timestamp()
    assert value("prahari_device_certificates", state="good") == 0
    assert value("prahari_outgoing_due", channel="override") == 1
    assert value("prahari_outgoing_due", channel="call") == 0
    assert value("prahari_backup_timestamp_seconds") == 0
    assert value("process_resident_memory_bytes") > 10_000_000


def test_a_transaction_is_timed(city) -> None:
    before = value("prahari_store_write_seconds_count")
    city.store.write_sync(lambda unit: None)
    assert value("prahari_store_write_seconds_count") == before + 1


async def test_what_a_slow_browser_did_not_get_is_counted() -> None:
    feed = Feed()
    watching.watch_feed(feed)
    slow = feed.subscribe(["devices"])
    before = value("prahari_live_dropped_total")
    for number in range(QUEUE + 2):
        slow.put(Message("change", str(number)))
    assert value("prahari_live_dropped_total") == before + 3
    assert value("prahari_live_subscribers") == 1
    feed.close()


async def test_the_lag_of_a_lane_is_how_long_its_oldest_message_waits() -> None:
    class Waiting:
        """As much of ingest as is watched, with a real lane."""

        beats = Beats()
        queue = type("Empty", (), {"oldest_s": None, "bytes": 0, "__len__": lambda self: 0})()
        owned = {1, 2}
        memory = type("Memory", (), {"columns": ["a", "b", "c"]})()

    waiting = Waiting()
    waiting.beats.put([(b"subject", b"payload")], 100.0)
    watching.watch_ingest(waiting, mono=lambda: 107.5)  # type: ignore[arg-type]
    assert value("prahari_queue_oldest_seconds", lane="heartbeats") == 7.5
    assert value("prahari_queue_oldest_seconds", lane="events") == 0
    assert value("prahari_queue_messages", lane="heartbeats") == 1
    assert (value("prahari_partitions_owned"), value("prahari_devices_loaded")) == (2, 3)


def test_names_follow_prometheus() -> None:
    for name, family in families().items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert family.documentation, name
        if family.type == "histogram":
            assert name.endswith(("_seconds", "_messages", "_bytes")), name
        assert not name.endswith(("_ms", "_minutes", "_kb", "_mb")), name


def test_every_metric_is_documented() -> None:
    page = (DOCS / "operations.md").read_text()
    missing = sorted(name for name in names() if f"`{name}" not in page)
    assert missing == []


@pytest.mark.parametrize("file", ["prahari.json", "alerts.yml"])
def test_dashboard_and_alerts_name_only_metrics_that_there_are(file: str) -> None:
    text = (DOCS / "grafana" / file).read_text()
    named = set(re.findall(r"\bprahari_[a-z_]+", text))
    known = names()
    assert named and {SUFFIXES.sub("", name) for name in named} - known == set()


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    board = json.loads((DOCS / "grafana" / "prahari.json").read_text())
    assert board["title"] == "Prahari hub" and board["schemaVersion"] >= 36
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)) >= 12
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24 and panel["title"]
        assert panel["type"] == "row" or panel["targets"]
