"""Measure a frozen backbone by k-NN, a linear probe or the retrieval of partial duplicates.

The config of the test is written to OUT/config.py, and the results to OUT/<time>/<time>.json.
"""

import os
from pathlib import Path

from . import running
from .running import AUTOMATIC, GIVEN, Value

PROTOCOLS = {
    'knn': 'downstream/folder/knn.py',
    'probe': 'downstream/folder/probe.py',
    'retrieval': 'downstream/retrieval/duplicates-320px.py',
}
EXAMPLES = """
examples:
  mmmask evaluate runs/a --data flowers/ --out runs/a-knn
  mmmask evaluate runs/a --data flowers/ --protocol probe --out runs/a-probe
"""


def evaluate(
    checkpoint: str | os.PathLike,
    data: str | os.PathLike,
    out: str | os.PathLike,
    protocol: str = 'knn',
    batch_size: int | None = None,
    workers: int | None = None,
) -> dict[str, float]:
    """Measure the frozen features of a backbone.

    Args:
        checkpoint: checkpoint of a backbone, or folder of a training.
        data: folder or ``.zip`` file with a folder for each class, of which a fifth is tested; for
            ``'retrieval'`` any images.
        out: folder of config and results.
        protocol: ``'knn'``, ``'probe'`` for a converged linear probe, or ``'retrieval'`` of
            partial duplicates, at most 200, which needs the extra ``retrieval``.
        batch_size: images per step, by default the recipe's.
        workers: processes that load images, by default one for each core, at most 8.

    Returns:
        Percentages by name.

    Raises:
        ValueError: for another protocol.
    """
    from mmmask.apis.own_data import name_data
    from mmmask.apis.rehearsal import RehearsalHook
    from mmmask.apis.train import build_runner, load_config
    from mmmask.apis.validate import read_config

    from .recipes import choose

    recipe = choose(protocol, PROTOCOLS, 'protocol')
    start, out = running.checkpoint_of(checkpoint), Path(out).expanduser()
    workers = running.number_of_workers(workers, 1)
    cfg = read_config(running.ROOT / 'configs' / recipe)
    name_data(cfg, running.places(data), None, start, out / 'data', test_only=True)
    running.set_loaders(cfg, workers.value)
    if batch_size is not None:
        cfg.test_dataloader.batch_size = batch_size
    if protocol == 'knn':
        _bound_neighbours(cfg)
    elif protocol == 'retrieval':
        _bound_queries(cfg)
    cfg.work_dir = str(out)
    running.start_from(cfg, start)
    running.print_values(
        f'mmmask evaluate: {protocol}',
        dict(
            checkpoint=Value(start, ''),
            data=Value(data, ''),
            device=Value(running.name_of_device(), AUTOMATIC),
            batch_size=Value(
                cfg.test_dataloader.batch_size, 'recipe' if batch_size is None else GIVEN
            ),
            workers=workers,
        ),
    )
    config = running.write_config(cfg, out, 'evaluate')
    runner, _ = build_runner(load_config(config, test_only=True))
    runner._init_model_weights()  # mmengine initialises before training only
    runner.register_hook(RehearsalHook())
    return runner.test()


def _bound_neighbours(cfg) -> None:
    """Ask for no more neighbours than there are images."""
    from mmmask.registry import DATASETS

    images = len(DATASETS.build(dict(cfg.test_cfg.bank, pipeline=[])))
    cfg.test_cfg.k = sorted({min(k, images) for k in cfg.test_cfg.k})


def _bound_queries(cfg) -> None:
    """Search for no more partial duplicates than half of the images."""
    from mmmask.registry import DATASETS

    (queries,) = cfg.test_cfg.queries.values()
    database = cfg.test_dataloader.dataset
    # The database has all images but one for each query.
    images = len(DATASETS.build(dict(database, pipeline=[], num_queries=1))) + 1
    queries.num_queries = database.num_queries = min(queries.num_queries, images // 2)
