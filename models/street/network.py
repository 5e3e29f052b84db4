"""The network and its loss: one grid of cells, each with a score for each class and the box of the object whose centre it is.

A cell answers a logit for each class, and four numbers: x and y of the box's centre from the cell's own, in cells, and the logarithms
of its width and height in cells.
"""

from __future__ import annotations

from typing import Any

import recipe
import tensorflow as tf

Tensor = Any
layers = tf.keras.layers


def build() -> Any:
    """Takes pictures of any size that 32 divides, pixels from 0 to 1."""
    picture = layers.Input((None, None, 3))
    cells = _full(picture, 8, stride=2)
    quarter = _full(cells, 24, stride=2)
    eighth = _light(_light(_full(quarter, 48, stride=2), 48), 48)
    sixteenth = _light(_light(_light(eighth, 96, stride=2), 96), 96)
    thirty_second = _light(_light(_light(sixteenth, 128, stride=2), 128), 128)
    merged = _light(_merged(thirty_second, sixteenth, 64), 64)
    merged = _light(_merged(merged, eighth, 48), 48)
    merged = _full(_merged(merged, quarter, 24), 32)
    scores = layers.Conv2D(len(recipe.CLASSES), 1, bias_initializer=tf.constant_initializer(-4.0))(merged)
    return tf.keras.Model(picture, [scores, layers.Conv2D(4, 1)(merged)])


def _full(cells: Tensor, channels: int, *, side: int = 3, stride: int = 1) -> Tensor:
    cells = layers.Conv2D(channels, side, stride, padding="same", use_bias=False)(cells)
    return layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.97)(cells))


def _light(cells: Tensor, channels: int, *, stride: int = 1) -> Tensor:
    """Each channel for itself, then all of each cell; added to what came in where that has the same shape."""
    spread = layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False)(cells)
    spread = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.97)(spread))
    mixed = _full(spread, channels, side=1)
    return layers.Add()([cells, mixed]) if stride == 1 and cells.shape[-1] == channels else mixed


def _merged(coarse: Tensor, fine: Tensor, channels: int) -> Tensor:
    """The coarse cells doubled, added to the fine ones."""
    doubled = layers.UpSampling2D(2)(_full(coarse, channels, side=1))
    same = fine if fine.shape[-1] == channels else _full(fine, channels, side=1)
    return layers.Add()([doubled, same])


def loss(
    logits: Tensor, given: Tensor, heat: Tensor, boxes: Tensor, weight: Tensor, counted: Tensor
) -> tuple[Tensor, Tensor]:
    """Of the scores (focal, cells near a centre forgiven) and of the boxes, each by object."""
    score = tf.clip_by_value(tf.sigmoid(logits), 1e-4, 1 - 1e-4)
    centre = tf.cast(heat >= 0.999, tf.float32)
    right = centre * (1 - score) ** 2 * tf.math.log(score)
    wrong = (1 - centre) * (1 - heat) ** 4 * score**2 * tf.math.log(1 - score)
    many = tf.maximum(1.0, tf.reduce_sum(centre))
    of_scores = -tf.reduce_sum((right + wrong) * counted[..., None]) / many
    misses = 1 - _overlap(given, boxes) + 0.2 * tf.reduce_sum(tf.abs(given - boxes), axis=-1)
    return of_scores, tf.reduce_sum(misses * weight) / tf.maximum(1.0, tf.reduce_sum(weight))


def _overlap(one: Tensor, other: Tensor) -> Tensor:
    """Generalised intersection over union of boxes as the cells answer them, -1 to 1."""
    size_one, size_other = tf.exp(tf.clip_by_value(one[..., 2:], -5, 5)), tf.exp(other[..., 2:])
    low_one, high_one = one[..., :2] - size_one / 2, one[..., :2] + size_one / 2
    low_other, high_other = other[..., :2] - size_other / 2, other[..., :2] + size_other / 2
    shared = tf.maximum(0.0, tf.minimum(high_one, high_other) - tf.maximum(low_one, low_other))
    around = tf.maximum(high_one, high_other) - tf.minimum(low_one, low_other)
    both, hull = tf.reduce_prod(shared, -1), tf.reduce_prod(around, -1)
    union = tf.reduce_prod(size_one, -1) + tf.reduce_prod(size_other, -1) - both
    return both / union - (hull - union) / hull
