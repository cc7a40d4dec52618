"""Write a report on one or several trainings as one HTML file, which needs no network."""

import os
from collections.abc import Sequence
from pathlib import Path

EXAMPLES = """
examples:
  mmmask report runs/a --out report.html
  mmmask report runs/a runs/b --pictures --images photographs/
"""


def report(
    runs: Sequence[str | os.PathLike],
    out: str | os.PathLike = 'report.html',
    pictures: bool = False,
    images: Sequence[str | os.PathLike] | None = None,
) -> Path:
    """Write a report; see :func:`mmmask.report.write_report`.

    Args:
        runs: folders of trainings.
        out: file to write.
        pictures: draw what the last checkpoints have learned, and similar pairs of images.
        images: for ``pictures``: a folder, a ``.zip`` file, or image files; by default the training
            images.
    """
    from mmmask.report import write_report

    path = write_report(runs, out, pictures, images)
    print(f'The report is in {path}')
    return path
