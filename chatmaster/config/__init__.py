"""Settings from files, environment and flags; no socket, no process."""
