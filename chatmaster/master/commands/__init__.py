"""The operator's commands, as the master carries them out."""
