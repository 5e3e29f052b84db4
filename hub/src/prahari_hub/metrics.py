"""What the hub counts about itself, for GET /metrics. Any part may import this: it stands beside the settings."""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
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
    "Answers to devices that connect: granted, refused, later (the hub is busy), shut (the device floods it)",
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

BUILD = Info("prahari_build", "The version of this hub", registry=REGISTRY)
BUILD.info({"version": version("prahari-hub")})
ProcessCollector(registry=REGISTRY)

# Set when they are read, by roles.watching.
QUEUE = Gauge(
    "prahari_queue_messages", "Messages received and not yet worked off", ["lane"], registry=REGISTRY
)
QUEUE_BYTES = Gauge("prahari_queue_bytes", "Their size", ["lane"], registry=REGISTRY)
LAG_S = Gauge(
    "prahari_queue_oldest_seconds", "How long the oldest of them has waited", ["lane"], registry=REGISTRY
)
PARTITIONS = Gauge("prahari_partitions_owned", "Partitions of this process, of 16 in all", registry=REGISTRY)
LOADED = Gauge("prahari_devices_loaded", "Devices in the memory of this process", registry=REGISTRY)
WRITES_WAITING = Gauge(
    "prahari_store_writes_waiting", "Transactions that wait for the writer of this process", registry=REGISTRY
)
BROKER_UP = Gauge("prahari_broker_up", "1 while this process sees the broker", registry=REGISTRY)
BROKER_CONNECTIONS = Gauge(
    "prahari_broker_connections", "Connections that a broker node holds", ["node"], registry=REGISTRY
)
BROKER_SLOW = Gauge(
    "prahari_broker_slow_consumers",
    "Connections that a node cut for reading too slowly",
    ["node"],
    registry=REGISTRY,
)
BROKER_ERRORS = Gauge(
    "prahari_broker_errors", "Errors that the broker reported to this process", ["error"], registry=REGISTRY
)
LIVE_SUBSCRIBERS = Gauge("prahari_live_subscribers", "Browsers on the live feed", registry=REGISTRY)
CLOCK_HELD = Gauge(
    "prahari_clock_held", "1 while the hub does not believe its clock and deletes nothing", registry=REGISTRY
)

# Counted where it happens.
BATCH = Histogram(
    "prahari_batch_messages",
    "Births and batches of events in one transaction",
    registry=REGISTRY,
    buckets=(1, 2, 5, 10, 20, 50, 100, 256),
)
FLUSH_S = Histogram(
    "prahari_flush_seconds",
    "Time to write the fleet's heartbeats of one round",
    registry=REGISTRY,
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
WRITE_S = Histogram(
    "prahari_store_write_seconds",
    "Time of one transaction, its commit included",
    registry=REGISTRY,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
JOB_S = Histogram(
    "prahari_job_seconds",
    "Time of one run of a scheduled job",
    ["job"],
    registry=REGISTRY,
    buckets=(0.01, 0.1, 1, 10),
)
LIVE_DROPPED = Counter(
    "prahari_live_dropped",
    "Messages that a slow browser did not get; it fetches a snapshot",
    registry=REGISTRY,
)

# Read from the store or the home when /metrics is read, by operations.gauges.
DATABASE_BYTES = Gauge("prahari_database_bytes", "Size of the database", registry=REGISTRY)
DISK_FREE_BYTES = Gauge("prahari_disk_free_bytes", "Free on the disk of the home", registry=REGISTRY)
DISK_DAYS = Gauge(
    "prahari_disk_days",
    "Until that disk is full at the growth of a week; NaN while unknown, and on PostgreSQL",
    registry=REGISTRY,
)
CERTIFICATE_END = Gauge(
    "prahari_certificate_end_timestamp_seconds",
    "When a certificate of the hub ends",
    ["name"],
    registry=REGISTRY,
)
DEVICE_CERTIFICATES = Gauge(
    "prahari_device_certificates",
    "Devices by their certificate: good, soon (14 days), expired",
    ["state"],
    registry=REGISTRY,
)
OUTGOING_DUE = Gauge(
    "prahari_outgoing_due",
    "Twins, commands, overrides and calls about incidents that should have gone out by now",
    ["channel"],
    registry=REGISTRY,
)
BACKUP_AT = Gauge(
    "prahari_backup_timestamp_seconds",
    "Of when the newest backup with a database is; 0 if there is none",
    registry=REGISTRY,
)
CLOCK_SYNCHRONISED = Gauge(
    "prahari_clock_synchronised",
    "1 where the kernel holds its clock for synchronised; NaN where it does not tell",
    registry=REGISTRY,
)


def render() -> bytes:
    """The exposition in Prometheus' text format."""
    return generate_latest(REGISTRY)
