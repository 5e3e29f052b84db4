"""display of the agent."""
