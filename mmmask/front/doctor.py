"""List the packages found, what is wrong with them, and the commands that fix it."""

from mmmask.doctor import main


def doctor() -> int:
    """Print the report of :mod:`mmmask.doctor`.

    Returns:
        0 if pre-training can start, and 1 if not.
    """
    return main()
