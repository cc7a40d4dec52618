"""Pre-training methods and models by name, and the config of a pair of them.

A config is derived from the recipe of the method for a base model at 224 px.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mmmask.doctor import ROOT

PUBLISHED_SIDE = 224


class Method(NamedTuple):
    """A pre-training method.

    Attributes:
        summary: one line.
        recipes: its config below ``configs/`` for each family of models.
        model: what replaces parts of the recipe's model.
        draws: whether the predictions of patches can be drawn.
        slow: keys of momenta, with their half-life as a fraction of the training.
    """

    summary: str
    recipes: Mapping[str, str]
    model: Mapping[str, Any] = {}
    draws: bool = True
    slow: Mapping[str, float] = {}


class Model(NamedTuple):
    """A backbone.

    Attributes:
        family: ``'vit'``, ``'swin'``, ``'resnet'`` or ``'convnext'``.
        summary: one line.
        options: of the backbone of a recipe.
        side: of the images, in pixels.
        decoder: largest width, depth and heads of decoders.
        lr: base learning rate of small models on small images, where the recipe has another.
    """

    family: str
    summary: str
    options: Mapping[str, Any]
    side: int = PUBLISHED_SIDE
    decoder: Mapping[str, int] = {}
    lr: float | None = None


MODELS = {
    'vit-tiny-p8': Model(
        'vit',
        'ViT of width 192 for images of 64 px; trains on a CPU',
        dict(
            arch=dict(embed_dims=192, num_layers=12, num_heads=3, feedforward_channels=768),
            patch_size=8,
        ),
        side=64,
        decoder=dict(embed_dims=128, depth=2, num_heads=4),
        lr=1e-3,
    ),
    'vit-small-p16': Model(
        'vit',
        'ViT-S/16, width 384',
        dict(arch='deit-small'),
        decoder=dict(embed_dims=256, depth=4, num_heads=8),
    ),
    'vit-base-p16': Model('vit', 'ViT-B/16, width 768', dict(arch='base')),
    'vit-large-p16': Model('vit', 'ViT-L/16, width 1024', dict(arch='large')),
    'swin-tiny': Model('swin', 'Swin-T, windows of 7', dict(arch='tiny')),
    'swin-base': Model('swin', 'Swin-B, windows of 7', dict(arch='base')),
    'resnet-18': Model('resnet', 'ResNet-18', dict(depth=18)),
    'resnet-50': Model('resnet', 'ResNet-50', dict(depth=50)),
    'convnext-tiny': Model('convnext', 'ConvNeXt-T', dict(arch='tiny')),
    'convnext-base': Model('convnext', 'ConvNeXt-B', dict(arch='base')),
}

MAE = 'mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'
LOCALMIM_SWIN = 'localmim/localmim_swin-base-hog_8xb256-amp-coslr-100e_in1k.py'
SPARK = 'spark/spark_resnet-50_8xb512-amp-coslr-1600e_in1k.py'
FCMAE = 'spark/fcmae_convnext-base_8xb512-amp-coslr-800e_in1k.py'
LINEAR = dict(type='mmmask.LinearDecoder')
EVOLVING = {'parser.momentum': 14 / 300}

METHODS = {
    'localmim': Method(
        'histograms of gradients at four scales (Wang et al., CVPR 2023)',
        dict(
            vit='localmim/localmim_vit-base-p16_8xb256-amp-coslr-100e_in1k.py', swin=LOCALMIM_SWIN
        ),
    ),
    'mae': Method('pixels, from a quarter of the patches (He et al., CVPR 2022)', dict(vit=MAE)),
    'simmim': Method(
        'pixels by a linear layer (Xie et al., CVPR 2022)',
        dict(vit=MAE, swin=LOCALMIM_SWIN),
        dict(
            type='mmmask.SimMIM',
            masking=dict(
                vit=dict(type='mmmask.BlockMask', ratio=0.6, block_size=2),
                swin=dict(type='mmmask.RandomMask', ratio=0.6),
            ),
            neck=LINEAR,
            target_generator=dict(type='mmmask.PixelTarget', normalize=False),
            head=dict(type='mmmask.MaskedRegressionHead', distance='absolute'),
        ),
    ),
    'maskfeat': Method(
        'histograms of gradients by a linear layer (Wei et al., CVPR 2022)',
        dict(vit=MAE, swin=LOCALMIM_SWIN),
        dict(
            type='mmmask.SimMIM',
            masking=dict(
                vit=dict(type='mmmask.BlockMask', ratio=0.4, block_size=2),
                swin=dict(type='mmmask.RandomMask', ratio=0.4),
            ),
            neck=dict(vit=dict(LINEAR, scale=2), swin=dict(LINEAR, scale=4)),
            target_generator=dict(type='mmmask.HOGTarget', num_bins=9, cell_sizes=8),
        ),
    ),
    'crossmae': Method(
        'pixels of a part of the hidden patches, by cross-attention (Fu et al., TMLR 2025)',
        dict(vit='crossmae/crossmae_vit-base-p16_8xb512-amp-coslr-800e_in1k.py'),
    ),
    'features': Method(
        'features of CLIP, whose weights timm downloads (after MVP and MaskDistill, 2022)',
        dict(vit='features/features-clip_vit-base-p16_8xb256-amp-coslr-300e_in1k.py'),
    ),
    'ehm': Method(
        'pixels, with masks that grow from patches to parts (Feng and Zhang, TPAMI 2025)',
        dict(vit='evolved/ehm_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'),
        slow=EVOLVING,
    ),
    'epm': Method(
        'pixels, with masks that grow to parts (Feng and Zhang, CVPR 2023)',
        dict(vit='evolved/epm_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'),
        slow=EVOLVING,
    ),
    'cmae-mao': Method(
        'pixels, contrast of two views and positions (Mao et al., 2022)',
        dict(vit='cmae/cmae-mao_vit-base-p16_1xb64-amp-coslr-300e_tiny-imagenet.py'),
    ),
    'cmae-huang': Method(
        'pixels, and contrast with a momentum encoder (Huang et al., 2022)',
        dict(vit='cmae/cmae-huang_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'),
    ),
    'spark': Method(
        'pixels, by masked convolutions and a U-Net (Tian et al., ICLR 2023)',
        dict(resnet=SPARK, convnext=SPARK),
    ),
    'fcmae': Method(
        'pixels, by masked convolutions of ConvNeXt V2 (Woo et al., CVPR 2023)',
        dict(convnext=FCMAE),
    ),
    'ijepa': Method(
        'features of four blocks by a momentum encoder (Assran et al., CVPR 2023)',
        dict(vit='ijepa/ijepa_vit-base-p16_8xb256-amp-coslr-600e_in1k.py'),
        draws=False,
    ),
    'data2vec2': Method(
        'features by a momentum encoder, 16 masks per image (Baevski et al., 2022)',
        dict(vit='data2vec2/data2vec2_vit-base-p16_8xb32-amp-coslr-75e_in1k.py'),
        draws=False,
        slow={'target_generator.momentum': 0.01, 'target_generator.final_momentum': 0.2},
    ),
    'maskdeep': Method(
        'embeddings of other views, from masked feature maps (Liu et al., 2023)',
        dict(resnet='maskdeep/maskdeep_resnet-50_16xb256-amp-coslr-200e_in1k.py'),
        draws=False,
    ),
}


def choose(name: str, table: Mapping, kind: str):
    """An entry of a table of names.

    Raises:
        ValueError: if there is no such name. The message lists all names.
    """
    if name not in table:
        raise ValueError(f'{kind}={name!r} is unknown: choose one of {", ".join(table)}.')
    return table[name]


def models_of(method: str) -> list[str]:
    """Names of the models that a method can train."""
    return [name for name, model in MODELS.items() if model.family in METHODS[method].recipes]


def check_pair(method: str, model: str) -> None:
    """Refuse an unknown name, and a model that the method does not train.

    Raises:
        ValueError: naming the possible ones.
    """
    choose(method, METHODS, 'method')
    choose(model, MODELS, 'model')
    if model not in models_of(method):
        able = [name for name in METHODS if model in models_of(name)]
        raise ValueError(
            f'method={method!r} does not train model={model!r}: it trains '
            f'{", ".join(models_of(method))}, and {model} is trained by {", ".join(able)}.'
        )


def make_config(method: str, model: str, img_size: int | None = None):
    """The config of a pair, still with the data of its recipe.

    Args:
        method, model: keys of ``METHODS`` and ``MODELS``.
        img_size: side of the images in pixels, by default that of the model.

    Raises:
        ValueError: see :func:`check_pair`.
    """
    from mmengine.config import Config

    check_pair(method, model)
    chosen, backbone = METHODS[method], MODELS[model]
    cfg = Config.fromfile(ROOT / 'configs' / chosen.recipes[backbone.family])
    kept = ('default_scope', 'default_hooks', 'custom_hooks', 'visualizer', 'env_cfg', 'model',
            'randomness', 'log_level', 'load_from', 'resume', 'auto_scale_lr', 'optim_wrapper',
            'param_scheduler', 'train_cfg', 'train_dataloader')  # fmt: skip
    cfg = Config({key: cfg[key] for key in kept if key in cfg})
    for name, part in chosen.model.items():
        cfg.model[name] = part.get(backbone.family, part) if isinstance(part, dict) else part
    side = img_size or backbone.side
    _FIT[backbone.family](cfg.model, backbone, method, side)
    _narrow(cfg.model, backbone.decoder)
    _resize(cfg.train_dataloader.dataset.pipeline, side)
    if backbone.lr:
        cfg.optim_wrapper.optimizer.lr = backbone.lr
    return cfg


def _fit_vit(model, chosen: Model, method: str, side: int) -> None:
    backbone = model.backbone
    backbone.pop('arch')
    backbone.update(chosen.options, img_size=side)
    if chosen.options['arch'] == 'large':
        if method == 'localmim':
            backbone.out_indices = [1, 3, 21, 23]
            model.target_generator.update(num_bins=18, bias=True)
        elif method == 'crossmae':
            backbone.out_indices = list(range(24))
        elif method == 'data2vec2':
            model.target_generator.num_layers = 20
    cells = model.get('target_generator', {}).get('cell_sizes')
    if cells is not None:
        smaller = 16 // backbone.patch_size
        several = isinstance(cells, list | tuple)
        model.target_generator.cell_sizes = (
            [cell // smaller for cell in cells] if several else cells // smaller
        )


def _fit_swin(model, chosen: Model, method: str, side: int) -> None:
    model.backbone.update(chosen.options, img_size=side)
    if method in ('simmim', 'maskfeat'):  # they predict from the last stage alone
        model.backbone.out_indices = (3,)


def _fit_convolutions(model, chosen: Model, method: str, side: int) -> None:
    if method == 'spark' and chosen.family == 'convnext':
        model.backbone = dict(type='mmmask.MaskedConvNeXt', out_indices=(0, 1, 2, 3))
    model.backbone.update(chosen.options)


_FIT = dict(vit=_fit_vit, swin=_fit_swin, resnet=_fit_convolutions, convnext=_fit_convolutions)


def _narrow(model, limits: Mapping[str, int]) -> None:
    """Bound width, depth and heads of all decoders."""
    if not limits:
        return
    neck = model.neck
    for one in (*neck.get('decoders', ()), neck, model.get('feature_decoder') or {}):
        if one.get('type') == 'mmmask.ScaleDecoder':
            one.update(embed_dims=256, num_heads=8)  # its defaults
        one.update({key: min(one[key], limits[key]) for key in limits if key in one})


def _resize(pipeline: list, side: int) -> None:
    """Scale every crop of a recipe, also in nested transforms."""
    for step in pipeline:
        if isinstance(step, list):
            _resize(step, side)
            continue
        for key in ('scale', 'size', 'max_shift'):
            if isinstance(step.get(key), int):
                step[key] = round(step[key] * side / PUBLISHED_SIDE)
        _resize(step.get('transforms', ()), side)
