"""Base classes of the methods: mask, encode, decode, compare."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmmask.masking import Mask
from mmmask.models.building import Derived, build
from mmmask.registry import MODELS


class PretrainingModel(BaseModel):
    """Base class of all methods: the modes of ``forward``, and the views that the loss receives.

    A method has a ``backbone`` and defines ``loss(*views)`` and ``predict(images)``.

    Attributes:
        num_views: number of views of each image that the loss compares.
        takes_more_views: whether the loss receives further views too; otherwise they are ignored.
    """

    num_views = 1
    takes_more_views = False

    def forward(self, inputs: Tensor | Sequence[Tensor], data_samples=None, mode: str = 'tensor'):
        """Run one of the three modes.

        Args:
            inputs: (B, C, H, W), or a list of views. All modes except ``'loss'`` use the first.
            data_samples: ignored.
            mode: ``'tensor'`` returns the backbone's features of whole images, ``'loss'`` a dict of
                losses, and ``'predict'`` a named tuple for pictures.

        Raises:
            ValueError: for any other mode, or if the loss needs more views than there are.
        """
        views = [inputs] if isinstance(inputs, Tensor) else inputs
        if mode == 'tensor':
            return self.backbone(views[0])
        if mode == 'loss':
            if len(views) < self.min_views:
                raise ValueError(
                    f'{type(self).__name__} compares {self.min_views} views of each image but got '
                    f'{len(views)}: make them by mmpretrain.MultiView in the data pipeline.'
                )
            return self.loss(*(views if self.takes_more_views else views[: self.num_views]))
        if mode == 'predict':
            return self.predict(views[0])
        raise ValueError(f"mode={mode!r} is not one of 'tensor', 'loss', 'predict'.")

    @property
    def min_views(self) -> int:
        """The smallest number of views that the loss accepts."""
        return self.num_views

    def loss(self, *views: Tensor) -> dict[str, Tensor]:
        """Views of the same images, (B, C, H, W) each -> losses."""
        raise NotImplementedError

    def predict(self, images: Tensor) -> Any:
        """(B, C, H, W) -> what a picture needs."""
        raise NotImplementedError


def require_weights(**weights: float) -> None:
    """Raise ValueError for the weight of a task that is negative."""
    for name, weight in weights.items():
        if weight < 0:
            raise ValueError(f'{name}={weight} must be 0 or more; 0 turns the task off.')


def require_class_token(backbone: nn.Module, what: str, remedy: str) -> None:
    """Raise ValueError with a remedy for an encoder without class token, which ``what`` needs."""
    if not getattr(backbone, 'num_extra_tokens', 0):
        raise ValueError(
            f'{what} needs a class token, which {type(backbone).__name__} does not have: {remedy}.'
        )


def width_of_projections(projector: dict) -> Derived:
    """Width of the projections, from the config of the projector; None if it is not stated."""
    return Derived(projector.get('out_channels'), 'the width of model.projector.out_channels')


class Reconstruction(NamedTuple):
    """What a picture of a masked-image model shows, one prediction and target per scale.

    Attributes:
        images: (B, C, H, W) as the network sees them.
        mask: which patches were hidden.
        prediction: tuple of (B, N_k, D_k).
        target: tuple of (B, N_k, D_k).
    """

    images: Tensor
    mask: Mask
    prediction: tuple[Tensor, ...]
    target: tuple[Tensor, ...]


@MODELS.register_module()
class MaskedImageModel(PretrainingModel):
    """Hide patches, encode the visible ones, predict a target at the hidden ones.

    Every component is built from its config and is an attribute, so mask generators, decoders and
    targets can be combined freely. A config does not state what follows from another component:
    decoders get ``in_channels`` from the backbone and ``out_channels`` from the target generator,
    and the ``patch_size`` of a target is by default that of the backbone. Targets that are features
    of a momentum copy get the ``backbone`` itself.

    Args:
        backbone: masked backbone, ``forward(images, mask=None) -> taps``. The taps are the feature
            maps of the layers in ``out_indices``. It reports ``in_channels``, ``out_channels`` (an
            int, or one for each tap), ``patch_size`` and ``grid(images)``.
        masking: generator of patch masks.
        neck: decoder, ``forward(taps, mask) -> prediction``.
        target_generator: ``forward(images) -> target``. It reports ``channels(in_channels)``.
        head: ``forward(prediction, target, mask) -> losses``.
        parser: reads the backbone for mask generators that need evidence, for example
            :class:`EncoderParser`.

    Attributes:
        encodes_hidden: whether the encoder returns the tokens of hidden patches, too. A decoder
            that works with only one kind of encoder has ``reads_hidden``.
        compares_blocks: whether the loss compares what a decoder that ``predicts_blocks`` returns.

    Raises:
        ValueError: if a config states another value than the derived one, or the decoder is for
            another kind of encoder or loss.
    """

    encodes_hidden = False
    compares_blocks = False

    def __init__(
        self,
        backbone: dict,
        masking: dict,
        neck: dict,
        target_generator: dict,
        head: dict,
        parser: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = MODELS.build(backbone)
        self.masking = MODELS.build(masking)
        evidence_kind = getattr(self.masking, 'evidence_kind', 'attention')
        self.parser = parser and build(
            parser,
            backbone=self.backbone,
            evidence_kind=Derived(evidence_kind, 'the evidence that model.masking needs'),
        )
        normalization = data_preprocessor if isinstance(data_preprocessor, dict) else {}
        self.target_generator = build(
            target_generator,
            patch_size=self.backbone.patch_size,
            backbone=self.backbone,
            **{
                f'image_{key}': Derived(normalization.get(key), f'model.data_preprocessor.{key}')
                for key in ('mean', 'std')
            },
        )
        self.neck = build(
            neck,
            in_channels=Derived(self.backbone.out_channels, 'the width of model.backbone'),
            out_channels=self.target_channels(),
            tokens_have_positions=Derived(
                getattr(self.backbone, 'pos_embed', None) is not None,
                'whether model.backbone adds positions to its tokens',
            ),
        )
        self.head = MODELS.build(head)
        self._require_fitting_decoder()

    def _require_fitting_decoder(self) -> None:
        decoder, method = type(self.neck).__name__, type(self).__name__
        encoder = type(self.backbone).__name__
        predicts_blocks = getattr(self.neck, 'predicts_blocks', False)
        if predicts_blocks and not self.compares_blocks:
            raise ValueError(
                f'{decoder} predicts blocks of patches one by one, but {method} compares whole '
                'images: use another decoder as neck, or IJEPA as the method.'
            )
        if self.compares_blocks and not predicts_blocks:
            raise ValueError(
                f'{decoder} predicts whole images, but {method} compares blocks of patches: use a '
                'BlockPredictor as neck, or another method.'
            )
        reads_hidden = getattr(self.neck, 'reads_hidden', self.encodes_hidden)
        if reads_hidden and not self.encodes_hidden:
            raise ValueError(
                f'{decoder} predicts each patch from its own token, but {method} encodes visible '
                'patches only: use a TokenDecoder as neck, or SimMIM as the method.'
            )
        if self.encodes_hidden and not reads_hidden:
            raise ValueError(
                f'{decoder} adds the tokens of hidden patches, but {method} encodes these patches: '
                'use a LinearDecoder as neck, or MAE as the method.'
            )
        if getattr(self.backbone, 'returns_maps', False) and not getattr(
            self.neck, 'reads_maps', True
        ):
            raise ValueError(
                f'{decoder} reads tokens of visible patches, but {encoder} returns feature maps: '
                'use a ConvDecoder as neck, or a ViT or Swin as backbone.'
            )

    def target_channels(self) -> Derived:
        """Length of the target vectors, an int or one for each scale."""
        report = getattr(self.target_generator, 'channels', None)
        channels = report and report(self.backbone.in_channels)
        return Derived(channels, 'the channels of model.target_generator')

    def draw_mask(self, images: Tensor) -> Mask:
        """(B, C, H, W) -> Mask on the patch grid of the backbone."""
        evidence = self.parser(images) if self.masking.needs_evidence else None
        return self.masking(len(images), self.backbone.grid(images), images.device, evidence)

    def reconstruct(self, images: Tensor):
        """(B, C, H, W) -> mask, prediction."""
        mask = self.draw_mask(images)
        return mask, self.neck(self.backbone(images, mask), mask)

    def loss(self, images: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W) -> losses of a masked reconstruction."""
        mask, prediction = self.reconstruct(images)
        return self.head(prediction, self.target_generator(images), mask)

    @torch.no_grad()
    def predict(self, images: Tensor) -> Reconstruction:
        """(B, C, H, W) -> mask, predictions and targets, for pictures."""
        mask, prediction = self.reconstruct(images)
        target = self.target_generator(images)
        if isinstance(prediction, Tensor):
            prediction, target = (prediction,), (target,)
        return Reconstruction(images, mask, prediction, target)

    def get_layer_depth(self, param_name: str) -> tuple[int, int]:
        """Depth of a parameter and number of depths, for layer-wise learning rates."""
        return self.backbone.get_layer_depth(param_name, 'backbone.')
