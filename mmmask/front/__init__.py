"""The commands ``mmmask COMMAND``, which are also functions of the package ``mmmask``.

A command is a module of its name with a function of its name, whose parameters are the options.
Importing one needs the standard library only.
"""

from importlib import import_module

COMMANDS = {
    'pretrain': 'pre-train a backbone on a folder of images without labels',
    'embed': 'write the features of a folder of images as npy, csv or parquet',
    'finetune': 'train a classifier on class folders, from a pre-trained backbone',
    'detect': 'train a detector on a COCO JSON, from a pre-trained backbone',
    'segment': 'train a segmentor on label maps, from a pre-trained backbone',
    'evaluate': 'measure a frozen backbone by k-NN, a linear probe or retrieval',
    'visualize': 'draw what a pre-training predicts or has learned, or what a detector finds',
    'report': 'write an HTML file on one or several trainings: curves, pictures, warnings',
    'export': 'write a backbone for OpenMMLab, timm, Hugging Face, torch.export or ONNX',
    'list': 'list the methods and the models of pretrain',
    'doctor': 'list the packages found and what is wrong with them',
}


def command(name: str):
    """The module of a command."""
    return import_module(f'{__name__}.{name}')


def function(name: str):
    """The function of a command, which ``mmmask`` offers under its name."""
    return getattr(command(name), name)
