"""The training's pictures and answers are what the agent reads; training itself needs TensorFlow, which no test environment has."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from prahari_agent.camera.boxes import Box, iou
from prahari_agent.camera.outputs import GridOutput

NAMES = ("recipe", "scenes", "data", "network", "export", "train", "measure")


@pytest.fixture
def training(root: Path) -> Iterator[Any]:
    """training(name) imports a module of models/street."""
    sys.path.insert(0, str(root / "models/street"))
    try:
        yield importlib.import_module
    finally:
        sys.path.pop(0)
        for name in NAMES:
            sys.modules.pop(name, None)


def drawn(scenes: ModuleType, seed: int, count: int = 2) -> list[tuple[Any, list[dict[str, Any]]]]:
    return [(picture, scenes.objects(truth)) for picture, truth in scenes.frames(seed, "day", 0.0, count)]


def test_the_same_seed_gives_the_same_frames_and_the_same_spoiled_samples(training: Any) -> None:
    scenes, data, recipe = training("scenes"), training("data"), training("recipe")
    one, other = drawn(scenes, 5), drawn(scenes, 5)
    assert all((a == b).all() and c == d for (a, c), (b, d) in zip(one, other, strict=True))
    samples = [
        data.sample(*one[1], recipe.PART_WIDTH, recipe.PART_HEIGHT, np.random.default_rng(3))
        for _ in range(2)
    ]
    assert all((a == b).all() for a, b in zip(*samples, strict=True))
    assert samples[0].picture.shape == (recipe.PART_HEIGHT, recipe.PART_WIDTH, 3)


def test_no_held_out_street_is_trained_on(training: Any) -> None:
    recipe = training("recipe")
    assert recipe.SEED * 1000 + recipe.SCENARIOS < recipe.HELD_OUT_SEED


def test_what_the_cells_should_answer_is_read_by_the_agent_as_the_truth(training: Any) -> None:
    scenes, data, recipe = training("scenes"), training("data"), training("recipe")
    objects = [one for seed in range(4) for _, known in drawn(scenes, seed) for one in known]
    assert len(objects) > 20
    known = [
        one
        for thing in objects
        for one in data.placed([thing], (0.0, 0.0, 1.0, 1.0), recipe.WIDTH, recipe.HEIGHT)
        if one.asked
    ]
    for one in known:
        heat, boxes, _, _ = data.targets([one], recipe.WIDTH, recipe.HEIGHT)
        output = GridOutput(format="grid")
        reader = output.reader(
            [(1, *heat.shape), (1, *boxes.shape)], len(recipe.CLASSES), (recipe.WIDTH, recipe.HEIGHT)
        )
        found = reader.read([heat[None], boxes[None]], 0.99)
        wanted = Box(one.left, one.top, one.right, one.bottom)
        pixels = found.boxes[0] * (recipe.WIDTH, recipe.HEIGHT, recipe.WIDTH, recipe.HEIGHT)
        assert (found.classes.tolist(), iou(Box(*pixels.tolist()), wanted)) == (
            [one.number],
            pytest.approx(1, abs=1e-3),
        )


def test_what_is_hardly_seen_is_neither_asked_for_nor_wrong(training: Any) -> None:
    data, recipe = training("data"), training("recipe")
    hidden = {"label": "car", "box": (0.2, 0.2, 0.4, 0.4), "visible": 0.2}
    (one,) = data.placed([hidden], (0.0, 0.0, 1.0, 1.0), recipe.WIDTH, recipe.HEIGHT)
    heat, _, weight, counted = data.targets([one], recipe.WIDTH, recipe.HEIGHT)
    assert (heat.max(), weight.max()) == (0, 0)
    assert counted[12, 24] == 0
    assert counted[0, 0] == 1


def test_a_network_learns_a_step_and_is_exported_as_the_manifest_says(training: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="training needs TensorFlow: models/street/requirements.txt")
    scenes, export, train = training("scenes"), training("export"), training("train")
    from prahari_agent.camera.detector import Detector
    from prahari_agent.camera.manifest import load_model

    scenes.draw(tmp_path / "frames", range(1))
    manifest = export.write(train.Trainer(1).model, tmp_path / "frames", tmp_path)
    assert Detector(load_model(manifest)).width == 320
