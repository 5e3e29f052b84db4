"""What the hub counts about itself, for GET /metrics. Any part may import this: it stands beside the settings."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REGISTRY = CollectorRegistry()
disable_created_metrics()  # type: ignore[no-untyped-call]

MESSAGES = Counter(
    "prahari_messages",
    "Messages from devices by channel and outcome",
    ["channel", "outcome"],
    registry=REGISTRY,
)
REFUSALS = Counter("prahari_refusals", "Messages refused by reason", ["reason"], registry=REGISTRY)
EVENTS = Counter("prahari_events", "Events committed by kind", ["kind"], registry=REGISTRY)
COMMIT_S = Histogram(
    "prahari_commit_seconds",
    "Time from receiving a batch of events to its commit",
    registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
PRESENCE = Gauge("prahari_devices", "Devices in service by presence", ["presence"], registry=REGISTRY)
OPEN_INCIDENTS = Gauge(
    "prahari_incidents_open",
    "Open incidents by severity and acknowledgement",
    ["severity", "acked"],
    registry=REGISTRY,
)
NOTIFICATIONS = Counter(
    "prahari_notifications", "Notifications by channel and outcome", ["channel", "outcome"], registry=REGISTRY
)
ADMISSIONS = Counter(
    "prahari_admissions",
    "Answers to devices that connect: granted, refused, later (the hub is busy)",
    ["outcome"],
    registry=REGISTRY,
)
ADMISSION_WAITING = Gauge(
    "prahari_admissions_waiting", "Devices that wait for their turn to connect", registry=REGISTRY
)
WORKER_FAILURES = Counter(
    "prahari_worker_failures", "Unexpected errors that a worker survived", ["worker"], registry=REGISTRY
)
REQUESTS = Counter(
    "prahari_http_requests", "HTTP requests by method and status", ["method", "status"], registry=REGISTRY
)


def render() -> bytes:
    """The exposition in Prometheus' text format."""
    return generate_latest(REGISTRY)
