import numpy as np
from pycocotools import mask as reference

from mmmask.datasets.coco import decompress


def test_compressed_run_lengths():
    random = np.random.default_rng(0)
    for height, width in ((10, 20), (300, 400)):
        for chance in (0.0, 0.001, 0.5, 1.0):
            mask = np.asfortranarray(random.random((height, width)) < chance, np.uint8)
            flat = mask.ravel(order='F')
            changes = np.flatnonzero(np.diff(flat)) + 1
            expected = np.diff([0, *([0] if flat[0] else []), *changes, flat.size]).tolist()
            assert decompress(reference.encode(mask)['counts'].decode()) == expected
