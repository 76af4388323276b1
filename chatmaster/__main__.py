"""`python -m chatmaster` is chatctl."""

from chatmaster.cli.main import main

if __name__ == "__main__":
    main()
