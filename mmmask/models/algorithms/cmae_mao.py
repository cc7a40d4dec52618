"""The contrastive masked autoencoder of Mao, Yin, Chang and Zhou."""

from math import prod

import torch
from torch import Tensor, nn

from mmmask.layers import MomentumCopy
from mmmask.masking import Mask
from mmmask.models.building import Derived, build
from mmmask.registry import MODELS

from .base import MaskedImageModel, require_weights, width_of_projections

SOURCES = ('encoder_cls', 'mean_patch', 'decoder_cls')
TARGETS = ('momentum_encoder', 'momentum_head', 'stopgrad', 'simclr')


@MODELS.register_module()
class CMAEMao(MaskedImageModel):
    """Mao et al., *Contrastive Masked Autoencoders*, arXiv 2205.10546, May 2022.

    (Not the CMAE of Huang et al., which is :class:`CMAEHuang`.) A masked autoencoder with a small
    decoder on two views of each image, and two further tasks for the encoder: to recognise the
    image in its other view, and to tell where the visible patches lie. Only the abstract of the
    paper could be read; options and their defaults follow its authors' later SDMAE (arXiv
    2212.05677) and MoCo v3.

    Losses are logged with their weights: ``loss_rec_a``, ``loss_rec_b``, ``loss_con``,
    ``loss_pos_a`` and ``loss_pos_b``.

    Args:
        projector: neck behind the source; not built where ``contrast_weight`` is 0.
        contrast_head: a :class:`ContrastiveHead`; not built where ``contrast_weight`` is 0.
        position_head: a :class:`PositionHead`; not built where ``position_weight`` is 0.
        source: what is contrasted: ``'encoder_cls'``, ``'mean_patch'`` (the encoder's visible
            tokens) or ``'decoder_cls'`` (all outputs of the decoder, as SDMAE, of which a
            :class:`ClassTokenProjector` takes the class token).
        target: where keys come from. ``'momentum_encoder'``: averages of all networks up to the
            projector. ``'momentum_head'``: an average of the projector alone. ``'stopgrad'``: the
            projections themselves without gradient. ``'simclr'``: with gradient, and usually
            without predictor.
        momentum, final_momentum: of the averages, see :class:`mmmask.layers.MomentumCopy`.
        mask_shared: one mask for both views, or each its own.
        reconstructed_views: 2, or 1 for the first view alone.
        freeze_patch_embed: keep the random patch embedding as it is (MoCo v3).
        reconstruction_weight, contrast_weight, position_weight: of the three tasks.
        **kwargs: as in :class:`MaskedImageModel`.

    Raises:
        ValueError: for an unknown source or target, a negative weight, or another number of views
            to reconstruct.
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
                f'reconstructed_views={reconstructed_views} is not 1 or 2; to do without '
                'reconstruction set reconstruction_weight=0.'
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
        contrasts, places = contrast_weight and contrast_head, position_weight and position_head
        width = Derived(self.backbone.embed_dims, 'the width of model.backbone')
        self.projector = self.contrast_head = self.position_head = self.momentum_copy = None
        if contrasts:
            read = self.target_channels() if source == 'decoder_cls' else width
            self.projector = build(projector, in_channels=read)
            self.contrast_head = build(contrast_head, in_channels=width_of_projections(projector))
        if places:
            num_patches = prod(self.backbone.patch_resolution)
            self.position_head = build(
                position_head,
                in_channels=width,
                num_positions=Derived(num_patches, 'the patches of model.backbone.img_size'),
            )
        if contrasts and target.startswith('momentum'):
            boxes = dict(projector=self.projector)
            if target == 'momentum_encoder':
                boxes |= dict(backbone=self.backbone)
                boxes |= dict(neck=self.neck) if source == 'decoder_cls' else {}
            self.momentum_copy = MomentumCopy(momentum, final_momentum, **boxes)

    def loss(self, *views: Tensor) -> dict[str, Tensor]:
        """Two (B, C, H, W) views -> the weighted losses of the three tasks, and accuracies."""
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
        """Two (B, C, H, W) views -> a mask for each."""
        mask = self.draw_mask(view_a)
        return (mask, mask) if self.mask_shared else (mask, self.draw_mask(view_b))

    def encode(self, view: Tensor, mask: Mask):
        """(B, C, H, W) -> (B, 1+K, D) tokens, and what :class:`PositionHead` asks for."""
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
        """(B, 1+K, D) -> (B, E) by the online networks, or by others in their place."""
        projector, neck = projector or self.projector, neck or self.neck
        if self.source == 'encoder_cls':
            source = tokens[:, 0]
        elif self.source == 'mean_patch':
            source = tokens[:, 1:].mean(dim=1)
        else:
            source = neck.project(neck.decode_all(tokens, mask))
        return projector((source,))[0]

    def keys(self, views, masks, tokens, projections) -> list[Tensor]:
        """What a view offers to the other one: (B, E) of each."""
        if self.target == 'simclr':
            return projections
        if self.target == 'stopgrad':
            return [projection.detach() for projection in projections]
        copies = dict(self.momentum_copy.module.items())
        with torch.no_grad():
            if backbone := copies.pop('backbone', None):
                tokens = [backbone(*pair)[-1] for pair in zip(views, masks, strict=True)]
            return [self.project(*pair, **copies) for pair in zip(tokens, masks, strict=True)]
