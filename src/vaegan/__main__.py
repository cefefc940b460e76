"""Run the command line by `python -m vaegan`."""

from vaegan.cli import entry

if __name__ == "__main__":
    entry()
