"""What happens around the training steps."""

from .load_backbone import LoadBackboneHook
from .non_finite_loss import NonFiniteLossHook
from .online_knn import OnlineKNNHook
from .reconstruction import ReconstructionHook, reconstruct_and_draw, sample_batch

__all__ = [
    'LoadBackboneHook',
    'NonFiniteLossHook',
    'OnlineKNNHook',
    'ReconstructionHook',
    'reconstruct_and_draw',
    'sample_batch',
]
