"""What the command lines in ``tools/`` share. Importing it needs the standard library only.

A tool parses its arguments first and imports what it runs afterwards, so that ``--help`` answers at
once.
"""

import argparse
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from io import UnsupportedOperation

PRECISIONS = ('off', 'bf16', 'fp16')
AMP_CHOICES = ('auto', *PRECISIONS)
COMPILE_CHOICES = ('auto', 'on', 'off')
SHARDS = {  # runners that divide the state of a training among processes
    'none': None,
    'optimizer': 'mmmask.OptimizerShardingRunner',
    'full': 'mmmask.FullyShardingRunner',
}
COMPONENTS = (
    *('augmentation', 'checkpoint', 'hierarchy', 'hog', 'lars', 'loader', 'maskdeep'),
    *('startup', 'step', 'swin'),
)
MMPRETRAIN_MAE = 'mmpretrain-mae-vit-base'  # a name for mmpretrain's own masked autoencoder
BROKEN_PIPE = 141  # the exit code in a shell of a program that this ends
USER_ERRORS = (ImportError, OSError, SyntaxError, ValueError)


class Parser(argparse.ArgumentParser):
    """A parser that keeps the line breaks of its texts and has the option ``--debug``."""

    def __init__(self, **kwargs) -> None:
        kwargs.setdefault('formatter_class', argparse.RawDescriptionHelpFormatter)
        super().__init__(**kwargs)
        self.add_argument('--debug', action='store_true', help='show the traceback of an error')


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """``--data`` and ``--val-data``, whose forms :mod:`mmmask.apis.own_data` explains."""
    for name, text in (
        ('--data', 'your data in place of those of the config: a folder or .zip file of images; '
         'for detection IMAGES ANNOTATIONS (COCO JSON); for segmentation IMAGES LABELS [TABLE]'),
        ('--val-data', 'data to validate with, in the same form (default: a fifth is held out)'),
    ):  # fmt: skip
        parser.add_argument(name, nargs='+', type=user_path, metavar='PATH', help=text)


def add_config_options(parser: argparse.ArgumentParser, example: str = '') -> None:
    """``--cfg-options``, whose values become a dictionary by dotted keys."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help=f'override values of the config{example}',
    )


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """``--launcher``, and the local rank, which torchrun of older PyTorch passes as an argument."""
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


class ConfigOptions(argparse.Action):
    """``KEY=VALUE`` options of a config as a dictionary, read by mmengine's ``DictAction``.

    In values that begin with ``~/``, which only paths do, the home folder replaces ``~``.
    """

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        from mmengine.config import DictAction

        for word in values:
            key, _, value = word.partition('=')
            if re.search(r'\{\s*[\'"}]', value):  # which mmengine reads as text
                raise argparse.ArgumentError(
                    self, f'{word!r} contains a dictionary: write {key}.NAME=VALUE for each name.'
                )
        try:
            DictAction(self.option_strings, self.dest)(parser, namespace, values, option_string)
        except (AssertionError, ValueError):
            raise argparse.ArgumentError(
                self, f'{" ".join(values)!r} must be KEY=VALUE pairs with balanced brackets.'
            ) from None
        setattr(namespace, self.dest, expand_home(getattr(namespace, self.dest)))


def expand_home(value):
    """A value with the home folder in place of ``~`` in the paths inside of it."""
    if isinstance(value, dict):
        return {key: expand_home(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(expand_home, value))
    return user_path(value) if isinstance(value, str) and value.startswith('~/') else value


def user_path(text: str) -> str:
    """A path or an address as it was given, with ``~`` replaced by the home folder."""
    return os.path.expanduser(text)


@contextmanager
def user_errors(
    debug: bool,
    subject: str = 'error',
    code: int = 2,
    kinds: tuple[type[BaseException], ...] = USER_ERRORS,
) -> Iterator[None]:
    """Report an error of the user in one message on stderr instead of a traceback.

    Args:
        debug: let every error pass with its traceback.
        subject: begins the message, such as the config file.
        code: exit code of the process.
        kinds: classes of errors of the user. Others pass with their traceback.

    Raises:
        SystemExit: with this exit code. Its text is the message. If nobody reads the output any
            more, as after ``| head``, without a message and with the exit code of a broken pipe.
    """
    try:
        yield
        sys.stdout.flush()
    except kinds as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads_the_output():
            raise SystemExit(BROKEN_PIPE) from error
        if debug:
            raise
        message = f'{subject}: {describe(error)}'
        print(message, file=sys.stderr, flush=True)
        leave = SystemExit(message)
        leave.code = code  # a message as the code would end the process with 1
        raise leave from error


def _nobody_reads_the_output() -> bool:
    """Whether stdout is a pipe without a reader; what is still to be written is then discarded."""
    import select

    poll = select.poll()
    try:
        poll.register(sys.stdout, 0)
    except UnsupportedOperation:  # not a file
        return False
    closed = any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    if closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return closed


def describe(error: BaseException) -> str:
    """The message of an error, and the place where another package than mmmask raised it."""
    text = str(error).strip() or type(error).__name__
    if text.startswith('Caught ') and 'Original Traceback' in text:  # in a worker of a data loader
        return re.split(rf'^(?:[\w.]+\.)?{type(error).__name__}: ', text, flags=re.M)[-1]
    if isinstance(error, OSError) and error.filename is not None:
        text = f'{error.filename}: {error.strerror}.'
    elif isinstance(error, ModuleNotFoundError) and text.startswith('No module named'):
        return f'{text}. Install the package that provides it.'
    last = list(traceback.walk_tb(error.__traceback__))[-1:]
    for frame, line in last:
        if frame.f_globals.get('__name__', '').split('.')[0] not in ('mmmask', '__main__'):
            place = f'{frame.f_code.co_filename}:{line}'
            text += f' ({type(error).__name__} in {place}; --debug shows the traceback)'
    return text
