"""Files in the folder of a campaign's checkpoints, which several processes write alike."""

from pathlib import Path

from mmmask.checkpoints.files import write_file


def write_once(path: Path, text: str) -> Path:
    """Write a file that trainings depend on, or see that it says what it would be given.

    Raises:
        ValueError: if the file says something else, because the campaign was declared otherwise.
    """
    if not path.is_file():
        write_file(path, lambda file: file.write(text.encode()))
    elif path.read_text() != text:
        raise ValueError(
            f'{path} belongs to a campaign that was declared otherwise, and trainings in its '
            'folder started from it: give another --work-dir, or remove this file and the '
            'trainings that are out of date.'
        )
    return path
