"""camera of the agent."""
