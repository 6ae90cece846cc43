"""``python -m featx`` and the ``featx`` command."""

from featx.cli import main


def run() -> None:
    """Run the command line."""
    main(prog_name="featx")


if __name__ == "__main__":
    run()
