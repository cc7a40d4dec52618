"""Values of label maps that mmseg's data sets load, compared with the classes of the network."""

import time
from collections.abc import Collection, Iterator

import numpy as np
from rich.progress import track

from mmmask.datasets import innermost

SECONDS = 3  # in which as many maps of a data set as possible are read before a run
LOADER = 'mmseg.datasets.transforms.loading', 'LoadAnnotations'


class CheckedLabels:
    """A transform that loads label maps, and refuses those with a value that no class has.

    A loss would fail on such a value without naming the file, and a metric would count it wrongly.

    Args:
        load: mmseg's ``LoadAnnotations``.
        num_classes: of the head with the fewest classes.
        ignored: values that heads ignore.
        head: path of that head, for messages.

    Raises:
        ValueError: on loading, with the file, the values and the remedy.
    """

    def __init__(self, load, num_classes: int, ignored: Collection[int], head: str) -> None:
        self.load, self.num_classes, self.head = load, num_classes, head
        self.is_unknown = np.ones(256, bool)  # mmseg's label maps are uint8
        self.is_unknown[:num_classes] = False
        self.is_unknown[[value for value in ignored if 0 <= value < 256]] = False

    def __call__(self, results: dict) -> dict:
        results = self.load(results)
        labels = results['gt_seg_map']
        # A maximum takes a fiftieth of the time of a look-up for each pixel; 255 + 1 is 0 in uint8.
        if self.is_unknown[255] or (labels + np.uint8(1)).max(initial=0) > self.num_classes:
            self._look_up(labels, results['seg_map_path'])
        return results

    def _look_up(self, labels: np.ndarray, path: str) -> None:
        values = np.unique(labels[self.is_unknown[labels]])[:5].tolist()
        if values:
            note = ' after reduce_zero_label' if self.load.reduce_zero_label else ''
            raise ValueError(
                f'{path} contains the labels {values}{note}, which are not among the '
                f'{self.num_classes} classes of {self.head} (0 to {self.num_classes - 1}), and are '
                'not ignored: correct the map, set num_classes, or name the value in ignore_index.'
            )

    def __repr__(self) -> str:
        return repr(self.load)


def check_loading(
    dataset, num_classes: int, ignored: Collection[int], head: str
) -> Iterator[tuple[int, int]]:
    """Let a data set, or those inside of it, check every label map that mmseg loads.

    Maps are read at once, in a random order that is always the same, for ``SECONDS`` at most.

    Yields:
        The number of maps that were read, and of all, of each data set that has label maps.

    Raises:
        ValueError: see :class:`CheckedLabels`.
    """
    for one in innermost(dataset):
        transforms = getattr(getattr(one, 'pipeline', None), 'transforms', [])
        for place, transform in enumerate(transforms):
            if _loads_labels(transform):
                transforms[place] = CheckedLabels(transform, num_classes, ignored, head)
                yield _read_some(one, transforms[place])


def _loads_labels(transform) -> bool:
    return any((one.__module__, one.__name__) == LOADER for one in type(transform).__mro__)


def _read_some(dataset, check: CheckedLabels) -> tuple[int, int]:
    """Read maps for ``SECONDS``; the number of those that were read, and of all."""
    end, read = time.monotonic() + SECONDS, 0
    order = np.random.RandomState(0).permutation(len(dataset)).tolist()
    for index in track(order, 'reading label maps', transient=True):
        if time.monotonic() > end:
            break
        check(dataset.get_data_info(index))
        read += 1
    return read, len(order)
