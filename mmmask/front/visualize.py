"""Draw what a pre-training hides, predicts and has learned, or what a detector finds.

By default, the picture shows images, masks, targets and predictions; of a detector, the boxes that
it finds in validation images, beside the annotated ones.

With --evolution, draw the parts into which the model divides the images, and its masks, at several
stages of training: one for each checkpoint, or the whole schedule for a single checkpoint.

With --masks, draw the masks that the config makes for these images, before any training: several
samples, or the stages of the schedule if the masks change during training. Hidden patches are grey.
If only a part of them is predicted, this part is orange, and each of several blocks has an outline.

With --features, draw what a backbone has learned. RUN is a training, also of a classifier or a
detector, or the weights of a backbone: a file, a folder of timm or Hugging Face, or a name on a
hub. The pictures are the principal components of its patch features as colours (pca), the
attention of the class token (attention), the images with the most similar features (neighbours), a
point for each image (tsne), the loss at each hidden position (loss), or near-identical images
(duplicates), which are also listed in a CSV file beside the picture.

With --boxes, draw the heat maps of the model and the boxes that guide ContrastiveCrop, with a
column for each checkpoint.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from . import running
from .embed import network_in

EXAMPLES = """
examples:
  mmmask visualize runs/a --out picture.png
  mmmask visualize runs/a --images holiday.jpg cat.png --out picture.png
  mmmask visualize runs/a --features neighbours --images FOLDER
  mmmask visualize runs/street --out boxes.png
  mmmask visualize runs/a --evolution --num-images 4
  mmmask visualize configs/demo/mae_vit-tiny_digits.py --masks --images FOLDER
  mmmask visualize hf-hub:facebook/vit-mae-base --features pca --images FOLDER
  mmmask visualize configs/demo/cmae-mao_vit-tiny_digits.py work_dirs/demo/epoch_*.pth --boxes \\
      --cfg-options custom_hooks.0.heat_map=feat_norm custom_hooks.0.threshold=0.5
"""


def visualize(
    run: str | os.PathLike,
    out: str | os.PathLike | None = None,
    checkpoints: str | os.PathLike | Sequence[str | os.PathLike] = (),
    masks: bool = False,
    evolution: bool = False,
    boxes: bool = False,
    features: str | None = None,
    pretrained: str | os.PathLike | None = None,
    images: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    num_images: int = 8,
    seed: int = 0,
    cfg_options: dict | None = None,
) -> Path:
    """Draw what a pre-trained model predicts, one of the other pictures, or what a detector finds.

    Args:
        run: folder of a pre-training or of the training of a detector, or config file of one. For
            ``features``, also any training, or weights that hold a backbone: a file, a folder, or
            a name such as ``hf-hub:facebook/vit-mae-base``.
        out: picture to write; by default named after what it shows.
        checkpoints: checkpoints of that training; by default the newest of the folder, and all of
            them for ``evolution`` and ``boxes``.
        masks: draw masks; needs no checkpoint.
        evolution: draw parts and masks over the training.
        boxes: draw the boxes of ContrastiveCrop over the training.
        features: draw what the backbone has learned: ``'pca'``, ``'attention'``, ``'neighbours'``,
            ``'tsne'``, ``'loss'`` or ``'duplicates'``, see
            :func:`mmmask.apis.visualize_features.visualize_features`.
        pretrained: weights of the backbone for ``features``, in place of a checkpoint.
        images: one folder or ``.zip`` file, or image files; by default the images of the
            pre-training, and for boxes of a detector the validation images.
        num_images: images to draw.
        seed: seed of the masks.
        cfg_options: dotted keys and values that override the config's.

    Returns:
        The path of the picture.

    Raises:
        FileNotFoundError: if the folder has no config or no checkpoint.
        ValueError: for options that contradict each other, and for what the method cannot show.
    """
    checkpoints = running.places(checkpoints)
    _check(masks, evolution, boxes, features, pretrained, checkpoints)
    from mmengine.logging import MMLogger

    from mmmask.apis import visualize as draw
    from mmmask.apis.validate import read_config
    from mmmask.apis.visualize_detections import visualize_detections
    from mmmask.apis.visualize_features import visualize_features

    MMLogger.get_current_instance().setLevel('WARNING')
    images = running.places(images)
    if features and not pretrained and (weights := _weights_of(run, checkpoints, cfg_options)):
        path = _draw_features(weights, features, images, out, num_images, seed)
        print(f'The picture is in {path}')
        return path
    checkpoints = checkpoints or ([] if pretrained else _checkpoints_of(run))
    if not checkpoints and not masks and not pretrained:
        raise ValueError('give a checkpoint, or --masks to draw masks without one.')
    newest = checkpoints[-1] if checkpoints else None
    cfg = read_config(_config_of(run), cfg_options)
    kind = cfg.get('default_scope', 'mmmask')
    if kind not in ('mmmask', 'mmdet') or (kind == 'mmdet' and (masks or evolution or boxes)):
        raise ValueError(
            f'{run} is no pre-training: give --features KIND to see what its backbone '
            'has learned, or leave the kind out for the boxes of a detector.'
        )
    if kind == 'mmdet':
        path = visualize_detections(cfg, newest, images, out or 'detections.png', num_images)
    elif features:
        path = visualize_features(cfg, newest, features, images, out, num_images, seed, pretrained)
    elif masks:
        path = draw.visualize_masks(cfg, newest, images, out or 'masks.png', num_images, seed)
    elif evolution:
        out = out or 'evolution.png'
        path = draw.visualize_evolution(cfg, checkpoints, images, out, num_images, seed)
    elif boxes:
        path = draw.visualize_boxes(cfg, checkpoints, images, out or 'boxes.png', num_images)
    else:
        path = draw.visualize(cfg, newest, images, out or 'reconstruction.png', num_images, seed)
    print(f'The picture is in {path}')
    return path


def _weights_of(
    run: str | os.PathLike, checkpoints: list[str], cfg_options: dict | None
) -> str | None:
    """The weights of a backbone, if ``run`` is neither a pre-training nor a config.

    Raises:
        ValueError: for options that weights cannot obey.
    """
    from mmmask.apis.validate import read_config

    path = Path(run).expanduser()
    is_training = any(path.glob('*/vis_data/config.py'))
    if path.suffix == '.py' or (
        is_training and read_config(_config_of(path)).get('default_scope', 'mmmask') == 'mmmask'
    ):
        return None
    if cfg_options:
        raise ValueError(f'{run} is no pre-training: leave --cfg-options out.')
    if checkpoints and not is_training:
        raise ValueError(f'{run} gives the weights already: leave {", ".join(checkpoints)} out.')
    return checkpoints[-1] if checkpoints else running.checkpoint_of(path if is_training else run)


def _draw_features(weights: str, kind: str, images: list[str], out, num_images: int, seed: int):
    """Draw what the backbone in these weights has learned.

    Raises:
        ValueError: without images.
    """
    from mmmask.apis.visualize_features import check_kind, open_source, write_features

    out = check_kind(kind, out, encoder_only=True)
    if not images:
        raise ValueError(f'{weights} states no images of a pre-training: give --images.')
    model, *form = network_in(weights)
    return write_features(model, open_source(images, *form), kind, out, num_images, seed)


def _check(masks, evolution, boxes, features, pretrained, checkpoints) -> None:
    """Refuse options that contradict each other.

    Raises:
        ValueError: naming them.
    """
    if sum((masks, evolution, boxes, bool(features))) > 1:
        raise ValueError('choose one of --masks, --evolution, --boxes and --features.')
    if pretrained and not features:
        raise ValueError('--pretrained gives the weights of --features only.')
    if pretrained and checkpoints:
        raise ValueError('give a checkpoint or --pretrained, not both.')
    if len(checkpoints) > 1 and not (evolution or boxes):
        raise ValueError('several checkpoints can only be drawn with --evolution or --boxes.')


def _config_of(run: str | os.PathLike) -> Path:
    """A config file, also one that came with the package, or that of a folder's last training.

    Raises:
        FileNotFoundError: if the folder has none.
    """
    run = Path(run).expanduser()
    if not run.is_dir():
        packaged = running.ROOT / run
        return packaged if packaged.is_file() and not run.is_file() else run
    found = sorted(run.glob('*/vis_data/config.py'))
    if not found:
        raise FileNotFoundError(f'{run} is a folder without a config of a training.')
    return found[-1]


def _checkpoints_of(run: str | os.PathLike) -> list[str]:
    """The checkpoints of a folder, the newest intact one last; none of a config file.

    Raises:
        FileNotFoundError: if the folder has none.
    """
    run = Path(run).expanduser()
    if not run.is_dir():
        return []
    newest = running.checkpoint_of(run)
    named = {str(path) for unit in ('epoch', 'iter') for path in run.glob(f'{unit}_*.pth')}
    return [*sorted(named - {newest}), newest]
