"""mmengine's runner with a short console. The log file has every message."""

import logging

from mmengine.logging import MMLogger
from mmengine.runner import Runner

# Beginnings of messages of mmengine: what files of the run contain, and its calls to itself.
LEFT_OUT = (
    f'\n{"-" * 60}\nSystem environment:',
    'Config:\n',
    'Hooks will be executed in the following order',
    'Distributed training is not used',
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
)


def is_for_the_console(record: logging.LogRecord) -> bool:
    """Whether a message tells a user something about the run."""
    return not record.getMessage().startswith(LEFT_OUT)


class BriefRunner(Runner):
    """A runner that writes environment, config and the order of hooks to the log file only."""

    def build_logger(self, *args, **kwargs) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(is_for_the_console)
        return logger
