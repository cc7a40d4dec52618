"""ContrastiveCrop, the hook that finds its boxes, the data and the model fit each other."""

import pytest
from conftest import ROOT
from mmengine.config import Config
from torch.utils.data import Dataset

from mmmask.apis.validate import ConfigError, validate_config
from mmmask.registry import DATASETS

CROP = dict(type='mmmask.ContrastiveCrop', scale=64)
FIXED = dict(CROP, box=(0.25, 0.25, 0.75, 0.75))
FLIP = dict(type='mmpretrain.RandomFlip', prob=0.5)
PACK = dict(type='mmpretrain.PackInputs')
REFRESH = dict(type='mmmask.RefreshCropsHook')
RESNET = dict(type='mmpretrain.ResNet', depth=18, _delete_=True)
PIPELINE = 'train_dataloader.dataset.pipeline'
HOOK = 'custom_hooks.0'


@DATASETS.register_module()
class UnnumberedImages(Dataset):
    """Not one of mmengine's data sets."""

    def __init__(self, split, pipeline):
        pass


def views(*transforms):
    return [dict(type='mmpretrain.MultiView', num_views=1, transforms=[[*transforms]]), PACK]


def errors(pipeline, hook=REFRESH, changes=None):
    cfg = Config.fromfile(ROOT / 'configs/demo/mae_vit-tiny_digits.py')
    cfg.train_dataloader.dataset.pipeline = pipeline
    cfg.custom_hooks = [hook] if hook else []
    cfg.merge_from_dict(changes or {})
    try:
        validate_config(cfg)
    except ConfigError as error:
        return [line.removeprefix('  - ') for line in str(error).splitlines()[1:]]
    return []


@pytest.mark.parametrize(
    ('pipeline', 'hook'),
    [
        (views(CROP, FLIP), REFRESH),
        ([CROP, FLIP, PACK], dict(REFRESH, heat_map='feat_norm', warmup=4, interval=4)),
        ([FIXED, PACK], None),
        ([dict(type='mmpretrain.CenterCrop', crop_size=24), *views(CROP)], REFRESH),
        (views(dict(type='mmpretrain.ColorJitter', brightness=0.4), CROP), REFRESH),
    ],
)
def test_what_fits(pipeline, hook):
    assert errors(pipeline, hook) == []


def hook(**options):
    return dict(REFRESH, **options)


WRONG = {
    'no hook': (
        ([CROP, PACK], None),
        f"{PIPELINE}.0.type='mmmask.ContrastiveCrop' gets no boxes: add "
        "dict(type='mmmask.RefreshCropsHook') to the hooks, or give it a fixed box such as "
        '(0.25, 0.25, 0.75, 0.75)',
    ),
    'no hook for a view': (
        (views(CROP, FLIP), None),
        f"{PIPELINE}.0.transforms.0.0.type='mmmask.ContrastiveCrop' gets no boxes",
    ),
    'no crop': (
        ([PACK],),
        f"{HOOK}.type='mmmask.RefreshCropsHook' finds boxes that nothing uses",
    ),
    'only a fixed box': (
        ([FIXED, PACK],),
        f"{HOOK}.type='mmmask.RefreshCropsHook' finds boxes that nothing uses",
    ),
    'flipped before the crop': (
        (views(FLIP, CROP),),
        f"{PIPELINE}.0.transforms.0.0.type='mmpretrain.RandomFlip' moves the image away from "
        f'its box: put it after {PIPELINE}.0.transforms.0.1',
    ),
    'flipped before the views': (
        ([FLIP, *views(CROP)],),
        f"{PIPELINE}.0.type='mmpretrain.RandomFlip' moves the image away from its box",
    ),
    'unknown heat-map': (
        ([CROP, PACK], hook(heat_map='cls_atn')),
        f"{HOOK}.heat_map='cls_atn' is not one of ('cls_attn', 'feat_norm', 'feat_sum')",
    ),
    'no class token': (
        ([CROP, PACK], REFRESH, {'model.backbone': RESNET}),
        f"{HOOK}.heat_map='cls_attn' needs a vision transformer with a class token: use "
        "'feat_norm' or 'feat_sum'",
    ),
    'threshold': (
        ([CROP, PACK], hook(threshold=30)),
        f'{HOOK}.threshold=30 must lie in (0, 1), such as 0.1 or 0.3',
    ),
    'half an epoch': (
        ([CROP, PACK], hook(interval=2.5)),
        f'{HOOK}.interval=2.5 must be a number of epochs, or below 1 a fraction of all epochs',
    ),
    'never': (
        ([CROP, PACK], hook(interval=0)),
        f'{HOOK}.interval=0 must be a number of epochs, or below 1 a fraction of all epochs',
    ),
    'run too short': (
        ([CROP, PACK], hook(warmup=60, interval=20)),
        f'{HOOK}.interval=20 finds no box in 20 epochs with warmup=60: lower them',
    ),
    'by iterations': (
        ([CROP, PACK], REFRESH, {'train_cfg': dict(by_epoch=False, max_iters=9, _delete_=True)}),
        f"{HOOK}.type='mmmask.RefreshCropsHook' counts epochs: train by epochs",
    ),
    'images without number': (
        ([CROP, PACK], REFRESH, {'train_dataloader.dataset.type': 'mmmask.UnnumberedImages'}),
        "train_dataloader.dataset.type='mmmask.UnnumberedImages' does not number its images",
    ),
    'in validation': (
        (
            [CROP, PACK],
            REFRESH,
            dict(
                val_dataloader=dict(
                    batch_size=1,
                    sampler=dict(type='DefaultSampler', shuffle=False),
                    dataset=dict(type='mmmask.Digits', pipeline=[CROP, PACK]),
                ),
                val_cfg=dict(),
                val_evaluator=dict(type='mmpretrain.Accuracy'),
            ),
        ),
        "val_dataloader.dataset.pipeline.0.type='mmmask.ContrastiveCrop' gets boxes in "
        'train_dataloader only: give it a fixed box or use another crop',
    ),
}


@pytest.mark.parametrize(('arguments', 'message'), WRONG.values(), ids=WRONG)
def test_what_does_not_fit(arguments, message):
    found = errors(*arguments)
    assert any(message in line for line in found), found
