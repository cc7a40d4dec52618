"""Self-supervised visual pre-training by masking, as a plugin of OpenMMLab."""

import warnings

__version__ = '0.1.0'

# mmcv says so at every start without compiled operators; none of the methods here uses this one.
warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')
