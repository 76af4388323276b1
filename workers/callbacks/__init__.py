"""The Worker API as an application."""
