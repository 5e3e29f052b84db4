"""A city's topology as a table that a spreadsheet writes: kind, id, name, parent, zone. Pure."""

from __future__ import annotations

import csv
import io

from prahari_hub.errors import Invalid
from prahari_hub.fleet.topology import KINDS, Link
from prahari_hub.texts import N_

COLUMNS = ("kind", "id", "name", "parent", "zone")
SITE = "site"


def parse(text: str) -> tuple[list[Link], dict[str, str | None]]:
    """(assets, the asset of each site). A row of kind ``site`` names in ``parent`` what it hangs on. Invalid names the first wrong line."""
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    missing = [name for name in COLUMNS[:2] if name not in (reader.fieldnames or ())]
    if missing:
        raise Invalid(
            N_("The first line names the columns {columns}; {missing} is missing."),
            ("body", "a header line"),
            columns=", ".join(COLUMNS),
            missing=", ".join(missing),
        )
    links: list[Link] = []
    hangs: dict[str, str | None] = {}
    for row in reader:
        values = {name: (row.get(name) or "").strip() for name in COLUMNS}
        if not any(values.values()):
            continue
        if values["kind"] == SITE:
            hangs[values["id"]] = values["parent"] or None
        elif values["kind"] in KINDS:
            name = values["name"] or values["id"]
            links.append(
                Link(values["id"], values["kind"], name, values["parent"] or None, values["zone"] or None)
            )
        else:
            raise Invalid(
                N_("Line {line}: {kind!r} is none of {kinds}."),
                ("kind", "cabinet, switch, feeder or site"),
                line=reader.line_num,
                kind=values["kind"][:40],
                kinds=", ".join((*KINDS, SITE)),
            )
    return links, hangs
