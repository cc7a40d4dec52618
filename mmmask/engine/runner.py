"""mmengine's runner with a short console. The log file has every message."""

import logging

from mmengine.config import Config
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


class FormattedConfig(Config):
    """A config whose text is formatted once, until it changes.

    The log and every checkpoint have the text, and yapf takes up to a second for it.
    """

    @property
    def pretty_text(self) -> str:
        content = repr(self._cfg_dict)
        if self.__dict__.get('_content') != content:
            self.__dict__.update(_content=content, _formatted=super().pretty_text)
        return self.__dict__['_formatted']


class BriefRunner(Runner):
    """A runner that writes environment, config and the order of hooks to the log file only."""

    @property
    def cfg(self) -> FormattedConfig:
        return self._formatted_config

    @cfg.setter
    def cfg(self, cfg: Config) -> None:
        self._formatted_config = FormattedConfig()
        self._formatted_config.__setstate__(cfg.__getstate__())

    def build_logger(self, *args, **kwargs) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(is_for_the_console)
        return logger
