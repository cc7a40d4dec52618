"""Compile the transformer blocks of the model that is trained."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmmask.engine.compiling import compile_blocks
from mmmask.evaluation import unwrap
from mmmask.registry import HOOKS


@HOOKS.register_module()
class CompileBlocksHook(Hook):
    """Call :func:`mmmask.engine.compiling.compile_blocks` before the training.

    Args:
        required: whether a model without transformer blocks is an error.
        **options: arguments of :func:`torch.compile`.
    """

    def __init__(self, required: bool = False, **options) -> None:
        self.required = required
        self.options = options

    def before_train(self, runner: Runner) -> None:
        """Compile in place, also within the wrapper of a distributed training.

        Raises:
            ValueError: if there is nothing to compile but ``required``.
        """
        number = compile_blocks(unwrap(runner.model), **self.options)
        if self.required and not number:
            raise ValueError("compile='on' needs transformer blocks, but the model has none.")
        runner.logger.info(f'{number} transformer blocks are compiled at their first use.')
