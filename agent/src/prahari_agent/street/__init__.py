"""A drawn street with the truth known: what cameras look at in the demo, in tests, in training and in measurements.

Read view, actors, scenario, scene, then writer. Nothing here runs on a box that has a camera of its own.
"""
