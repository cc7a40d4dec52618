"""Experiment trackers where mmengine's own backends do not suffice."""

import os

import numpy as np
from mmengine.visualization import MLflowVisBackend as Parent

from mmmask.registry import VISBACKENDS


@VISBACKENDS.register_module()
class MLflowVisBackend(Parent):
    """mmengine's backend for MLflow that also stores pictures, each with its step.

    MLflow finds the format of a picture by the suffix of its name, and pictures of a training have
    names without suffix. Without ``tracking_uri``, everything is written to files in the work
    directory. Recent versions of MLflow refuse this unless ``MLFLOW_ALLOW_FILE_STORE`` is set, so
    this class sets it.

    Args:
        **kwargs: as in ``mmengine.visualization.MLflowVisBackend``.
    """

    def _init_env(self) -> None:
        if self._tracking_uri is None:
            os.environ.setdefault('MLFLOW_ALLOW_FILE_STORE', 'true')
        super()._init_env()

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs) -> None:
        """Store an (H, W, 3) picture of 8 bits under its name and step."""
        self.experiment.log_image(image, key=name, step=step)
