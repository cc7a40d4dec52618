"""Features of a frozen network of timm as targets."""

import sys
from collections.abc import Sequence
from difflib import get_close_matches

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmask.layers import patch_grid
from mmmask.registry import MODELS

# Arguments of timm with which a network accepts images of any size, and networks that need none.
ANY_SIZE = (dict(dynamic_img_size=True), dict(strict_img_size=False), {})


@MODELS.register_module()
class FeatureTarget(nn.Module):
    """The features of whole images in one or several layers of any network of timm.

    With the features of CLIP this is the target of MVP (Wei et al., 2203.05175) and of MaskDistill
    (Peng et al., 2210.10615), with those of DINO one of the targets of MaskFeat (Wei et al., CVPR
    2022). The images are resized so that a position of the last layer is a patch of the backbone.
    Other layers may be finer, such as the stages of a ResNet, and are predicted on finer grids.

    The network is frozen and in evaluation mode. Its weights are a part of checkpoints, so a
    training that is resumed has the same targets.

    Args:
        name: a network of timm, such as ``'vit_base_patch16_clip_224.openai'``.
        patch_size: side of a patch of the backbone in pixels; filled in by the algorithm.
        layers: index of a layer (a block of a transformer, a stage of a convolutional network), or
            several in rising order, which give one target each.
        weights: ``'pretrained'`` are the weights that timm publishes under this name, ``'random'``
            are none, and anything else is a file that timm can read.
        normalize: standardise each vector over its channels, as in MaskDistill.
        image_mean, image_std: what the images are normalised with, in 0 to 255; filled in by the
            algorithm. The network gets the images as it was trained with them.

    Raises:
        ValueError: for a network or a layer that timm does not have.
        ImportError: without timm.
    """

    def __init__(
        self,
        name: str,
        patch_size: int,
        layers: int | Sequence[int] = -1,
        weights: str = 'pretrained',
        normalize: bool = True,
        image_mean: Sequence[float] = (0.0, 0.0, 0.0),
        image_std: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> None:
        super().__init__()
        self.layers = [layers] if isinstance(layers, int) else list(layers)
        rising = self.layers and self.layers == sorted({*self.layers})
        if not rising or self.layers[0] < 0 <= self.layers[-1]:
            raise ValueError(
                f'layers={layers} must be in ascending order, and all counted from 0 or all from '
                '-1 backwards.'
            )
        self.name, self.patch_size, self.weights = name, patch_size, weights
        self.single, self.normalize = isinstance(layers, int), normalize
        self.network = self._create().requires_grad_(False)
        self.widths = tuple(self.network.feature_info.channels())
        self.strides = self.network.feature_info.reduction()
        mean, std = (torch.tensor(self.network.pretrained_cfg[key]) for key in ('mean', 'std'))
        scale = torch.tensor(image_std) / 255 / std
        shift = (torch.tensor(image_mean) / 255 - mean) / std
        self.register_buffer('scale', scale.view(-1, 1, 1), persistent=False)
        self.register_buffer('shift', shift.view(-1, 1, 1), persistent=False)
        self.train()

    def _create(self, pretrained: bool = False) -> nn.Module:
        try:
            import timm
        except ImportError as error:
            raise ImportError(
                'FeatureTarget needs timm, which is not installed: pip install "mmmask[export]".'
            ) from error
        known = timm.list_models() + timm.list_pretrained()
        if self.name not in known:
            close = get_close_matches(self.name, known, n=1)
            remedy = f'did you mean {close[0]!r}?' if close else 'see timm.list_models().'
            raise ValueError(f'name={self.name!r} is not a network of timm: {remedy}')
        chosen = dict(pretrained=pretrained, out_indices=self.layers, feature_cls='getter')
        for any_size in ANY_SIZE:
            try:
                network = timm.create_model(self.name, features_only=True, **chosen, **any_size)
                has_fixed_size = network.pretrained_cfg['fixed_input_size'] and not any_size
                self.fixed_size = has_fixed_size and [*network.pretrained_cfg['input_size'][1:]]
                return network
            except TypeError:
                if not any_size:
                    raise
            except (AssertionError, IndexError) as error:
                raise ValueError(f'layers={self.layers} do not fit {self.name}: {error}') from error

    def init_weights(self) -> None:
        """Load the weights.

        Raises:
            ValueError: if a file lacks weights of the network.
        """
        if self.weights == 'random':
            return
        if self.weights == 'pretrained':
            self.network.load_state_dict(self._create(pretrained=True).state_dict())
            return
        from timm.models import load_state_dict

        model = self.network.model
        convert = getattr(sys.modules[type(model).__module__], 'checkpoint_filter_fn', None)
        tensors = load_state_dict(self.weights)
        tensors = convert(tensors, model) if convert else tensors
        lacking = [
            name
            for name, value in model.state_dict().items()
            if name not in tensors or tensors[name].shape != value.shape
        ]
        if lacking:
            raise ValueError(
                f'weights={self.weights!r} lacks {len(lacking)} tensors of {self.name}, such as '
                f'{lacking[:3]}: give a file of this network.'
            )
        model.load_state_dict(tensors, strict=False)  # a file may have more, such as a classifier

    def train(self, mode: bool = True) -> 'FeatureTarget':
        """Stay in evaluation mode."""
        return super().train(False)

    @property
    def sizes(self) -> tuple[float, ...]:
        """Pixels along the side of what a target vector describes, for each layer."""
        return tuple(self.patch_size * stride / self.strides[-1] for stride in self.strides)

    def channels(self, in_channels: int) -> int | tuple[int, ...]:
        """Width of the layer, a tuple for several.

        Raises:
            ValueError: if the network reads images of another number of channels.
        """
        if in_channels != len(self.scale):
            raise ValueError(
                f'{self.name} reads {len(self.scale)} channels, but the images have {in_channels}: '
                'choose another target generator.'
            )
        return self.widths[0] if self.single else self.widths

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """(B, 3, H, W) -> (B, N, D) fp32, or a tuple of these, one per layer.

        Raises:
            ValueError: if the patch size does not divide the image, or the network reads images of
                one size only and this is another.
        """
        size = [side * self.strides[-1] for side in patch_grid(images, self.patch_size)]
        if self.fixed_size and size != self.fixed_size:
            raise ValueError(
                f'{self.name} reads images of {self.fixed_size} px only, but needs them at {size} '
                'px to have one position for each patch: choose another network or image size.'
            )
        images = images * self.scale + self.shift
        if [*images.shape[-2:]] != size:
            images = F.interpolate(images, size, mode='bicubic', antialias=True)
        vectors = [maps.flatten(2).mT.float() for maps in self.network(images)]
        if self.normalize:
            vectors = [F.layer_norm(one, one.shape[-1:]) for one in vectors]
        return vectors[0] if self.single else tuple(vectors)
