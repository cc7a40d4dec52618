"""The backbones of a campaign as folders for timm, with model cards that state accuracies."""

import os
import re
from dataclasses import replace
from pathlib import Path

from mmmask.checkpoints.exporting import export_backbone

from ..compare import console
from .declaration import Campaign
from .runs import Conductor, Run
from .summary import frozen_table


def export_backbones(conductor: Conductor, folder: str | os.PathLike, only: str = '') -> list[Path]:
    """Write a folder for each method whose pre-training with the first seed is finished.

    Args:
        conductor: of the campaign.
        folder: gets a folder for each method, named after it.
        only: export only methods whose name contains this text.

    Raises:
        FileNotFoundError: if the checkpoint of a finished training is not in the work folder.
        ValueError: if no such training is finished.
    """
    campaign, results = conductor.campaign, conductor.results()
    seed, written = campaign.seeds[0], []
    for method in campaign.methods:
        run = Run(method, seed)
        if run.name not in results or only not in run.name:
            continue
        checkpoint = conductor.checkpoint(run, campaign.epochs)
        if not checkpoint.is_file():
            raise FileNotFoundError(
                f'{checkpoint} does not exist: remove {run.name}.json, so that the training is run '
                'again, or give the --work-dir in which it was run.'
            )
        target = Path(folder) / re.sub(r'\W+', '-', method.lower()).strip('-')
        text = _measured(campaign, results, seed, method)
        export = export_backbone(checkpoint, target, 'timm', measured=text)
        console.print(f'{target}: features differ by at most {export.max_difference:.2g}')
        written.append(target)
    if not written:
        raise ValueError(f'{campaign.name} has no finished training with seed {seed} to export.')
    return written


def _measured(campaign: Campaign, results: dict, seed: int, method: str) -> str:
    one = replace(campaign, seeds=[seed], methods={method: campaign.methods[method]})
    license = f'; their licence is {campaign.license}' if campaign.license else ''
    return (
        f'The images are those of the campaign "{campaign.title}"{license}.\n\n'
        '## Accuracy\n\n'
        'Top-1 of frozen features on the test images, in percent:\n\n'
        f'{frozen_table(one, results)}\n\n'
        f'This is the backbone of seed {seed}. `docs/campaign/{campaign.name}/README.md` has all '
        'seeds, other methods and costs, and '
        f'`python tools/campaign.py docs/campaign/{campaign.name}.yaml` repeats the measurement.'
    )
