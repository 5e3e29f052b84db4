"""One simulated device: it comes back as the agent does."""

from __future__ import annotations

import pytest
from prahari_agent import link

from bench.swarm import device


@pytest.mark.parametrize(
    "figure",
    [
        "ANSWER_S",
        "BIRTH_REPEAT_S",
        "CONNECT_TIMEOUT_S",
        "FIRST_DELAY_S",
        "KEEPALIVE_S",
        "LONGEST_DELAY_S",
        "LONGEST_URGENT_S",
        "SHORT_DELAY_S",
        "STABLE_AFTER_S",
        "WINDOWS",
    ],
)
def test_a_simulated_device_waits_as_long_as_an_agent(figure: str) -> None:
    assert getattr(device, figure) == getattr(link, figure)
