"""The backbones of a campaign as folders for timm, with model cards that state accuracies."""

import os
import re
from dataclasses import replace
from pathlib import Path

from mmmask.checkpoints.exporting import export_backbone

from ..scores import console
from .declaration import Campaign
from .runs import Conductor, Run
from .summary import frozen_table


def export_backbones(conductor: Conductor, folder: str | os.PathLike) -> None:
    """Write a folder for each method whose pre-training with the first seed is finished.

    Args:
        conductor: of the campaign, or of a part of its runs.
        folder: gets a folder for each method, named after it.

    Raises:
        FileNotFoundError: if the checkpoint of a finished training is not in the work folder.
        ValueError: if no such training is finished.
    """
    campaign, results = conductor.campaign, conductor.results()
    seed = campaign.seeds[0]
    trainings = [Run(method, seed) for method in campaign.methods]
    finished = [run for run in conductor.runs if run in trainings and run.name in results]
    if not finished:
        raise ValueError(f'{campaign.name} has no finished training with seed {seed} to export.')
    for run in finished:
        checkpoint = conductor.checkpoint(run, campaign.epochs)
        if not checkpoint.is_file():
            raise FileNotFoundError(
                f'{checkpoint} does not exist: remove {run.name}.json, so that the training is run '
                'again, or give the --work-dir in which it was run.'
            )
        target = Path(folder) / re.sub(r'\W+', '-', run.method.lower()).strip('-')
        text = _measured(campaign, results, run)
        export = export_backbone(checkpoint, target, 'timm', measured=text)
        console.print(f'{target}: features differ by at most {export.max_difference:.2g}')


def _measured(campaign: Campaign, results: dict, run: Run) -> str:
    methods = {run.method: campaign.methods[run.method]}
    one = replace(campaign, seeds=[run.seed], methods=methods)
    license = f'; their licence is {campaign.license}' if campaign.license else ''
    return (
        f'The images are those of the campaign "{campaign.title}"{license}.\n\n'
        '## Accuracy\n\n'
        'Top-1 of frozen features on the test images, in percent:\n\n'
        f'{frozen_table(one, results)}\n\n'
        f'This is the backbone of seed {run.seed}. `docs/campaign/{campaign.name}/README.md` has '
        'all seeds, other methods and costs, and '
        f'`python tools/campaign.py docs/campaign/{campaign.name}.yaml` repeats the measurement.'
    )
