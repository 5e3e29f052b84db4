"""The swarm: many light devices that speak the real contract over real MQTT with real certificates."""
