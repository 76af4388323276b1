"""chatmaster: the master process, which forks, watches, replaces and reloads the workers, and chatctl."""

__version__ = "0.1.0"
