"""Synthetic batches with the labels that a model is trained on."""

from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from mmpretrain.models import BaseClassifier
from mmpretrain.structures import DataSample
from torch import Tensor

OBJECTS = 8  # per image, for detectors


def synthetic_batch(model: BaseModel, images: Tensor) -> dict:
    """(B, C, H, W) -> what ``model(**batch, mode='loss')`` takes.

    Pre-training takes images alone, in as many views as the model has. Classifiers get a label,
    segmentors a map, and detectors boxes and masks for each image; the preprocessor of the model
    collates them.
    """
    if isinstance(model, BaseClassifier):
        samples = [DataSample().set_gt_label(0) for _ in images]
        return dict(inputs=images, data_samples=samples)
    libraries = {kind.__module__.partition('.')[0] for kind in type(model).__mro__}
    if 'mmdet' in libraries:
        from mmdet.testing import demo_mm_inputs

        shapes, objects = [list(image.shape) for image in images], [OBJECTS] * len(images)
        batch = demo_mm_inputs(len(images), shapes, objects, with_mask=True, num_classes=2)
        for sample in batch['data_samples']:
            sample.gt_instances.labels.zero_()  # the class that every detector has
        return model.data_preprocessor(batch, training=True)
    if 'mmseg' in libraries:
        from mmseg.structures import SegDataSample

        labels = images.new_zeros((1, *images.shape[2:])).long()
        sample = SegDataSample(
            gt_sem_seg=PixelData(data=labels), metainfo=dict(img_shape=images.shape[2:])
        )
        packed = [dict(inputs=image, data_samples=sample.clone()) for image in images]
        return model.data_preprocessor(pseudo_collate(packed), training=True)
    num_views = getattr(model, 'num_views', 1)
    return dict(inputs=images if num_views == 1 else [images] * num_views)
