"""chatmaster: the process that never serves a client, but forks, watches, reloads and explains those that do."""

__version__ = "0.1.0"
