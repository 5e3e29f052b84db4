"""The contract between agent and hub: topics, messages and the pure rules that both ends must agree on."""
