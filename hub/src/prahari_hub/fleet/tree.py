"""The tree of places as values: a node is ``site/x``, ``asset/x``, ``zone/x`` or ROOT, the whole fleet. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

ROOT = "fleet/"
DEEPEST = 40


def site_node(site: str | None) -> str:
    """ROOT for a device that stands nowhere."""
    return f"site/{site}" if site is not None else ROOT


def asset_node(asset: str) -> str:
    return f"asset/{asset}"


def zone_node(zone: str) -> str:
    return f"zone/{zone}"


def scope_of(node: str) -> tuple[str, str]:
    """(site, asset, zone or fleet; its id)."""
    kind, _, name = node.partition("/")
    return kind, name


@dataclass(frozen=True)
class Tree:
    """``parent``: node → what it hangs on or stands in. What is not named hangs on ROOT."""

    parent: Mapping[str, str]

    def chain(self, node: str) -> Iterator[str]:
        """The node, then what is above it, ROOT last. A circle, which the registry refuses, ends at ROOT too."""
        for _ in range(DEEPEST):
            if node == ROOT:
                break
            yield node
            node = self.parent.get(node, ROOT)
        yield ROOT
