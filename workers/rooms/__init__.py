"""Rooms: which connections are in them, where each stands in the log, what they are sent. `hub.py` is the way in."""
