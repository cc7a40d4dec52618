"""Pictures of images, masks, targets and predictions, with NumPy and Pillow only."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

PANEL = 256  # minimum length of the longer side of a panel, in pixels of the picture
MAX_GAIN = 2.0  # maximum factor by which faint predictions are brightened
MIN_CELL = 5  # minimum size of a HOG cell
GAP, GROUP_GAP, MARGIN = 6, 26, 24
INK, PAPER, FAINT = (32, 34, 40), (255, 255, 255), (196, 199, 206)
HIDDEN_PATCH = (126, 132, 145)
PREDICTED_PATCH = (255, 190, 92)
OUTLINES = (32, 34, 40), (0, 92, 200), (200, 0, 90), (0, 120, 60)  # of predicted blocks, in turn
NIGHT = np.array([14, 16, 22.0])  # background of HOG glyphs
PREDICTED = np.array(PREDICTED_PATCH, float)  # glyphs of hidden cells
GIVEN = np.array([104, 130, 176.0])  # glyphs of visible cells


class Group(NamedTuple):
    """Columns that belong together: a title and (subtitle, (B, H, W, 3) uint8) columns."""

    title: str
    columns: list[tuple[str, np.ndarray]]


class DrawnMask(NamedTuple):
    """(B, h, w) hidden patches, and M blocks (B, M, h, w) of them that are predicted.

    Without blocks, all hidden patches are predicted together.
    """

    hidden: np.ndarray
    blocks: np.ndarray | None = None


def spread(length: int, number: int) -> list[int]:
    """At most ``number`` of the indices of a sequence, at equal distances."""
    return np.linspace(0, length - 1, min(length, number)).round().astype(int).tolist()


def figure_pixels(figure) -> np.ndarray:
    """A figure of matplotlib, in its own resolution -> (H, W, 3) uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def to_pixels(images, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """(B, C, H, W) normalised images -> (B, H, W, 3) uint8 in the same channel order.

    The first three channels are shown, or the first alone, in grey, if there are less than three.
    """
    pixels = _array(images).transpose(0, 2, 3, 1) * np.asarray(std) + np.asarray(mean)
    shown = [0, 1, 2] if pixels.shape[-1] >= 3 else [0, 0, 0]
    pixels = pixels[..., shown]
    return pixels.round().clip(0, 255).astype(np.uint8)


def sample_pixels(sample: dict) -> np.ndarray:
    """A sample of a pipeline that ends in PackInputs -> (H, W, 3) uint8 RGB."""
    pixels = sample['inputs'].numpy()
    pixels = pixels[::-1] if len(pixels) == 3 else pixels
    return to_pixels(pixels[None], [0.0], [1.0])[0]


def hide_patches(images: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """(B, H, W, 3) uint8 images and (B, h, w) mask -> the images, grey where they are hidden."""
    hidden = _to_grid(hidden, images.shape[1:3])[..., None] > 0
    return np.where(hidden, np.uint8(HIDDEN_PATCH), images)


def show_blocks(images: np.ndarray, hidden: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """(B, H, W, 3) uint8 images, (B, h, w) mask and its M predicted blocks (B, M, h, w) -> images.

    They are grey where they are hidden, and orange where they are also predicted. Each of several
    blocks has an outline. Where the borders of blocks coincide, the lines are side by side.
    """
    size = images.shape[1:3]
    pictures = hide_patches(images, hidden)
    blocks = [_to_grid(block, size) > 0 for block in blocks.swapaxes(0, 1)]
    pictures = np.where(np.any(blocks, axis=0)[..., None], np.uint8(PREDICTED_PATCH), pictures)
    width = max(2, size[1] // 85)
    for number, block in enumerate(blocks if len(blocks) > 1 else ()):
        turn = number % len(OUTLINES)
        for picture, inside in zip(pictures, block, strict=True):
            line = _shrink(inside, turn * width) & ~_shrink(inside, (turn + 1) * width)
            picture[line] = OUTLINES[turn]
    return pictures


def _shrink(region: np.ndarray, distance: int) -> np.ndarray:
    """(H, W) bool -> the pixels of which all pixels up to this distance belong to the region."""
    padded = Image.fromarray(np.pad(region, distance).astype(np.uint8))
    inner = np.asarray(padded.filter(ImageFilter.MinFilter(2 * distance + 1)))
    return inner[distance : distance + len(region), distance : distance + region.shape[1]] > 0


def draw_hog(histograms: np.ndarray, cell: int) -> np.ndarray:
    """(h, w, num_bins) values in [0, 1] -> (h·cell, w·cell) brightness in [0, 1].

    Each bin is a stroke **along** the edge, at a right angle to the gradient, through the middle of
    the cell. Its brightness is the value of the bin. Bin b contains gradients whose angle
    atan2(gx, gy) lies between b and b + 1 times 180°/num_bins. At angle a the gradient points to
    (x, y) = (sin a, cos a) with y downwards, so the edge runs along (cos a, −sin a).
    """
    rows, columns, num_bins = histograms.shape
    y, x = np.indices((cell, cell)) + 0.5 - cell / 2
    canvas = np.zeros((rows, columns, cell, cell))
    for number in range(num_bins):
        angle = (number + 0.5) * np.pi / num_bins
        along_x, along_y = np.cos(angle), -np.sin(angle)
        across, along = np.abs(x * along_y - y * along_x), np.abs(x * along_x + y * along_y)
        width, length = max(0.6, 0.06 * cell), 0.48 * cell
        stroke = np.clip(width + 0.5 - across, 0, 1) * np.clip(length + 0.5 - along, 0, 1)
        value = histograms[..., number, None, None].clip(0, 1)
        np.maximum(canvas, value * stroke, out=canvas)
    return canvas.transpose(0, 2, 1, 3).reshape(rows * cell, columns * cell)


def draw_reconstruction(
    reconstruction, target_generator, mean: Sequence[float], std: Sequence[float], num_images=8
) -> np.ndarray:
    """A reconstruction of B images -> one labelled (H, W, 3) uint8 picture, one row per image.

    The columns are the image, the masked image, and the target and prediction of each scale. HOG is
    drawn as glyphs, and features as the colours of their three principal components. Predicted
    pixels are shown together with the visible part of the image.

    Args:
        reconstruction: named tuple ``images, mask, prediction, target``. The last two are tuples
            over scales.
        target_generator: a target generator. If it has ``num_bins`` and ``cell_sizes``, HOG is
            drawn; if it has ``restore(values, images)``, pixels are drawn; if it only has
            ``sizes``, features are drawn.
        mean, std: what the images were normalised with, in 0 to 255.
        num_images: maximum number of rows.

    Raises:
        TypeError: if the target generator has none of these.
    """
    images = to_pixels(reconstruction.images[:num_images], mean, std)
    count, height, width = images.shape[:3]
    hidden = _array(reconstruction.mask.hidden[:num_images]).reshape(
        count, *reconstruction.mask.grid
    )
    is_hog = hasattr(target_generator, 'num_bins')
    zoom = _zoom(height, width, min(target_generator.cell_sizes) if is_hog else 1)
    size = (round(height * zoom), round(width * zoom))
    large = resize(images, size)
    inputs = Group('', [('image', large), ('masked image', hide_patches(large, hidden))])
    if is_hog:
        groups = _hog_groups(reconstruction, target_generator, hidden, zoom)
        caption = (
            'Strokes run along edges and are brighter for larger values. Orange: hidden patches, '
            'predicted by the model (brightened to the range of the target). Blue: visible '
            'patches, showing the target in both columns.'
        )
    elif hasattr(target_generator, 'restore'):
        groups = _pixel_groups(reconstruction, target_generator, hidden, size, mean, std, count)
        caption = 'Hidden patches are predicted; visible patches are copied from the image.'
    elif hasattr(target_generator, 'sizes'):
        groups = _feature_groups(reconstruction, target_generator, hidden, size)
        caption = (
            'Red, green and blue are the three principal components of the targets of these '
            'images. Hidden patches are predicted; visible patches show the target.'
        )
    else:
        raise TypeError(
            f'{type(target_generator).__name__} cannot be drawn: it needs num_bins and cell_sizes '
            '(HOG), restore(values, images) (pixels), or sizes (features).'
        )
    return compose([inputs, *groups], caption)


def draw_masks(images, groups, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """B normalised images, and groups of masks -> one labelled (H, W, 3) uint8 picture.

    Each image has a row. Each mask has a column with the image, grey where it is hidden. With
    blocks, the hidden patches that are predicted are orange instead.

    Args:
        images: (B, 3, H, W).
        groups: pairs of a title, and a dictionary of :class:`DrawnMask` by title.
        mean, std: what the images were normalised with, in 0 to 255.
    """
    images = enlarge(to_pixels(images, mean, std))
    drawn, grey, orange, most_blocks = [Group('', [('image', images)])], [], [], 0
    for title, masks in groups:
        columns = []
        for name, (hidden, blocks) in masks.items():
            hidden = _array(hidden)
            if blocks is None:
                columns.append((name, hide_patches(images, hidden)))
            else:
                blocks = _array(blocks)
                columns.append((name, show_blocks(images, hidden, blocks)))
                most_blocks = max(most_blocks, blocks.shape[1])
                predicted = blocks.any(axis=1)
                orange.append(predicted.mean())
                hidden = hidden & ~predicted
            grey.append(hidden.mean())
        drawn.append(Group(title, columns))
    caption = f'Grey patches are hidden: {_percentages(grey)}.'
    if orange:
        caption = (
            f'Orange patches are hidden and predicted: {_percentages(orange)}. '
            f'Grey patches are hidden and not predicted: {_percentages(grey)}.'
        )
    if most_blocks > 1:
        caption += f' Outlines are the {most_blocks} predicted blocks, which may overlap.'
    return compose(drawn, caption)


def _percentages(fractions: Sequence[float]) -> str:
    """The smallest and largest of the fractions, in percent."""
    low, high = (f'{100 * value:.1f}' for value in (min(fractions), max(fractions)))
    return f'{low} %' if low == high else f'{low} to {high} %'


def draw_evolution(images, stages, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """B normalised images, and stages of a training -> one labelled (H, W, 3) uint8 picture.

    Each image has a row. Each stage has two columns: the parts that the model finds, outlined and
    filled with the mean colours of their pixels, and the image with its hidden patches in grey.

    Args:
        images: (B, 3, H, W).
        stages: triples of a title, (B, h, w) labels of the parts, and (B, h, w) hidden patches.
        mean, std: what the images were normalised with, in 0 to 255.
    """
    images = enlarge(to_pixels(images, mean, std))
    groups = [Group('', [('image', images)])]
    for title, labels, hidden in stages:
        parts = [_fill(*pair) for pair in zip(images, _array(labels), strict=True)]
        columns = [('parts', np.stack(parts)), ('mask', hide_patches(images, _array(hidden)))]
        groups.append(Group(title, columns))
    caption = (
        'Parts are the nodes into which the model divides the image, drawn in their mean colours. '
        'Whole parts are hidden.'
    )
    return compose(groups, caption)


def draw_boxes(images, stages, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """B normalised images, and stages of a training -> one labelled (H, W, 3) uint8 picture.

    Each image has a row. Each stage has a column: the image under its heat map, with its box.

    Args:
        images: (B, 3, H, W).
        stages: triples of a title, (B, h, w) heat maps, and (B, 4) boxes (top, left, bottom, right)
            in fractions of height and width.
        mean, std: what the images were normalised with, in 0 to 255.
    """
    images = enlarge(to_pixels(images, mean, std))
    columns = [('image', images)]
    for title, heat_maps, boxes in stages:
        boxes = _array(boxes)
        rows = [_outline(*row) for row in zip(images, _array(heat_maps), boxes, strict=True)]
        area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).mean()
        columns.append((f'{title}, boxes {area:.0%}', np.stack(rows)))
    caption = (
        'Orange marks where the heat map is high relative to the rest of the image. The centres of '
        'crops lie in the boxes. Their mean area is given above.'
    )
    return compose([Group('', columns)], caption)


def _outline(image: np.ndarray, heat: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 image, (h, w) heat map and (4,) box -> the image under both."""
    size = image.shape[:2]
    spread = np.ptp(heat)
    heat = (heat - heat.min()) / spread if 0 < spread < np.inf else np.ones_like(heat)
    picture = Image.fromarray(shine(image, heat))
    # A box ends at the index of its last pixel: the box of a whole image ends at (H - 1)/H.
    top, left, bottom, right = (box * [*size, *size]).round().clip(0, max(size) - 1).tolist()
    corners = (left, top, min(right, size[1] - 1), min(bottom, size[0] - 1))
    ImageDraw.Draw(picture).rectangle(corners, outline=PAPER, width=max(2, size[1] // 85))
    return np.asarray(picture)


def shine(
    image: np.ndarray, heat: np.ndarray, weight: float = 0.5, resample: int = Image.BILINEAR
) -> np.ndarray:
    """(H, W, 3) uint8 image, (h, w) heat from 0 to 1 -> the image below dark to orange heat.

    Args:
        weight: fraction of the heat in the mixture.
        resample: Pillow's filter by which the heat gets the size of the image.
    """
    heat = Image.fromarray(heat.astype(np.float32)).resize(image.shape[1::-1], resample)
    glow = NIGHT + np.asarray(heat)[..., None] * (PREDICTED - NIGHT)
    return ((1 - weight) * image + weight * glow).round().astype(np.uint8)


RIGHT, WRONG = (46, 160, 67), (218, 54, 51)  # frames of retrieved images
FRAME = 5


def draw_ranking(
    queries: np.ndarray,
    found: np.ndarray,
    is_relevant: np.ndarray | None = None,
    title: str = 'most similar',
) -> np.ndarray:
    """(Q, H, W, 3) queries and their (Q, K, H, W, 3) best matches, uint8 -> one labelled picture.

    Each query has a row, with the best match first. Frames are green where ``is_relevant`` (Q, K),
    and red elsewhere. Without it, there are no frames.
    """
    columns = []
    for place in range(found.shape[1]):
        images = enlarge(found[:, place])
        for row, image in enumerate(images if is_relevant is not None else ()):
            inner = image[FRAME:-FRAME, FRAME:-FRAME].copy()
            image[:] = RIGHT if is_relevant[row, place] else WRONG
            image[FRAME:-FRAME, FRAME:-FRAME] = inner
        columns.append((str(place + 1), images))
    groups = [Group('', [('query', enlarge(queries))]), Group(title, columns)]
    caption = (
        '' if is_relevant is None else 'Green frames: relevant images. Red frames: other images.'
    )
    return compose(groups, caption)


def _fill(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 image and (h, w) labels -> parts in their mean colours, outlined in white."""
    height, width = image.shape[:2]
    rows = np.arange(height) * labels.shape[0] // height
    columns = np.arange(width) * labels.shape[1] // width
    part = np.unique(labels[rows][:, columns], return_inverse=True)[1].reshape(height, width)
    size = np.bincount(part.ravel())
    colors = np.stack([np.bincount(part.ravel(), c.ravel()) / size for c in image.T.swapaxes(1, 2)])
    picture = colors.T[part].round().astype(np.uint8)
    border = np.zeros((height, width), bool)
    border[1:] |= part[1:] != part[:-1]
    border[:, 1:] |= part[:, 1:] != part[:, :-1]
    picture[border] = PAPER
    return picture


def _hog_groups(reconstruction, generator, hidden: np.ndarray, zoom: float) -> Iterable[Group]:
    height, width = reconstruction.images.shape[-2:]
    scales = zip(
        generator.cell_sizes, reconstruction.target, reconstruction.prediction, strict=True
    )
    for size, target, prediction in scales:
        grid = (height // size, width // size)
        weight = _to_grid(hidden, grid)
        target = _histograms(target, grid, generator.num_bins)[: len(hidden)]
        prediction = _histograms(prediction, grid, generator.num_bins)[: len(hidden)]
        is_hidden = weight[..., None] > 0
        prediction = np.where(is_hidden, prediction * _gain(prediction, target, is_hidden), target)
        cell = round(size * zoom)
        columns = [
            (name, np.stack([_glyphs(*pair, cell) for pair in zip(values, weight, strict=True)]))
            for name, values in (('target', target), ('prediction', prediction))
        ]
        yield Group(f'HOG in cells of {size} px', columns)


def _gain(prediction: np.ndarray, target: np.ndarray, is_hidden: np.ndarray) -> float:
    """The factor that makes the strong predictions of a scale as bright as the strong targets.

    An unsure model predicts small values for many bins. Little could be seen without the factor.
    """
    hidden = np.broadcast_to(is_hidden, target.shape)
    if not hidden.any():
        return 1.0
    strong, wanted = np.quantile(prediction[hidden], 0.99), np.quantile(target[hidden], 0.99)
    return float(np.clip(wanted / max(strong, 1e-6), 1, MAX_GAIN))


def _histograms(values, grid: tuple[int, int], num_bins: int) -> np.ndarray:
    """(B, h·w, C·num_bins) -> (B, h, w, num_bins), averaged over channels."""
    values = _array(values)
    return values.reshape(len(values), *grid, -1, num_bins).mean(axis=3)


def _glyphs(histograms: np.ndarray, weight: np.ndarray, cell: int) -> np.ndarray:
    """(h, w, num_bins) values and (h, w) hidden fraction -> (h·cell, w·cell, 3) uint8."""
    brightness = draw_hog(histograms, cell)[..., None]
    fraction = _to_grid(weight[None], brightness.shape[:2])[0, ..., None]
    color = fraction * PREDICTED + (1 - fraction) * GIVEN
    return (NIGHT + brightness * (color - NIGHT)).round().astype(np.uint8)


def _pixel_groups(
    reconstruction, generator, hidden: np.ndarray, size: tuple[int, int], mean, std, count: int
) -> Iterable[Group]:
    images = reconstruction.images
    single = isinstance(generator.patch_size, int)
    sizes = (generator.patch_size,) if single else generator.patch_size

    def restore(values) -> list[np.ndarray]:
        restored = generator.restore(values[0] if single else values, images)
        restored = (restored,) if single else restored
        return [to_pixels(one[:count], mean, std) for one in restored]

    original = to_pixels(images[:count], mean, std)
    is_hidden = _to_grid(hidden, original.shape[1:3])[..., None] > 0
    targets, predictions = restore(reconstruction.target), restore(reconstruction.prediction)
    for patch, target, prediction in zip(sizes, targets, predictions, strict=True):
        pasted = np.where(is_hidden, prediction, original)
        columns = [('target', resize(target, size)), ('prediction', resize(pasted, size))]
        yield Group(f'pixels in patches of {patch} px', columns)


def _feature_groups(
    reconstruction, generator, hidden: np.ndarray, size: tuple[int, int]
) -> Iterable[Group]:
    height, width = reconstruction.images.shape[-2:]
    scales = zip(generator.sizes, reconstruction.target, reconstruction.prediction, strict=True)
    for side, target, prediction in scales:
        grid = (round(height / side), round(width / side))
        is_hidden = _to_grid(hidden, grid)[..., None] > 0
        target, prediction = (
            _array(values)[: len(hidden)].reshape(len(hidden), *grid, -1)
            for values in (target, prediction)
        )
        pasted = np.where(is_hidden, prediction, target)
        columns = zip(('target', 'prediction'), principal_colors(target, pasted), strict=True)
        columns = [(name, _to_grid(colors, size).astype(np.uint8)) for name, colors in columns]
        yield Group(f'features of {side:g} px', columns)


def principal_colors(features: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """(B, h, w, D) features -> (B, h, w, 3) in 0 to 255, and others in the same colours.

    The colours are the three strongest principal components of the features, from their mean minus
    two standard deviations to their mean plus two.
    """
    flat = features.reshape(-1, features.shape[-1]).astype(np.float64)
    mean = flat.mean(axis=0)
    strength, axes = np.linalg.eigh((flat - mean).T @ (flat - mean) / len(flat))
    axes = axes[:, :-4:-1] / np.sqrt(np.maximum(strength[:-4:-1], 1e-12))
    return [((one - mean) @ axes * 64 + 128).round().clip(0, 255) for one in (features, *others)]


def _to_grid(values: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """(B, h, w) -> (B, *grid) floats.

    A finer grid repeats values, and need not be a multiple of the old one. A coarser grid takes the
    means of the old cells that each new cell covers.
    """
    values = values.astype(np.float64)
    for axis, new in zip((1, 2), grid, strict=True):
        old = values.shape[axis]
        if new < old:
            starts = np.arange(new) * old // new
            counts = np.diff([*starts, old])
            shape = [-1 if i == axis else 1 for i in range(3)]
            values = np.add.reduceat(values, starts, axis=axis) / counts.reshape(shape)
        else:
            values = values.take(np.arange(new) * old // new, axis=axis)
    return values


def _zoom(height: int, width: int, cell: int) -> float:
    """Pixels of the picture per pixel of the image. A cell gets a whole number of pixels."""
    wanted = cell * PANEL / max(height, width)
    return max(round(wanted), MIN_CELL if cell > 1 else 1) / cell


def enlarge(images: np.ndarray) -> np.ndarray:
    """(B, H, W, 3) uint8 images -> the same images in the size of a panel."""
    height, width = images.shape[1:3]
    zoom = _zoom(height, width, cell=1)
    return resize(images, (round(height * zoom), round(width * zoom)))


def resize(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(B, H, W, 3) uint8 -> (B, h, w, 3) for a size of (h, w), by the Lanczos filter."""
    return np.stack(
        [np.asarray(Image.fromarray(image).resize(size[::-1], Image.LANCZOS)) for image in images]
    )


def compose(groups: Sequence[Group], caption: str) -> np.ndarray:
    """Groups of columns side by side, with titles above and a caption below: (H, W, 3) uint8."""
    rows, height, width = groups[0].columns[0][1].shape[:3]
    text = max(15, width // 15)
    font, line = ImageFont.load_default(text), round(text * 1.6)
    top = MARGIN + 2 * line
    widths = [len(group.columns) * (width + GAP) - GAP for group in groups]
    sheet_width = 2 * MARGIN + sum(widths) + GROUP_GAP * (len(groups) - 1)
    caption = _wrap(caption, font, sheet_width - 2 * MARGIN)
    bottom = top + rows * (height + GAP) + MARGIN // 2
    sheet_height = bottom + line * (caption.count('\n') + 1) + MARGIN
    sheet = Image.new('RGB', (sheet_width, sheet_height), PAPER)
    draw = ImageDraw.Draw(sheet)
    left = MARGIN
    for group, group_width in zip(groups, widths, strict=True):
        if group.title:
            middle = left + group_width / 2
            draw.text((middle, MARGIN), group.title, INK, font, anchor='ma')
            under = MARGIN + round(1.25 * text)
            draw.line((left, under, left + group_width - 1, under), FAINT, width=2)
        for number, (subtitle, images) in enumerate(group.columns):
            x = left + number * (width + GAP)
            draw.text((x + width / 2, top - text // 2), subtitle, INK, font, anchor='ms')
            for row, image in enumerate(images):
                sheet.paste(Image.fromarray(image), (x, top + row * (height + GAP)))
        left += group_width + GROUP_GAP
    draw.text((MARGIN, bottom), caption, INK, font, spacing=line - text)
    return np.asarray(sheet)


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    lines = ['']
    for word in text.split():
        longer = f'{lines[-1]} {word}'.strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return '\n'.join(lines)


def _array(values) -> np.ndarray:
    """A tensor of any device and type, or an array -> an array."""
    if hasattr(values, 'detach'):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
    return np.asarray(values)
