"""The configs of a campaign's trainings."""

import os

from mmengine.config import Config

from mmmask.apis.length import observes, set_length
from mmmask.apis.own_data import set_num_classes
from mmmask.apis.own_network import build_around, read_backbone
from mmmask.doctor import ROOT

from .declaration import Campaign, Method
from .images import Images

CROPS = ('RandomResizedCrop', 'ContrastiveCrop')
CLASSIFIER = ROOT / 'configs' / 'downstream' / 'folder' / 'classification.py'
USED_UP = ('labelled_train', 'labelled_val', 'plain_pipeline', 'crop', 'brightness', 'blur')


def pretraining_config(campaign: Campaign, method: Method, images: Images) -> Config:
    """The config of a method with the images, the length and the checkpoints of a campaign."""
    cfg = Config.fromfile(ROOT / method.config)
    cfg.merge_from_dict(method.options)
    set_length(cfg, epochs=campaign.epochs)
    pipeline = _adapt(cfg.train_dataloader.dataset.pipeline, campaign.data)
    cfg.train_dataloader.dataset = dict(images.dataset('train', pipeline), with_label=False)
    for view in cfg.model.data_preprocessor.get('views', ()):  # made on the device
        view.update(
            crop_ratio_range=(campaign.data.crop, 1.0), flip=0.5 if campaign.data.flip else 0.0
        )
    cfg.default_hooks.checkpoint.update(interval=campaign.interval, max_keep_ckpts=-1)
    # Curves are measured afterwards, from the checkpoints.
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if not observes(hook)]
    for name in USED_UP:
        cfg.pop(name, None)
    return cfg


def tuning_config(
    campaign: Campaign,
    images: Images,
    checkpoint: str | os.PathLike,
    fraction: float,
    times: int,
    seed: int,
) -> Config:
    """The config of a classifier that starts from the backbone of a checkpoint.

    Args:
        fraction: of the training labels. Fewer images are seen more often, so that all fractions
            take the same number of steps.
        times: multiple of the declared length.
        seed: of the choice of labels.
    """
    cfg = Config.fromfile(CLASSIFIER)
    build_around(cfg, read_backbone(checkpoint), 'classification', campaign.data.size)
    cfg.pop('own_data')
    cfg.merge_from_dict(campaign.tuning.options)
    chosen = 'train' if fraction >= 1 else images.list_few(fraction, seed)
    for split, part in (('train', chosen), ('val', 'test'), ('test', 'test')):
        dataset = cfg[f'{split}_dataloader'].dataset
        if split == 'train':
            dataset.pipeline = _adapt(
                [one for one in dataset.pipeline if 'Flip' not in one['type']], campaign.data
            )
        cfg[f'{split}_dataloader'].dataset = images.dataset(part, dataset.pipeline)
    set_num_classes(cfg, len(images.classes))
    set_length(cfg, epochs=round(times * campaign.tuning.epochs / fraction))
    cfg.train_cfg.val_interval = cfg.train_cfg.max_epochs
    cfg.default_hooks.checkpoint = dict(
        type='mmmask.DurableCheckpointHook', interval=cfg.train_cfg.max_epochs, max_keep_ckpts=1
    )
    return cfg


def _adapt(value, data):
    """A pipeline with the crops of the data, each followed by a flip if images may be mirrored."""
    if isinstance(value, dict):
        return {key: _adapt(child, data) for key, child in value.items()}
    if not isinstance(value, list | tuple):
        return value
    adapted = []
    for child in value:
        adapted.append(_adapt(child, data))
        if isinstance(child, dict) and child.get('type', '').rpartition('.')[2] in CROPS:
            adapted[-1]['crop_ratio_range'] = (data.crop, 1.0)
            if data.flip:
                adapted.append(dict(type='mmpretrain.RandomFlip', prob=0.5))
    return adapted
