"""Each figure that docs/performance.md quotes, as a command."""
