"""The contrastive masked autoencoder of Mao, Yin, Chang and Zhou."""

from math import prod

import torch
from torch import Tensor, nn

from mmmask.layers import MomentumCopy
from mmmask.masking import Mask
from mmmask.models.building import Derived, build
from mmmask.registry import MODELS

from .base import (
    MaskedImageModel,
    require_class_token,
    require_weights,
    width_of_projections,
)

SOURCES = ('encoder_cls', 'mean_patch', 'decoder_cls')
TARGETS = ('momentum_encoder', 'momentum_head', 'stopgrad', 'simclr')


@MODELS.register_module()
class CMAEMao(MaskedImageModel):
    """Mao et al., *Contrastive Masked Autoencoders*, arXiv 2205.10546, May 2022.

    This is not the CMAE of Huang et al., which is :class:`CMAEHuang`. A masked autoencoder with a
    small decoder reconstructs two views of each image. The encoder has two further tasks: to
    recognise the image in its other view, and to predict the positions of the visible patches. Only
    the abstract of the paper was available. The options and their defaults follow the later SDMAE
    of its authors (arXiv 2212.05677) and MoCo v3.

    Losses are logged with their weights applied: ``loss_rec_a``, ``loss_rec_b``, ``loss_con``,
    ``loss_pos_a`` and ``loss_pos_b``.

    Args:
        projector: config of the neck after the source; not built if ``contrast_weight`` is 0.
        contrast_head: config of a :class:`ContrastiveHead`; not built if ``contrast_weight`` is 0.
        position_head: config of a :class:`PositionHead`; not built if ``position_weight`` is 0.
        source: what is contrasted. ``'encoder_cls'``: the class token of the encoder.
            ``'mean_patch'``: the mean of the visible tokens of the encoder. ``'decoder_cls'``: all
            outputs of the decoder, as in SDMAE; a :class:`ClassTokenProjector` reads its class
            token.
        target: where keys come from. ``'momentum_encoder'``: momentum copies of all networks up to
            the projector. ``'momentum_head'``: a momentum copy of the projector alone.
            ``'stopgrad'``: the projections themselves without gradient. ``'simclr'``: the
            projections with gradient, usually without a predictor.
        momentum, final_momentum: of the momentum copies, see :class:`mmmask.layers.MomentumCopy`.
        mask_shared: whether both views have the same mask.
        reconstructed_views: 2, or 1 to reconstruct only the first view.
        freeze_patch_embed: do not train the random patch embedding (MoCo v3).
        reconstruction_weight, contrast_weight, position_weight: weights of the three tasks.
        **kwargs: as in :class:`MaskedImageModel`.

    Raises:
        ValueError: for an encoder without class token, an unknown source or target, a negative
            weight, or if ``reconstructed_views`` is not 1 or 2.
    """

    num_views = 2

    def __init__(
        self,
        projector: dict | None = None,
        contrast_head: dict | None = None,
        position_head: dict | None = None,
        source: str = 'encoder_cls',
        target: str = 'momentum_encoder',
        momentum: float = 0.999,
        final_momentum: float | None = None,
        mask_shared: bool = True,
        reconstructed_views: int = 2,
        freeze_patch_embed: bool = False,
        reconstruction_weight: float = 1.0,
        contrast_weight: float = 0.1,
        position_weight: float = 1.0,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        require_class_token(
            self.backbone, 'CMAEMao', 'use a ViT, and leave out with_cls_token=False'
        )
        for name, value, known in (('source', source, SOURCES), ('target', target, TARGETS)):
            if value not in known:
                raise ValueError(f'{name}={value!r} is not one of {known}.')
        require_weights(
            reconstruction_weight=reconstruction_weight,
            contrast_weight=contrast_weight,
            position_weight=position_weight,
        )
        if reconstructed_views not in (1, 2):
            raise ValueError(
                f'reconstructed_views={reconstructed_views} is not 1 or 2; set '
                'reconstruction_weight=0 to train without reconstruction.'
            )
        self.source = source
        self.target = target
        self.mask_shared = mask_shared
        self.reconstructed_views = reconstructed_views
        self.reconstruction_weight = reconstruction_weight
        self.contrast_weight = contrast_weight
        self.position_weight = position_weight
        if freeze_patch_embed:
            self.backbone.patch_embed.requires_grad_(False)
        # Crops that follow the attention of the class token need one that finds the object.
        self.trains_class_token = source == 'encoder_cls' or not contrast_weight
        contrasts = contrast_weight and contrast_head
        width = Derived(self.backbone.embed_dims, 'the width of model.backbone')
        self.projector = self.contrast_head = self.position_head = self.momentum_copy = None
        if contrasts:
            read = self.target_channels() if source == 'decoder_cls' else width
            self.projector = build(projector, in_channels=read)
            self.contrast_head = build(contrast_head, in_channels=width_of_projections(projector))
        if position_weight and position_head:
            num_patches = prod(self.backbone.patch_resolution)
            self.position_head = build(
                position_head,
                in_channels=width,
                num_positions=Derived(num_patches, 'the patches of model.backbone.img_size'),
            )
        if contrasts and target.startswith('momentum'):
            networks = dict(projector=self.projector)
            if target == 'momentum_encoder':
                networks |= dict(backbone=self.backbone)
                networks |= dict(neck=self.neck) if source == 'decoder_cls' else {}
            self.momentum_copy = MomentumCopy(momentum, final_momentum, **networks)

    def loss(self, *views: Tensor) -> dict[str, Tensor]:
        """Two views (B, C, H, W) -> weighted losses of the three tasks, and accuracies."""
        masks = self.draw_masks(*views)
        tokens, losses = [], {}
        for name, view, mask in zip('ab', views, masks, strict=True):
            seen, asked, places = self.encode(view, mask)
            tokens.append(seen)
            if name in 'ab'[: self.reconstructed_views]:
                loss = self.reconstruction_loss(view, mask, seen)
                losses[f'loss_rec_{name}'] = self.reconstruction_weight * loss
            if self.position_head is not None:
                loss, accuracy = self.position_head(asked, places, mask.grid)
                losses[f'loss_pos_{name}'] = self.position_weight * loss
                losses[f'position_accuracy_{name}'] = accuracy
        if self.contrast_head is not None:
            projections = [self.project(*pair) for pair in zip(tokens, masks, strict=True)]
            keys_a, keys_b = self.keys(views, masks, tokens, projections)
            loss, accuracy = self.contrast_head(projections, (keys_b, keys_a))
            losses |= dict(loss_con=self.contrast_weight * loss, contrast_accuracy=accuracy)
        return losses

    def draw_masks(self, view_a: Tensor, view_b: Tensor) -> tuple[Mask, Mask]:
        """Two views (B, C, H, W) -> one mask for each."""
        mask = self.draw_mask(view_a)
        return (mask, mask) if self.mask_shared else (mask, self.draw_mask(view_b))

    def encode(self, view: Tensor, mask: Mask):
        """(B, C, H, W) -> (B, 1+K, D) tokens, and the inputs of :class:`PositionHead`."""
        if self.position_head is None:
            return self.backbone(view, mask)[-1], None, None
        return self.position_head.encode(self.backbone, view, mask)

    def reconstruction_loss(self, view: Tensor, mask: Mask, tokens: Tensor) -> Tensor:
        """(B, C, H, W) and (B, 1+K, D) -> scalar."""
        prediction = self.neck((tokens,), mask)
        return self.head(prediction, self.target_generator(view), mask)['loss']

    def project(
        self,
        tokens: Tensor,
        mask: Mask,
        projector: nn.Module | None = None,
        neck: nn.Module | None = None,
    ) -> Tensor:
        """(B, 1+K, D) -> (B, E) projections, by the online networks unless others are given."""
        projector, neck = projector or self.projector, neck or self.neck
        if self.source == 'encoder_cls':
            source = tokens[:, 0]
        elif self.source == 'mean_patch':
            source = tokens[:, 1:].mean(dim=1)
        else:
            source = neck.project(neck.decode_all(tokens, mask))
        return projector((source,))[0]

    def keys(self, views, masks, tokens, projections) -> list[Tensor]:
        """(B, E) keys of each view, which the other view must recognise."""
        if self.target == 'simclr':
            return projections
        if self.target == 'stopgrad':
            return [projection.detach() for projection in projections]
        copies = dict(self.momentum_copy.module.items())
        with torch.no_grad():
            if backbone := copies.pop('backbone', None):
                tokens = [backbone(*pair)[-1] for pair in zip(views, masks, strict=True)]
            return [self.project(*pair, **copies) for pair in zip(tokens, masks, strict=True)]
