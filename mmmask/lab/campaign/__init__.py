"""Pre-trainings of several methods with several seeds, and the quality of their backbones."""

import os
from pathlib import Path

from .declaration import read_campaign
from .exporting import export_backbones
from .runs import Conductor
from .summary import write_summary

__all__ = ['run_campaign']


def run_campaign(
    path: str | os.PathLike,
    work_dir: str | os.PathLike = 'work_dirs/campaign',
    results: str | os.PathLike | None = None,
    only: str = '',
    action: str = 'run',
    export: str | os.PathLike | None = None,
) -> None:
    """Run what is missing of a campaign, and write its tables and plots.

    Args:
        path: YAML file that declares the campaign.
        work_dir: gets checkpoints and logs.
        results: gets a JSON file for each run, the table and the plots; by default the folder of
            the campaign's name beside the file.
        only: run only what contains this text in its name.
        action: ``'run'``, ``'list'`` or ``'report'``.
        export: write nothing but the backbones of the first seed, as folders for timm, into this
            folder; see :func:`export_backbones`.
    """
    campaign = read_campaign(path)
    conductor = Conductor(campaign, work_dir, results or Path(path).with_suffix(''), only)
    if export is not None:
        export_backbones(conductor, export)
        return
    if action == 'list':
        conductor.show()
        return
    if action == 'run':
        conductor()
    write_summary(campaign, conductor.results(), conductor.output)
