"""The camera: ``camera.Camera`` serves one in the agent's process, which stays light; ``process`` looks at its pictures in another."""
