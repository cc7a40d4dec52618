"""Data sets inside of others, as those of mmengine, mmdet and PyTorch wrap them."""

from collections.abc import Iterator

from torch.utils.data import Dataset


def innermost(dataset: Dataset) -> Iterator[Dataset]:
    """The data sets that read samples themselves, inside of any number of wrappers, each once."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if inner == [None]:
        yield dataset
    else:
        yield from {id(one): one for each in inner for one in innermost(each)}.values()
