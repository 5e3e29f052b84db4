"""health of the agent."""
