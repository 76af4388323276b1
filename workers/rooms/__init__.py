"""Rooms: their members, each member's position in the log, and delivery to members. `hub.py` is the entry point."""
