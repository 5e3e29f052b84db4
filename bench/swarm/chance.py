"""The swarm's own dice: its threads must not disturb the random numbers of whoever runs beside them, tests above all."""

from __future__ import annotations

from random import Random

CHANCE = Random()
