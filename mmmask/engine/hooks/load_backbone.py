"""Start from a pre-trained backbone."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmmask.checkpoints import load_backbone
from mmmask.evaluation import unwrap
from mmmask.registry import HOOKS


@HOOKS.register_module()
class LoadBackboneHook(Hook):
    """Load the backbone of a checkpoint before a test, or a training that does not resume.

    Args:
        checkpoint: file that :func:`mmmask.checkpoints.load_backbone` reads.
        allow_missing: accept a file that does not fill the whole backbone.
    """

    priority = 'HIGHEST'  # what is tried before a run has the weights of the run

    def __init__(self, checkpoint: str, allow_missing: bool = False) -> None:
        self.checkpoint = checkpoint
        self.allow_missing = allow_missing

    def before_train(self, runner: Runner) -> None:
        """Load after the weights were initialised; a resumed run has its backbone already."""
        if not runner.iter:
            self._load(runner)

    def before_test(self, runner: Runner) -> None:
        """Load for tests of a frozen backbone, but not after a training in the same run."""
        if not runner.iter:
            self._load(runner)

    def _load(self, runner: Runner) -> None:
        model = unwrap(runner.model)
        shared_head = getattr(getattr(model, 'roi_head', None), 'shared_head', None)
        load_backbone(model.backbone, self.checkpoint, self.allow_missing, shared_head)
