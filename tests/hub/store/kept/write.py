"""Write what a database of one release keeps, for the tests of later migrations: python tests/hub/store/kept/write.py 0001

Run it at a release with the newest migration, and commit the file: from then on every schema after it must bring these rows along.
Each table gets two rows. A column without a value of its own in OWN gets one by its type.
"""

from __future__ import annotations

import json
import sys
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from prahari_hub.access.chain import GENESIS, link
from prahari_hub.store.migrate import migrate

AT = datetime(2026, 11, 20, 6, 30, 15, 250000, tzinfo=UTC)
DEVICES = ("pune-cam-01", "pune-ecb-01")
ZONES = ("pune", "kasba")
INCIDENTS = ("01JD4Z0000000000000000000A", "01JD4Z0000000000000000000B")
DOCUMENT = {
    "schema": 1,
    "peripherals": {"cam1": {"type": "camera", "name": "शनिवार वाडा", "source": "/clip.mp4"}},
}
OWN: dict[str, tuple[Any, Any]] = {
    "device_id": DEVICES,
    "incident_id": INCIDENTS,
    "user_id": ("01JD4Z000000000000000000U1", "01JD4Z000000000000000000U2"),
    "site_id": ("wada", "wada"),
    "zone_id": ("kasba", "kasba"),
    "peripheral": ("cam1", None),
    "devices.id": DEVICES,
    "devices.presence": ("online", "offline"),
    "devices.service": ("active", "active"),
    "devices.health_state": ("ok", "unknown"),
    "displays.peripheral": ("sign1", "sign2"),
    "incidents.id": INCIDENTS,
    "incidents.severity": ("critical", "warning"),
    "incidents.rank": (0, 3),
    "incidents.title": ("Call at Shaniwar Wada", "पुणे: कैमरा स्थिर"),
    "overrides.peripheral": ("sign1", "sign1"),
    "sites.id": ("wada", "station"),
    "sites.name": ("Shaniwar Wada", "पुणे स्टेशन"),
    "sites.lat": (18.5195, 18.5289),
    "sites.lon": (73.8553, 73.8744),
    "transitions.before": ("online", "suspect"),
    "transitions.after": ("suspect", "offline"),
    "twins.document": (DOCUMENT, DOCUMENT | {"schema": 1}),
    "users.id": ("01JD4Z000000000000000000U1", "01JD4Z000000000000000000U2"),
    "users.name": ("asha", "ravi"),
    "users.role": ("admin", "operator"),
    "zones.id": ZONES,
    "zones.parent_id": (None, "pune"),
}


def rows_of(table: sa.Table) -> list[dict[str, Any]]:
    return [{column.name: _value(table, column, number) for column in table.columns} for number in range(2)]


def _value(table: sa.Table, column: sa.Column[Any], number: int) -> Any:
    for name in (f"{table.name}.{column.name}", column.name):
        if name in OWN:
            return OWN[name][number]
    if column.nullable and number:
        return None
    match column.type:
        case sa.JSON():
            return [{"table": table.name, "row": number, "text": "it's “quoted” \\ \n ठीक"}]
        case sa.Boolean():
            return bool(number)
        case sa.DateTime():
            return (AT + timedelta(hours=number)).replace(tzinfo=None)
        case sa.Date():
            return AT.date() + timedelta(days=number)
        case sa.LargeBinary():
            return b"\x01\x00'\xff" + bytes([number])
        case sa.Float():
            return 0.5 + number
        case sa.Integer():
            return number + 1
        case _:
            return f"{column.name}-{number} 'प्रहरी'"


def literal(value: Any) -> str:
    """As SQLite and PostgreSQL both read it; bytes as SQLite does."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "TRUE" if value else "FALSE"
        case int() | float():
            return repr(value)
        case bytes():
            return f"x'{value.hex()}'"
        case datetime():
            return f"'{value.isoformat(sep=' ', timespec='microseconds')}'"
        case date():
            return f"'{value.isoformat()}'"
        case str():
            return "'" + value.replace("'", "''") + "'"
        case _:
            return literal(json.dumps(value))


def statements(engine: sa.Engine) -> list[str]:
    found = sa.MetaData()
    found.reflect(engine)
    lines = []
    for table in found.sorted_tables:
        if table.name == "alembic_version":
            continue
        for row in sealed(rows_of(table), found) if table.name == "audit_seals" else rows_of(table):
            names = ", ".join(f'"{name}"' for name in row)
            values = ", ".join(literal(value) for value in row.values())
            lines.append(f'INSERT INTO "{table.name}" ({names}) VALUES ({values});')
    return lines


def sealed(rows: list[dict[str, Any]], found: sa.MetaData) -> list[dict[str, Any]]:
    """The seals of the audit rows, as the hub makes them."""
    running = GENESIS
    for row, entry in zip(rows, rows_of(found.tables["audit"]), strict=True):
        entry["at"] = entry["at"].replace(tzinfo=UTC)
        running = link(running, SimpleNamespace(**entry))
        row |= {"audit_id": entry["id"], "hash": running}
    return rows


def main(revision: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine = sa.create_engine(f"sqlite:///{folder}/hub.db")
        migrate(engine, revision)
        lines = statements(engine)
        engine.dispose()
    (Path(__file__).parent / f"{revision}.sql").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
