"""Continuous recording on the box: segments by packet copy, a journal and a hash chain a day, a ring, holds, and what is told of it."""
