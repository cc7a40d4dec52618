"""Pictures of detectors: boxes at their places, annotated beside found."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData
from PIL import Image

from mmmask.apis.visualize_detections import SIDE, Box, draw_boxes, visualize_detections
from mmmask.visualization import Group, compose

ORANGE, BLUE = (255, 160, 40), (63, 167, 255)


def test_boxes_are_at_their_places():
    pixels = np.zeros((SIDE // 4, SIDE // 2, 3), dtype=np.uint8)  # drawn twice as large
    pixels[..., 0] = 200  # blue, in the order of OpenCV
    drawn = draw_boxes(pixels, [Box((10, 20, 30, 40), 0), Box((50, 5, 70, 15), 1)], ['a'])
    assert drawn.shape == (SIDE, SIDE, 3)
    for row, column in ((40, 20), (80, 60), (60, 20), (60, 60)):  # corners and sides
        assert tuple(drawn[row, column]) == ORANGE
    assert tuple(drawn[10, 100]) == BLUE
    assert tuple(drawn[60, 40]) == (0, 0, 200)  # inside
    assert tuple(drawn[SIDE // 2 + 1, 5]) == (255, 255, 255)  # below the image
    named = draw_boxes(pixels, [Box((10, 20, 30, 40), 0)], ['a', 'b'])
    # The name of the class is written where there are several: red in a blue box.
    assert drawn[43:58, 23:38, 0].max() == 0 and named[43:58, 23:38, 0].max() > 100


@pytest.fixture
def place(tmp_path):
    """The config of a detector of two validation images, with a box in each."""
    pytest.importorskip('mmdet')
    for index in range(2):
        image = Image.new('RGB', (80, 60), (index * 100, 50, 150))
        image.save(tmp_path / f'{index}.png')
    boxes = [
        dict(id=i, image_id=i, category_id=7, bbox=[10, 20, 30, 15], area=450, iscrowd=0)
        for i in range(2)
    ]
    records = [dict(id=i, file_name=f'{i}.png', height=60, width=80) for i in range(2)]
    content = dict(images=records, annotations=boxes, categories=[dict(id=7, name='x')])
    (tmp_path / 'val.json').write_text(json.dumps(content))
    dataset = dict(
        type='CocoDataset',
        data_root=str(tmp_path),
        ann_file='val.json',
        data_prefix=dict(img=''),
        metainfo=dict(classes=('x',)),
        test_mode=True,
        pipeline=[dict(type='mmdet.LoadImageFromFile')],
    )
    cfg = Config(dict(default_scope='mmdet', val_dataloader=dict(dataset=dataset)))
    return cfg, tmp_path


def test_annotated_and_found_boxes_are_side_by_side(place, monkeypatch):
    cfg, folder = place
    import mmdet.apis

    def infer(model, pixels):
        found = InstanceData(
            bboxes=torch.tensor([[5.0, 6, 20, 30], [1, 2, 3, 4]]),
            labels=torch.tensor([0, 0]),
            scores=torch.tensor([0.5, 0.2]),  # the second is too low
        )
        return SimpleNamespace(pred_instances=found)

    model = SimpleNamespace(dataset_meta=dict(classes=('x',)))
    monkeypatch.setattr(mmdet.apis, 'init_detector', lambda *args, **kwargs: model)
    monkeypatch.setattr(mmdet.apis, 'inference_detector', infer)
    path = visualize_detections(cfg, 'x.pth', out=folder / 'out' / 'boxes.png')
    images = [np.asarray(Image.open(folder / f'{i}.png'))[..., ::-1] for i in range(2)]
    annotated, found = (
        np.stack([draw_boxes(image, [Box(corners, 0)], ['x']) for image in images])
        for corners in ((10, 20, 40, 35), (5, 6, 20, 30))
    )
    caption = 'Boxes with a score of at least 0.3. The highest score is 0.50.'
    expected = compose([Group('', [('annotated', annotated), ('found', found)])], caption)
    assert np.array_equal(Image.open(path), expected)
    path = visualize_detections(cfg, 'x.pth', [folder / '1.png'], folder / 'out' / 'given.png')
    assert np.array_equal(Image.open(path), compose([Group('', [('found', found[1:])])], caption))
