"""The running master."""
