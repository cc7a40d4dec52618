"""Writing a report, with the pictures of runs in it."""

import base64
import io
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from mmmask.outputs import MARK, OutputFolder
from mmmask.visualization import spread

from .page import Shown, make_page
from .runs import Picture, Run, name_runs, read_run

WIDEST = 1600  # px of an embedded picture
QUALITY = 85  # of its JPEG
STAGES = 3  # pictures of a series that are shown: the first, the last, and one between
UNDERSTANDABLE = ImportError, OSError, RuntimeError, TypeError, ValueError


def write_report(
    runs: Sequence[str | os.PathLike],
    out: str | os.PathLike = 'report.html',
    pictures: bool = False,
    images: Sequence[str | os.PathLike] | None = None,
) -> Path:
    """Write one HTML file on one or several trainings, and return its path.

    It shows curves, speed, the pictures that hooks drew, warnings, the environment, the config, and
    how to use the checkpoint. It needs no other file and no network. A run may still be training,
    and files of it may be missing or truncated: the report states what is missing.

    Args:
        runs: work directories of trainings; each gets a colour.
        out: file to write; a report that mmmask wrote before is replaced.
        pictures: also draw masks, their evolution, losses and features of the last checkpoint of
            each pre-training, see :func:`mmmask.apis.visualize_features.visualize_features`, and
            the boxes that a detector finds.
        images: for these pictures, one folder or zip archive, or image files; by default the
            training images, and for detectors the validation images.

    Raises:
        FileNotFoundError: if there is no such folder.
        FileExistsError: if ``out`` was not written by mmmask, or was changed since.
        ValueError: if no run is given, one is given twice, or a folder is not that of a training.
    """
    if not runs:
        raise ValueError('no run is given: name the work directory of one training or of several.')
    if images and not pictures:
        raise ValueError('images are for --pictures: set pictures=True as well.')
    out = Path(out).expanduser()
    folder = OutputFolder(out.parent)
    folder.claim(out.name, 'the report')
    read = [read_run(run, name) for run, name in zip(runs, name_runs(runs), strict=True)]
    shown = [
        [*embed_pictures(run), *(draw_pictures(run, images) if pictures else ())] for run in read
    ]
    with folder.file(out.name) as path:
        path.write_text(make_page(read, shown, MARK), encoding='utf-8')
    return out


def embed_pictures(run: Run) -> Iterator[Shown]:
    """A few pictures of each series of a run. An unreadable one is reported in ``missing``."""
    series: dict[str, list[Picture]] = {}
    for picture in run.pictures:
        series.setdefault(picture.name, []).append(picture)
    for name, found in series.items():
        places = spread(len(found), STAGES)
        # Pictures of an evolution contain all earlier stages.
        for place in places[-1:] if name == 'evolution' else places:
            yield from _embed_file(run, found[place], is_early=place < len(found) - 1)


def _embed_file(run: Run, picture: Picture, is_early: bool) -> Iterator[Shown]:
    title = picture.name
    if picture.step is not None:
        epoch = run.epoch_at(picture.step)
        moment = f'iteration {picture.step:,}' if epoch is None else f'epoch {epoch:.3g}'
        title = f'{picture.name}, {moment}'
    try:
        with Image.open(picture.path) as image:
            yield Shown(title, embed(image), is_early)
    except (OSError, SyntaxError) as error:  # Pillow raises the latter for some torn PNGs
        run.missing.append(f'The picture {picture.path.name} cannot be read: {error}.')


def embed(image: Image.Image) -> str:
    """A picture -> its address with the content, as a JPEG of at most ``WIDEST`` pixels."""
    image = image.convert('RGB')
    if image.width > WIDEST:
        height = round(image.height * WIDEST / image.width)
        image = image.resize((WIDEST, height), Image.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, 'JPEG', quality=QUALITY)
    return f'data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}'


def draw_pictures(run: Run, images: Sequence[str | os.PathLike] | None) -> Iterator[Shown]:
    """Draw pictures of the last checkpoint. What cannot be drawn is reported in ``missing``.

    Files of images that do not exist stop the report.
    """
    for path in images or ():
        if not Path(path).exists():
            raise FileNotFoundError(f'{path} does not exist: give a folder or image files.')
    if not run.kind.drawn:
        run.missing.append(
            'No pictures were drawn: they show pre-trainings, and the boxes of detectors.'
        )
        return
    if run.checkpoint is None or run.config_file is None:
        run.missing.append('No pictures were drawn: they need a config and a checkpoint.')
        return
    try:
        draw = (_drawing_boxes if 'detections' in run.kind.drawn else _drawing)(run, images)
    except Exception as error:  # the rest of the report needs none of this
        run.missing.append(f'No pictures were drawn: {_reason(error)}')
        return
    for name, title in run.kind.drawn.items():
        try:
            if (picture := draw(name)) is not None:
                yield Shown(f'{title}, {run.checkpoint.name}', embed(picture))
        except Exception as error:  # the other pictures may well be possible
            run.missing.append(f'There is no picture of {title}: {_reason(error)}')


def _drawing(run: Run, images: Sequence[str | os.PathLike] | None) -> Callable:
    """A function that draws a picture of a pre-training by its name; None if it has no such."""
    from mmengine.config import Config

    from mmmask.apis.visualize import SCHEDULE, build_model, visualize_evolution
    from mmmask.apis.visualize_features import (
        COMPARING,
        describe_some,
        draw_features,
        open_images,
    )
    from mmmask.pictures import draw_mask_samples, sample_batch

    cfg = Config.fromfile(run.config_file)
    model, dataset = build_model(cfg, run.checkpoint), open_images(cfg, images)
    described = cache(partial(describe_some, model, dataset))

    def draw(name: str) -> Image.Image | None:
        if name == 'evolution':
            if not hasattr(getattr(model, 'masking', None), 'set_progress'):
                return None
            found = run.checkpoints
            some = [found[place] for place in spread(len(found), len(SCHEDULE))]
            return _written(partial(visualize_evolution, cfg, some, images))
        if name == 'masks':
            picture = draw_mask_samples(model, sample_batch(dataset, 8), 0, SCHEDULE)
        else:
            compared = described() if name in COMPARING else None
            picture = draw_features(model, dataset, name, described=compared)
        return Image.fromarray(picture)

    return draw


def _drawing_boxes(run: Run, images: Sequence[str | os.PathLike] | None) -> Callable:
    """A function that draws the boxes that a detector finds."""
    from mmmask.apis.visualize_detections import visualize_detections

    draw = partial(visualize_detections, run.config_file, run.checkpoint, images)
    return lambda name: _written(draw)


def _written(draw: Callable) -> Image.Image:
    """The picture that a function writes to its argument ``out``."""
    with TemporaryDirectory() as folder:
        return Image.open(draw(out=Path(folder, 'picture.png'))).convert('RGB')


def _reason(error: Exception) -> str:
    """The message of an error, with its type if messages of this type say little."""
    return str(error) if isinstance(error, UNDERSTANDABLE) else repr(error)
