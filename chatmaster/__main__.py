"""`python -m chatmaster` is chatctl."""

from chatmaster.cli import main

if __name__ == "__main__":
    main()
