"""The store: embedded or remote, started, watched, checked."""
