"""Files in the folder of a campaign's checkpoints, which several processes write alike."""

from pathlib import Path

from mmmask.checkpoints.files import write_file


def write_once(path: Path, text: str) -> Path:
    """Write a file that trainings depend on, or check that the existing one has the same text.

    Raises:
        ValueError: if the text differs, because the campaign was declared differently before.
    """
    if not path.is_file():
        write_file(path, lambda file: file.write(text.encode()))
    elif path.read_text() != text:
        raise ValueError(
            f'{path} was written for another declaration of this campaign, and trainings in its '
            'folder started from it: give another --work-dir, or remove this file and the '
            'trainings that are out of date.'
        )
    return path
