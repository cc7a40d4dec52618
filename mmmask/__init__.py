"""Self-supervised visual pre-training by masking, as a plugin of OpenMMLab."""

__version__ = '0.1.0'
