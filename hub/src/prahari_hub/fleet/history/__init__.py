"""Health history: what devices measured, in packed blocks by cell and span of time, finite in time."""

from prahari_hub.fleet.history.rollup import BUCKET, Rollup, Sums, bucket_start, from_sums
from prahari_hub.fleet.history.series import STEPS, Series, series, step_for
from prahari_hub.fleet.history.tiers import add, compact_days, compact_hours, forget

__all__ = [
    "BUCKET",
    "STEPS",
    "Rollup",
    "Series",
    "Sums",
    "add",
    "bucket_start",
    "compact_days",
    "compact_hours",
    "forget",
    "from_sums",
    "series",
    "step_for",
]
