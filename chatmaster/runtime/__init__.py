"""What the master asks of the operating system."""
