"""The hub's database: engine, unit of work, migrations."""

from prahari_hub.store.engine import Change, FencedStore, Store, Unit
from prahari_hub.store.schema import Json, UtcDateTime, metadata

__all__ = ["Change", "FencedStore", "Json", "Store", "Unit", "UtcDateTime", "metadata"]
