"""What happens around the training steps."""

from .channels_last import ChannelsLastHook
from .collapse import CollapseHook, embedding_std
from .dead_masks import DeadMaskHook
from .durable_checkpoint import DurableCheckpointHook, find_intact_checkpoint
from .evolution import EvolutionHook, Stage, divide_and_mask, draw_stages
from .load_backbone import LoadBackboneHook
from .momentum_update import MomentumUpdateHook
from .non_finite_loss import NonFiniteLossHook
from .online_knn import OnlineKNNHook
from .preemption import PREEMPTED, PreemptionHook, leave_when_told
from .progress import ProgressHook, describe_masks
from .reconstruction import ReconstructionHook, reconstruct_and_draw, sample_batch
from .refresh_crops import BoxStage, RefreshCropsHook, draw_box_stages

__all__ = [
    'PREEMPTED',
    'BoxStage',
    'ChannelsLastHook',
    'CollapseHook',
    'DeadMaskHook',
    'DurableCheckpointHook',
    'EvolutionHook',
    'LoadBackboneHook',
    'MomentumUpdateHook',
    'NonFiniteLossHook',
    'OnlineKNNHook',
    'PreemptionHook',
    'ProgressHook',
    'ReconstructionHook',
    'RefreshCropsHook',
    'Stage',
    'describe_masks',
    'divide_and_mask',
    'draw_box_stages',
    'draw_stages',
    'embedding_std',
    'find_intact_checkpoint',
    'leave_when_told',
    'reconstruct_and_draw',
    'sample_batch',
]
