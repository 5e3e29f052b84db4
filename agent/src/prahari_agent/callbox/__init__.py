"""callbox of the agent."""
