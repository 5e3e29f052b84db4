"""Train the street model from its seed and write it with its manifest; models/street/README.md says how to call this.

Draws the streets first (once), then trains on cut-outs and at last on whole frames, and keeps a checkpoint to go on from.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import data
import export
import network
import numpy as np
import recipe
import scenes
import tensorflow as tf

PAUSE = os.environ.get("PRAHARI_PAUSE_FILE")
"""While there is a file of this name the training rests: something else is being measured on the machine."""
_SAVED_EVERY = 50


def main() -> None:
    asked = _arguments()
    tf.config.threading.set_intra_op_parallelism_threads(asked.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.keras.utils.set_random_seed(recipe.SEED)
    first = recipe.SEED * 1000
    frames: Path = asked.work / "frames"
    if not asked.no_draw:
        scenes.draw(frames, range(first, first + asked.scenarios), asked.threads)
    trainer = Trainer(asked.part_steps + asked.whole_steps)
    checkpoint = tf.train.Checkpoint(model=trainer.model, optimizer=trainer.optimizer, done=trainer.done)
    keeper = tf.train.CheckpointManager(checkpoint, str(asked.work / "checkpoints"), 2)
    if keeper.restore_or_initialize():
        print(f"goes on from step {int(trainer.done)}", flush=True)
    with _Pictures(frames, recipe.PART_WIDTH, recipe.PART_HEIGHT) as parts:
        trainer.run(parts, asked.part_steps, keeper)
    with _Pictures(frames, recipe.WIDTH, recipe.HEIGHT) as wholes:
        trainer.run(wholes, asked.part_steps + asked.whole_steps, keeper)
    trainer.optimizer.finalize_variable_values(trainer.model.trainable_variables)
    export.write(trainer.model, frames, asked.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work", type=Path, default=recipe.HERE / ".work", help="folder of frames and checkpoints"
    )
    parser.add_argument("--out", type=Path, default=recipe.HERE, help="folder of the model and its manifest")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scenarios", type=int, default=recipe.SCENARIOS)
    parser.add_argument("--part-steps", type=int, default=recipe.PART_STEPS)
    parser.add_argument("--whole-steps", type=int, default=recipe.WHOLE_STEPS)
    parser.add_argument("--no-draw", action="store_true", help="train on the frames that are there")
    return parser.parse_args()


class Trainer:
    """The network with its optimiser; ``done`` counts steps."""

    def __init__(self, steps: int) -> None:
        self.model = network.build()
        rate = tf.keras.optimizers.schedules.CosineDecay(
            0.0, steps, warmup_target=recipe.LEARNING_RATE, warmup_steps=recipe.WARM_UP_STEPS, alpha=0.01
        )
        self.optimizer = tf.keras.optimizers.AdamW(
            rate, weight_decay=1e-4, clipnorm=5.0, use_ema=True, ema_momentum=recipe.WEIGHT_AVERAGE
        )
        self.optimizer.build(self.model.trainable_variables)
        self.done = tf.Variable(0, dtype=tf.int64)
        self._step = tf.function(self._one, reduce_retracing=True)

    def run(self, pictures: Iterator[data.Sample], until: int, keeper: tf.train.CheckpointManager) -> None:
        """Steps until so many are done; says how it goes and saves now and then."""
        lately: list[tuple[float, float]] = []
        began_s = time.monotonic()
        while int(self.done) < until:
            while PAUSE and Path(PAUSE).exists():
                time.sleep(5)
            batch = next(pictures)
            lately.append(tuple(float(one) for one in self._step(*batch)))
            if int(self.done.assign_add(1)) % _SAVED_EVERY == 0 or int(self.done) == until:
                keeper.save()
                of_scores, of_boxes = np.mean(lately, axis=0)
                took_s, began_s = time.monotonic() - began_s, time.monotonic()
                print(
                    f"step {int(self.done)}: scores {of_scores:.3f}, boxes {of_boxes:.3f}, {took_s:.0f} s",
                    flush=True,
                )
                lately.clear()

    def _one(self, picture, heat, boxes, weight, counted):  # type: ignore[no-untyped-def]
        with tf.GradientTape() as tape:
            logits, given = self.model(tf.cast(picture, tf.float32) / 255, training=True)
            of_scores, of_boxes = network.loss(logits, given, heat, boxes, weight, counted)
            total = of_scores + of_boxes
        variables = self.model.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(total, variables), variables, strict=True))
        return of_scores, of_boxes


class _Pictures:
    """Batches made by a process of their own, a few ahead."""

    def __init__(self, frames: Path, width: int, height: int) -> None:
        context = get_context("spawn")
        self._queue: Queue[data.Sample] = context.Queue(4)
        self._maker = context.Process(target=_make, args=(self._queue, frames, width, height), daemon=True)

    def __enter__(self) -> _Pictures:
        self._maker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._maker.terminate()
        self._maker.join()

    def __iter__(self) -> Iterator[data.Sample]:
        return self

    def __next__(self) -> data.Sample:
        return self._queue.get()


def _make(queue: Queue[data.Sample], frames: Path, width: int, height: int) -> None:
    for batch in data.batches(frames, width, height, recipe.SEED + width):
        queue.put(batch)


if __name__ == "__main__":
    main()
