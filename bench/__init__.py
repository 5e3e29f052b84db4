"""Figures of docs/performance.md, as commands."""
