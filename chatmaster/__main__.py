"""Runs chatctl as `python -m chatmaster`."""

from chatmaster.cli.main import main

if __name__ == "__main__":
    main()
