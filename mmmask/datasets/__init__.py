"""Data sets and transforms. Samples hold decoded BGR images, so no pipeline needs a loader."""

from . import transforms
from .boxes import CropBoxes, are_full, box_areas, find_boxes, full_boxes, place_crop
from .copy_detection import COPYDAYS_BLOCKS, Copydays, PartialDuplicates, partial_duplicate
from .decoding import decode_image
from .digits import Digits
from .image_folder import ImageFolder
from .label_maps import LabelMapFolder, LoadLabelMap
from .parts import held_out
from .pixel_format import PLAIN, MisfitError, PixelFormat
from .resizing import resize_image, shrink_image
from .sampling import (
    Draw,
    ResumableBatchSampler,
    ResumableInfiniteSampler,
    ResumableSampler,
    SeededDataset,
    find_repeats,
)
from .shrinking import shrink_images
from .statistics import ImageStatistics, config_text, measure_images
from .transforms import *  # noqa: F403
from .wrapping import innermost

__all__ = [
    *transforms.__all__,
    'COPYDAYS_BLOCKS',
    'Copydays',
    'CropBoxes',
    'Digits',
    'Draw',
    'ImageFolder',
    'LabelMapFolder',
    'LoadLabelMap',
    'ImageStatistics',
    'MisfitError',
    'PLAIN',
    'PartialDuplicates',
    'PixelFormat',
    'ResumableBatchSampler',
    'ResumableInfiniteSampler',
    'ResumableSampler',
    'SeededDataset',
    'are_full',
    'box_areas',
    'config_text',
    'decode_image',
    'find_boxes',
    'find_repeats',
    'full_boxes',
    'held_out',
    'innermost',
    'measure_images',
    'partial_duplicate',
    'place_crop',
    'resize_image',
    'shrink_image',
    'shrink_images',
]
