"""The broker: nats-server with its MQTT listener, embedded or external, and the hub's connections to it."""
