"""The networks of downstream tasks around the backbone that a checkpoint contains."""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.config import Config
from mmpretrain.models.backbones import VisionTransformer

from mmmask.checkpoints import CheckpointError, find_tensors, open_checkpoint
from mmmask.checkpoints.backbone import find_encoder
from mmmask.checkpoints.configs import describe_backbone
from mmmask.checkpoints.exporting.resnet import ResNetFamily, read_depth
from mmmask.checkpoints.exporting.swin import SwinFamily, read_swin_architecture
from mmmask.checkpoints.exporting.vit import ViTFamily, read_architecture
from mmmask.registry import MODELS

from .config_trial import on_meta

SPLITS = ('train', 'val', 'test')
FINEST = 4  # px of the finest map that a head uses
DETECTED, SEGMENTED = 4, 2  # longest side of an image and crop, in sides of a pre-training image
FROZEN = ('features', 'retrieval', 'linear')  # tasks that leave the backbone as it is
NARROW = 384  # widths below are those of small networks, and their heads are small as well
KEPT = dict(
    vit=('patch_size', 'in_channels', 'layer_scale_init_value', 'qkv_bias', 'with_cls_token'),
    swin=('arch', 'patch_size', 'in_channels', 'window_size', 'stage_cfgs'),
    resnet=('depth', 'in_channels', 'base_channels', 'stem_channels'),
)
KINDS = dict(
    VisionTransformer='vit', SwinTransformer='swin', ResNet='resnet', ResNet_CIFAR='resnet'
)


def read_backbone(path: str | Path) -> dict:
    """As :func:`backbone_in`, of a file or a folder."""
    return backbone_in(open_checkpoint(path), path)


def backbone_in(checkpoint: dict, path: str | Path) -> dict:
    """The options of the backbone in an open checkpoint, with its ``type`` and ``img_size``.

    They come from the config in a checkpoint of mmmask, else from names and shapes of the tensors
    and, in a folder of Hugging Face or timm, from its ``config.json``.

    Raises:
        CheckpointError: if the encoder is not a vision transformer, Swin or ResNet, or if a file
            without config has an unknown number of attention heads.
    """
    meta = checkpoint.get('meta') or {}
    described = describe_backbone(meta)
    if 'type' in described:
        name = described['type'].rpartition('.')[2].removeprefix('Masked')
        if name not in KINDS:
            raise CheckpointError(
                f'{path} contains the backbone {name}, but networks are built only for '
                f'{", ".join(KINDS)}: write a config of your own, see '
                'docs/detection_and_segmentation.md.'
            )
        return dict(img_size=224) | described | dict(type=name)
    encoder = find_encoder(find_tensors(checkpoint, path), {}, path)
    tensors = {f'backbone.{name}': tensor for name, tensor in encoder.items()}
    if ViTFamily().matches(tensors):
        architecture = read_architecture(tensors, {}, meta.get('num_heads'))
        return dict(architecture.options, type='VisionTransformer')
    if SwinFamily().matches(tensors):
        return dict(read_swin_architecture(encoder, {}).options, type='SwinTransformer')
    if ResNetFamily().matches(tensors):
        width, channels = encoder['conv1.weight'].shape[:2]
        options = dict(base_channels=width, stem_channels=width, in_channels=channels)
        return dict(options, type='ResNet', depth=read_depth(encoder), img_size=224)
    raise CheckpointError(f'{path} has no config and no encoder of a ViT, Swin or ResNet.')


def build_around(cfg: Config, backbone: Mapping, task: str, longest: int) -> None:
    """Put a backbone into a config of a task, and fit neck, heads and image sizes to it.

    Args:
        cfg: config whose ``own_data`` may hold ``narrow``, changes for small networks.
        backbone: of :func:`read_backbone`.
        task: ``'classification'``, ``'detection'``, ``'segmentation'``, or, for a frozen backbone,
            ``'features'`` of its last map, ``'retrieval'`` with several maps, or a ``'linear'``
            classifier.
        longest: the longest side of the images in pixels, for detection and segmentation.
    """
    size = backbone.get('img_size', 224)
    size = max(size) if isinstance(size, list | tuple) else size
    side = size
    if task in ('detection', 'segmentation'):
        side = math.ceil(min(longest, DETECTED * size) / 32) * 32
    crop = SEGMENTED * size if task == 'segmentation' else side
    kind = KINDS[backbone['type']]
    kept = {key: backbone[key] for key in KEPT[kind] if key in backbone}
    new, widths, strides = _BACKBONES[kind](backbone, kept, task, size, crop)
    narrow = (cfg.own_data.get('narrow') or {}) if max(widths) < NARROW else {}
    cfg.merge_from_dict(narrow)
    cfg.model.backbone = new
    if task == 'classification':
        _fit_classifier(cfg, widths, side)
        return
    if task == 'linear':
        _fit_linear_probe(cfg, widths, side)
    if task == 'features':
        for dataset in (cfg.test_dataloader.dataset, cfg.test_cfg.bank):
            _resize(dataset.pipeline, side)
    if task in FROZEN:
        return
    {'detection': _fit_detector, 'segmentation': _fit_segmentor}[task](cfg.model, widths, strides)
    set_sizes(cfg, side, crop)


def set_sizes(cfg: Config, side: int, crop: int) -> None:
    """Fit all images into squares of ``side`` pixels, and set crops to ``crop`` pixels."""
    for split in SPLITS:
        for transform in cfg[f'{split}_dataloader'].dataset.pipeline:
            if 'scale' in transform:
                transform.scale = (side, side)
            if 'crop_size' in transform:
                transform.crop_size = (crop, crop)
    if cfg.model.data_preprocessor.get('size'):
        cfg.model.data_preprocessor.size = (crop, crop)
        cfg.model.test_cfg = dict(mode='slide', crop_size=(crop, crop), stride=(crop * 2 // 3,) * 2)


def _vit(backbone: Mapping, kept: dict, task: str, size: int, side: int) -> tuple:
    arch = backbone.get('arch', 'base')
    arch = dict(VisionTransformer.arch_zoo[arch.lower()] if isinstance(arch, str) else arch)
    depth, width, patch = arch['num_layers'], arch['embed_dims'], kept.setdefault('patch_size', 16)
    every = max(depth // 4, 1)
    last = list(range(depth))[every - 1 :: every][-4:]  # of four groups of blocks
    if task == 'detection':
        arch['global_attn_indexes'] = last
        for option in ('with_cls_token', 'layer_scale_init_value'):  # it has neither
            kept.pop(option, None)
        options = dict(type='mmmask.WindowVisionTransformer', window_size=size // patch)
    elif task == 'classification':
        options = dict(
            type='mmpretrain.VisionTransformer', out_type='avg_featmap', final_norm=False
        )
    elif task in FROZEN:
        thirds = [depth // 3 - 1, depth * 2 // 3 - 1, depth - 1]
        options = dict(
            type='mmpretrain.VisionTransformer',
            out_type='cls_token' if task == 'linear' else 'raw',
            out_indices=thirds if task == 'retrieval' else -1,
            frozen_stages=depth if task == 'linear' else -1,
            final_norm=True,
        )
    else:
        while len(last) < 4:
            last = [last[0], *last]
        options = dict(
            type='mmpretrain.VisionTransformer',
            out_type='featmap',
            out_indices=last,
            final_norm=False,
        )
    return dict(options, arch=arch, img_size=side, **kept), [width], [patch]


def _hierarchical(options: dict, task: str) -> tuple:
    """The stages that a task uses, none finer than ``FINEST``, with their widths and strides."""
    side = 256
    with on_meta(), torch.no_grad():
        network = MODELS.build(dict(options))
        network.eval()  # mmpretrain's returns None
        maps = network(torch.zeros(1, options.get('in_channels', 3), side, side))
    found = [(i, m.shape[1], side // m.shape[-1]) for i, m in enumerate(maps)]
    found = [one for one in found if one[2] >= FINEST]
    found = found[-1:] if task in ('classification', 'features', 'linear') else found
    if task == 'linear':
        options['frozen_stages'] = len(maps) - options['type'].endswith('SwinTransformer')
    used, widths, strides = map(list, zip(*found, strict=True))
    return dict(options, out_indices=used), widths, strides


def _swin(backbone: Mapping, kept: dict, task: str, size: int, side: int) -> tuple:
    arch = kept.setdefault('arch', 'tiny')
    stages = len(arch['depths']) if isinstance(arch, Mapping) else 4
    return _hierarchical(
        dict(
            type='mmpretrain.SwinTransformer',
            img_size=size,
            drop_path_rate=0.1,
            out_indices=list(range(stages)),
            pad_small_map=True,
            **(dict(norm_cfg=None) if task in FROZEN else {}),
            **kept,
        ),
        task,
    )


def _resnet(backbone: Mapping, kept: dict, task: str, size: int, side: int) -> tuple:
    norm = dict(type='SyncBN', requires_grad=True)
    name = f'mmpretrain.{backbone["type"]}'
    return _hierarchical(
        dict(type=name, out_indices=[0, 1, 2, 3], norm_cfg=norm, norm_eval=False, **kept), task
    )


_BACKBONES = dict(vit=_vit, swin=_swin, resnet=_resnet)


def _scales(patch: int) -> list[float]:
    """Of the four levels of a pyramid, relative to a map of patches."""
    finest = 2 ** round(math.log2(patch / FINEST))
    return [finest / 2**level for level in range(4)]


def _fit_classifier(cfg: Config, widths: list[int], side: int) -> None:
    cfg.model.head.in_channels = widths[-1]
    if cfg.model.backbone.type != 'mmpretrain.VisionTransformer':
        cfg.model.neck = dict(type='mmpretrain.GlobalAveragePooling')
    for split in SPLITS:
        _resize(cfg[f'{split}_dataloader'].dataset.pipeline, side)


def _fit_linear_probe(cfg: Config, widths: list[int], side: int) -> None:
    norm = dict(type='mmpretrain.ClsBatchNormNeck', input_features=widths[-1])
    pooling = dict(type='mmpretrain.GlobalAveragePooling')
    is_vit = cfg.model.backbone.type == 'mmpretrain.VisionTransformer'
    cfg.model.neck = norm if is_vit else [pooling, norm]
    cfg.model.head.in_channels = widths[-1]
    # mmpretrain's Swin freezes its stages when training starts, after DDP registered gradients.
    cfg.find_unused_parameters = not is_vit
    for split in SPLITS:
        _resize(cfg[f'{split}_dataloader'].dataset.pipeline, side)


def _resize(pipeline: list[dict], side: int) -> None:
    """Crop images to a side, in pixels."""
    for transform in pipeline:
        if 'scale' in transform:  # a crop, or before one by the usual margin
            is_crop = 'Crop' in transform.type
            transform.scale = side if is_crop else round(side * 256 / 224)
        if 'crop_size' in transform:
            transform.crop_size = side


def _fit_detector(model: Config, widths: list[int], strides: list[int]) -> None:
    channels = model.neck.out_channels
    if model.backbone.type == 'mmmask.WindowVisionTransformer':
        scales = _scales(strides[0])
        model.neck = dict(
            type='mmmask.SimpleFeaturePyramid',
            in_channels=widths[0],
            out_channels=channels,
            scales=scales,
        )
        strides = [strides[0] / scale for scale in scales]
        strides = [*strides, 2 * strides[-1]]
    else:
        model.neck.in_channels = widths
        strides = strides + [strides[-1] * 2**i for i in range(1, 6 - len(strides))]
    strides = [int(stride) if stride == int(stride) else stride for stride in strides]
    model.rpn_head.anchor_generator.strides = strides
    for name in ('bbox_roi_extractor', 'mask_roi_extractor'):
        if model.roi_head.get(name):
            model.roi_head[name].featmap_strides = strides[:4]


def _fit_segmentor(model: Config, widths: list[int], strides: list[int]) -> None:
    if model.backbone.type == 'mmpretrain.VisionTransformer':
        model.neck = dict(
            type='mmseg.Feature2Pyramid',
            embed_dim=widths[0],
            rescales=_scales(strides[0]),
            norm_cfg=model.decode_head.norm_cfg,
        )
        widths = widths * 4
    model.decode_head.in_channels = widths
    model.decode_head.in_index = list(range(len(widths)))
    index = max(len(widths) - 2, 0)
    model.auxiliary_head.in_channels, model.auxiliary_head.in_index = widths[index], index
