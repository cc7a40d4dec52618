#!/usr/bin/env python
"""Pre-train methods with several seeds, measure their backbones, and write tables and plots.

The campaign is declared in a YAML file. Each run writes one JSON file. Finished runs are not
repeated, and an interrupted training is resumed. Start the command in two terminals to divide the
runs among them.
"""

import argparse

from mmmask.command_line import USER_ERRORS, Parser, user_errors, user_path


def parse_arguments() -> argparse.Namespace:
    parser = Parser(
        description=__doc__,
        epilog='Examples:\n'
        '  tools/campaign.py docs/campaign/gtsrb.yaml            run what is missing\n'
        '  tools/campaign.py docs/campaign/gtsrb.yaml --list     what is done and what is left\n'
        '  tools/campaign.py docs/campaign/gtsrb.yaml --report   tables and plots of what is done\n'
        '  tools/campaign.py docs/campaign/gtsrb.yaml --only MAE --export backbones/',
    )
    parser.add_argument('campaign', type=user_path, help='YAML file that declares the campaign')
    parser.add_argument(
        '--work-dir',
        type=user_path,
        default='work_dirs/campaign',
        help='folder of checkpoints and logs (%(default)s)',
    )
    parser.add_argument(
        '--results',
        type=user_path,
        help='folder of the JSON files, the table and the plots (default: beside the campaign, '
        'with its name)',
    )
    parser.add_argument(
        '--only',
        metavar='TEXT',
        help='only the run of this name, or those whose name contains this',
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument('--list', action='store_true', help='list the runs and their states')
    what.add_argument('--report', action='store_true', help='write table and plots, run nothing')
    what.add_argument(
        '--export',
        type=user_path,
        metavar='FOLDER',
        help='write the backbones of the first seed, one folder for each method, for timm and for '
        '--pretrained, with model cards that state the accuracies',
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    with user_errors(arguments.debug, kinds=(*USER_ERRORS, RuntimeError)):
        from mmmask.lab.campaign import run_campaign

        run_campaign(
            arguments.campaign,
            arguments.work_dir,
            arguments.results,
            only=arguments.only or '',
            action='list' if arguments.list else 'report' if arguments.report else 'run',
            export=arguments.export,
        )


if __name__ == '__main__':
    main()
