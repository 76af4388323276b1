"""What the master decides: pure functions of events and time."""
