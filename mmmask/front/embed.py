"""Write the features of a folder of images, one vector for each image.

The ending of OUT chooses the format: .npy, with the names beside it in <OUT>.names.txt; .csv or
.parquet, with the columns name, f0, f1, ...
"""

import os
from pathlib import Path

from . import running
from .running import AUTOMATIC, Value

FORMATS = ('.npy', '.csv', '.parquet')
EXAMPLES = """
examples:
  mmmask embed runs/a --data images/ --out features.npy
  mmmask embed runs/a --data images/ --out features.csv --pooling 2x2
"""


def embed(
    checkpoint: str | os.PathLike,
    data: str | os.PathLike,
    out: str | os.PathLike,
    pooling: str = 'mean',
    batch_size: int = 64,
    workers: int | None = None,
) -> Path:
    """Write the features of M images, (M, D) fp32, and their names.

    The short side of images is resized and their centre is cropped to the image size of the
    pre-training. Files are read in the channels and the range of values that the pre-training
    states. Unreadable files are left out, with a warning for each.

    Args:
        checkpoint: checkpoint of a backbone, or folder of a training.
        data: folder, with all its sub-folders, or ``.zip`` file of images.
        out: new file: ``.npy`` with ``<out>.names.txt``, ``.csv``, or ``.parquet``, which needs
            ``mmmask[parquet]``.
        pooling: ``'mean'`` of the patches, ``'cls'``, ``'2x2'`` or ``'4x4'`` parts side by side, or
            ``'all'`` patches; see :func:`mmmask.evaluation.pool`.
        batch_size: images per step.
        workers: processes that load images, by default one for each core, at most 8.

    Returns:
        The path of the file.

    Raises:
        FileExistsError: if the file exists.
        ValueError: for another ending, or if no image is readable.
    """
    from mmengine.logging import MMLogger

    out = _check_out(Path(out).expanduser())
    MMLogger.get_current_instance().setLevel('WARNING')
    workers = running.number_of_workers(workers, 1)
    start = running.checkpoint_of(checkpoint)
    images, model = _images_and_model(start, data)
    running.print_values(
        'mmmask embed',
        dict(
            checkpoint=Value(start, ''),
            data=Value(f'{data} ({len(images):,} images)', ''),
            device=Value(running.name_of_device(), AUTOMATIC),
            pooling=Value(pooling, ''),
            batch_size=Value(batch_size, ''),
            workers=workers,
        ),
    )
    features, names = _extract(model, images, pooling, batch_size, workers.value)
    out.parent.mkdir(parents=True, exist_ok=True)
    _WRITERS[out.suffix](out, features, names)
    print(f'The features of {len(names):,} images, {features.shape[1]} numbers each, are in {out}')
    return out


def _check_out(out: Path) -> Path:
    if out.suffix not in FORMATS:
        raise ValueError(f'out={str(out)!r} must end in {", ".join(FORMATS)}.')
    if out.suffix == '.parquet':
        from importlib.util import find_spec

        if find_spec('pyarrow') is None:
            raise ValueError(f'{out} needs pyarrow: pip install "mmmask[parquet]", or write .csv.')
    for path in (out, _names_of(out)) if out.suffix == '.npy' else (out,):
        if path.exists():
            raise FileExistsError(f'{path} exists: choose another --out or remove it.')
    return out


def _names_of(out: Path) -> Path:
    return out.with_name(f'{out.name}.names.txt')


def network_in(checkpoint: str):
    """What a checkpoint contains: a network, (H, W) of its images, and their channels and range.

    The network has the backbone, what normalises images for it, and no head.
    """
    import torch
    from mmengine.registry import init_default_scope

    from mmmask.apis.image_format import stated_format
    from mmmask.apis.own_data import name_data
    from mmmask.apis.own_network import read_backbone
    from mmmask.apis.validate import read_config
    from mmmask.checkpoints import find_pretrained, load_backbone
    from mmmask.registry import MODELS

    cfg = read_config(running.ROOT / 'configs' / 'downstream/folder/knn.py')
    checkpoint = find_pretrained(checkpoint)
    name_data(cfg, None, pretrained=checkpoint)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    model.init_weights()
    load_backbone(model.backbone, checkpoint)
    side = read_backbone(checkpoint).get('img_size', 224)
    size = tuple(side) if isinstance(side, list | tuple) else (side, side)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    return model.eval().to(device), size, stated_format(cfg.test_dataloader.dataset)


def _images_and_model(checkpoint: str, data):
    """The images in the size of the pre-training, and the backbone with what normalises them."""
    from mmmask.apis.image_format import fit_pipeline
    from mmmask.apis.visualize import plain_pipeline
    from mmmask.datasets import ImageFolder

    model, size, pixel_format = network_in(checkpoint)
    images = ImageFolder(
        os.fspath(data),
        pipeline=fit_pipeline(plain_pipeline(size), pixel_format),
        max_unreadable=1.0,
        **pixel_format._asdict(),
    )
    return images, model


def _extract(model, images, pooling: str, batch_size: int, workers: int):
    """(M, D) features and M names, without the files that cannot be read."""
    import torch
    from mmengine.dataset import default_collate
    from torch.utils.data import DataLoader

    from mmmask.evaluation import extract_features

    loader = DataLoader(images, batch_size, num_workers=workers, collate_fn=default_collate)
    seen = []

    def noting():
        for batch in loader:
            seen.extend(sample.img_path for sample in batch['data_samples'])
            yield batch

    features, _ = extract_features(model, noting(), pooling)
    # Another image takes the place of an unreadable one.
    wanted = [images._path(one['name']) for one in map(images.get_data_info, range(len(images)))]
    kept = [index for index, pair in enumerate(zip(wanted, seen, strict=True)) if len({*pair}) == 1]
    names = [images.get_data_info(index)['name'] for index in kept]
    if not names:
        raise ValueError(f'{images.source} has no readable image.')
    return features[torch.tensor(kept)].cpu().numpy(), names


def _write_npy(out: Path, features, names: list[str]) -> None:
    import numpy as np

    from mmmask.datasets.image_folder import printable

    _names_of(out).write_text(''.join(f'{printable(name)}\n' for name in names), encoding='utf-8')
    np.save(out, features)


def _columns(features) -> list[str]:
    return [f'f{index}' for index in range(features.shape[1])]


def _write_csv(out: Path, features, names: list[str]) -> None:
    import csv

    with out.open('w', newline='', encoding='utf-8', errors='surrogateescape') as file:
        writer = csv.writer(file)
        writer.writerow(['name', *_columns(features)])
        writer.writerows([name, *row] for name, row in zip(names, features, strict=True))


def _write_parquet(out: Path, features, names: list[str]) -> None:
    import pyarrow
    from pyarrow import parquet

    columns = zip(_columns(features), features.T, strict=True)
    parquet.write_table(pyarrow.table(dict(name=names) | dict(columns)), out)


_WRITERS = {'.npy': _write_npy, '.csv': _write_csv, '.parquet': _write_parquet}
