"""What a report says about each kind of training: its metrics, its pictures and its commands."""

from typing import NamedTuple


class Metric(NamedTuple):
    """A validation metric: the name in the logs, a title, its unit, and the decimals shown."""

    name: str
    title: str
    unit: str = '%'
    decimals: int = 1


class Kind(NamedTuple):
    """What the trainings of a kind have.

    Attributes:
        metrics: the main validation metrics. Each that was logged has a chart and a row.
        no_metric: what is stated if none of them was logged.
        no_pictures: what is stated if the training drew no pictures; empty if this kind draws none.
        drawn: titles of the pictures that ``--pictures`` draws, by name.
        commands: how to use a checkpoint. ``{path}`` stands for it, ``{config}`` for the config of
            the run, and ``{train}`` and ``{test}`` for tools.
    """

    metrics: tuple[Metric, ...]
    no_metric: str
    no_pictures: str
    drawn: dict[str, str]
    commands: str


CONTINUE_AND_TEST = """\
# continue the training
python {train} {config} --resume {path}
# test again, and draw the worst predictions beside the ground truth
python {test} {config} {path} --work-dir TEST --draw TEST/worst
"""
NO_VALIDATION = 'There is no {}: the config has no validation, or it was not due yet.'
KINDS = {  # by the default_scope of the config
    'mmmask': Kind(
        (Metric('knn_top1', 'k-NN top-1'),),
        'There is no k-NN accuracy: the config has no OnlineKNNHook, or it was not due yet.',
        'There are no pictures: the config has no ReconstructionHook, or it was not due yet.',
        {
            'masks': 'masks',
            'evolution': 'parts and masks in the course of the training',
            'loss': 'loss at each hidden position',
            'pca': 'principal components of the patch features',
            'attention': 'attention of the class token',
            'neighbours': 'nearest neighbours',
            'tsne': 't-SNE of the features',
            'duplicates': 'most similar pairs of images',
        },
        """\
# the backbone for another library: mmpretrain, mmdet, mmseg, timm or huggingface
mmmask export {path} --to timm --out backbone.safetensors
# a classifier on your images, in a sub-folder for each class
mmmask finetune --data FOLDER --pretrained {path} --out RUN
# continue the pre-training
python {train} {config} --resume {path}
# what the features say about your images
mmmask visualize {config} {path} --features pca --images FOLDER
# which of your images are nearly identical, as a picture and a list
mmmask visualize {config} {path} --features duplicates --images FOLDER
""",
    ),
    'mmpretrain': Kind(
        (
            Metric('accuracy/top1', 'top-1 accuracy'),
            Metric('accuracy/top5', 'top-5 accuracy'),
        ),
        NO_VALIDATION.format('accuracy'),
        '',
        {},
        CONTINUE_AND_TEST
        + """\
# the k-NN accuracy of its features on your images, in a sub-folder for each class
mmmask evaluate {path} --data FOLDER --out KNN
# what its features say about your images
mmmask visualize {path} --features pca --images FOLDER
""",
    ),
    'mmdet': Kind(
        (
            Metric('coco/bbox_mAP', 'mAP of boxes', '', 3),
            Metric('coco/segm_mAP', 'mAP of masks', '', 3),
            Metric('pascal_voc/mAP', 'mAP of VOC', '', 3),
        ),
        NO_VALIDATION.format('mAP'),
        '',
        {'detections': 'annotated boxes, and those that the detector finds'},
        CONTINUE_AND_TEST
        + """\
# the boxes that it finds in your images
mmmask visualize {config} {path} --images FOLDER --out boxes.png
""",
    ),
    'mmseg': Kind(
        (Metric('mIoU', 'mIoU'), Metric('aAcc', 'pixel accuracy')),
        NO_VALIDATION.format('mIoU'),
        '',
        {},
        CONTINUE_AND_TEST,
    ),
}
METRICS = {metric.name: metric for kind in KINDS.values() for metric in kind.metrics}
