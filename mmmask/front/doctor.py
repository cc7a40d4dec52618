"""List the packages found, what is wrong with them, and the commands that fix it."""


def add_options(parser) -> None:
    """The command takes no options."""


def doctor() -> int:
    """Print the report of :mod:`mmmask.doctor`; 0 if pre-training can start and 1 if not."""
    from mmmask.doctor import main

    return main()
