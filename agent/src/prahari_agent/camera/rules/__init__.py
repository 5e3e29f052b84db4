"""The rules of a camera: pure functions of what is tracked, frame by frame. engine.py first."""
