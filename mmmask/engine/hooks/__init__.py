"""Hooks of the training loop."""

from .channels_last import ChannelsLastHook
from .collapse import CollapseHook
from .compile_blocks import CompileBlocksHook
from .dead_masks import DeadMaskHook
from .durable_checkpoint import DurableCheckpointHook
from .load_backbone import LoadBackboneHook
from .majority_class import MajorityClassHook
from .mask_statistics import MaskStatisticsHook
from .momentum_update import MomentumUpdateHook
from .non_finite_loss import NonFiniteLossHook
from .online_knn import OnlineKNNHook
from .pictures import EvolutionHook, ReconstructionHook
from .preemption import PreemptionHook
from .progress import ProgressHook
from .refresh_crops import RefreshCropsHook

__all__ = [
    'ChannelsLastHook',
    'CollapseHook',
    'CompileBlocksHook',
    'DeadMaskHook',
    'DurableCheckpointHook',
    'EvolutionHook',
    'LoadBackboneHook',
    'MajorityClassHook',
    'MaskStatisticsHook',
    'MomentumUpdateHook',
    'NonFiniteLossHook',
    'OnlineKNNHook',
    'PreemptionHook',
    'ProgressHook',
    'ReconstructionHook',
    'RefreshCropsHook',
]
