"""Every number that decides what the model becomes: change one here, train again, measure again."""

from __future__ import annotations

from pathlib import Path

from prahari_agent.street.actors import LABELS

HERE = Path(__file__).resolve().parent
NAME = "street"

SEED = 2026
HELD_OUT_SEED = 7_000_000
"""Scenarios from this seed on are for measuring alone; training stays below it."""
CLASSES = LABELS

WIDTH, HEIGHT = 320, 192
STRIDE = 4
PART_WIDTH, PART_HEIGHT = 160, 96
"""Most training pictures are cut-outs of this size: the network does not know where in the picture it looks."""

SCENARIOS = 220
FRAMES_A_SCENARIO = 25
FRAME_EVERY_S = 2.4

BATCH = 16
PART_STEPS = 4000
WHOLE_STEPS = 600
WARM_UP_STEPS = 100
LEARNING_RATE = 3e-3
WEIGHT_AVERAGE = 0.995

LEAST_VISIBLE = 0.4
"""Objects that show a smaller share of themselves are neither asked for nor counted as wrong."""
LEAST_ROWS = 5.0
"""The same for what is lower than this in the model's input, in pixels."""
HIDDEN = 0.1
"""What shows less than this is not there."""

SAMPLES_FOR_QUANTISATION = 200
