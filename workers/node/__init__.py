"""What one worker is to an application."""
