"""Files in the folder of a campaign's checkpoints, which several processes write alike."""

import os
from pathlib import Path


def write_once(path: Path, text: str) -> Path:
    """Write a file that trainings depend on, or see that it says what it would be given.

    Raises:
        ValueError: if the file says something else, because the campaign was declared otherwise.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f'.{path.name}.{os.getpid()}')
        draft.write_text(text)
        draft.replace(path)
    elif path.read_text() != text:
        raise ValueError(
            f'{path} belongs to a campaign that was declared otherwise, and trainings in its '
            'folder started from it: give another --work-dir, or remove this file and the '
            'trainings that are out of date.'
        )
    return path
