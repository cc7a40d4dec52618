"""I-JEPA and data2vec 2.0: what is predicted, from what, and what has no gradient."""

import numpy as np
import pytest
import torch
from conftest import build_model
from torch.nn import functional as F

from mmmask.masking import RandomMask, hide_positions
from mmmask.models import BlockPredictor, MomentumTarget
from mmmask.registry import MODELS
from mmmask.targets import HOGTarget

IJEPA, DATA2VEC = 'demo/ijepa_vit-tiny_digits.py', 'demo/data2vec2_vit-tiny_digits.py'
IMAGES = F.interpolate(
    torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)), size=64, mode='bicubic'
)
ENCODER = dict(
    type='mmmask.MaskedVisionTransformer',
    arch=dict(embed_dims=32, num_layers=4, num_heads=4, feedforward_channels=64),
    img_size=64,
    patch_size=16,
    drop_path_rate=0.5,
)


def normed(values: np.ndarray, axis: int, eps: float = 1e-5) -> np.ndarray:
    mean, variance = values.mean(axis, keepdims=True), values.var(axis, keepdims=True)
    return (values - mean) / np.sqrt(variance + eps)


def fix_mask(model, images):
    """Let a model use one mask in every pass."""
    mask = model.draw_mask(images)
    model.draw_mask = lambda images: mask
    return mask


class TestTarget:
    @pytest.mark.parametrize('num_layers', [1, 3])
    def test_equals_numpy(self, num_layers):
        torch.manual_seed(0)
        encoder = MODELS.build(ENCODER | dict(out_indices=[0, 1, 2, 3]))
        target = MomentumTarget(encoder, num_layers=num_layers).train()(IMAGES)
        encoder.eval()
        maps = [tap[:, 1:].detach().double().numpy() for tap in encoder(IMAGES)[-num_layers:]]
        if num_layers > 1:
            maps = [normed(tap, axis=1) for tap in maps]
        expected = normed(np.mean(maps, axis=0), axis=2)
        np.testing.assert_allclose(target, expected, rtol=1e-4, atol=1e-4)
        assert target.shape == (3, 16, 32)
        assert not target.requires_grad

    def test_of_a_convolutional_encoder(self):
        encoder = MODELS.build(dict(type='mmmask.MaskedResNet', depth=18, base_channels=8))
        target = MomentumTarget(encoder)(IMAGES)
        encoder.eval()
        expected = normed(encoder(IMAGES)[-1].flatten(2).mT.detach().double().numpy(), axis=2)
        np.testing.assert_allclose(target, expected, rtol=1e-3, atol=1e-3)

    def test_follows_the_encoder_by_its_momentum(self):
        encoder = MODELS.build(ENCODER)
        target = MomentumTarget(encoder, momentum=0.75, final_momentum=None)
        target.copy.update()  # the first one copies
        old = encoder.ln1.weight.detach().clone()
        with torch.no_grad():
            encoder.ln1.weight.add_(1.0)
        assert torch.equal(target.encoder.ln1.weight, old)
        target.copy.update()
        torch.testing.assert_close(target.encoder.ln1.weight, old + 0.25)

    def test_more_layers_than_there_are(self):
        with pytest.raises(ValueError, match=r'num_layers=5 must lie in 1\.\.4'):
            MomentumTarget(MODELS.build(ENCODER), num_layers=5)


class TestIJEPA:
    @pytest.mark.parametrize(
        ('part', 'message'),
        [
            (
                dict(neck=dict(type='mmmask.TokenDecoder')),
                'IJEPA compares blocks of patches: use a',
            ),
            (dict(type='mmmask.MAE'), 'BlockPredictor predicts blocks .* or IJEPA as the method'),
        ],
    )
    def test_only_its_own_decoder_fits(self, part, message):
        with pytest.raises(ValueError, match=message):
            build_model(IJEPA, **part)

    def test_targets_of_parts_of_a_patch_are_refused(self):
        model = build_model(IJEPA)
        model.target_generator = HOGTarget(9, 4)
        with pytest.raises(ValueError, match='each of the 64 patches, but the target has 256'):
            model(IMAGES, mode='loss')

    def test_an_encoder_with_several_tokens_for_a_patch_is_refused(self):
        mask = RandomMask(0.5)(1, (2, 2))
        neck = BlockPredictor(8, 8, embed_dims=8, depth=0, num_heads=1)
        with pytest.raises(
            ValueError, match='one token of each visible patch, but there are 8 of 2'
        ):
            neck([torch.randn(1, 8, 8)], mask)

    def test_hand_computed_loss(self):
        model = build_model(IJEPA)
        mask = fix_mask(model, IMAGES)
        loss = model(IMAGES, mode='loss')['loss'].item()
        prediction = model.neck(model.backbone(IMAGES, mask), mask).view(3, 4, 11, 128)
        target = model.target_generator(IMAGES)
        errors = []
        for image in range(3):
            for block in range(4):
                for place, patch in enumerate(mask.ids_predict[image, block].tolist()):
                    error = (prediction[image, block, place] - target[image, patch]).abs()
                    error = error.detach().numpy()
                    errors.append(np.where(error < 1, error**2 / 2, error - 0.5).mean())
        assert loss == pytest.approx(np.mean(errors), rel=1e-5)

    def test_a_block_is_predicted_from_visible_patches_and_its_own_positions_only(self):
        model = build_model(IJEPA)
        mask = fix_mask(model, IMAGES)
        prediction = model.neck(model.backbone(IMAGES, mask), mask)
        hidden = hide_positions(IMAGES, mask) == 0
        others = torch.where(hidden, torch.randn_like(IMAGES), IMAGES)
        moved = mask._replace(ids_predict=mask.ids_predict.clone())
        moved.ids_predict[:, 1] = mask.ids_predict[:, 2]
        changed = model.neck(model.backbone(others, mask), moved)
        same = (prediction == changed).flatten(2).all(2).view(3, 4, 11).all(2)
        torch.testing.assert_close(changed[:, :11], prediction[:, :11])
        torch.testing.assert_close(changed[:, 22:], prediction[:, 22:])
        assert not same[:, 1].any()
        # The target does see the hidden patches.
        assert not torch.allclose(model.target_generator(others), model.target_generator(IMAGES))

    def test_position_of_a_target_matters_but_not_its_place_in_the_block(self):
        model = build_model(IJEPA)
        mask = fix_mask(model, IMAGES)
        prediction = model.neck(model.backbone(IMAGES, mask), mask).view(3, 4, 11, -1)
        turned = mask._replace(ids_predict=mask.ids_predict.flip(2))
        again = model.neck(model.backbone(IMAGES, turned), turned).view(3, 4, 11, -1)
        torch.testing.assert_close(again.flip(2), prediction)
        assert prediction.std(dim=2).mean() > 1e-3

    def test_only_the_online_networks_have_gradients(self):
        model = build_model(IJEPA)
        model(IMAGES, mode='loss')['loss'].backward()
        with_gradient = {
            name.split('.')[0] for name, p in model.named_parameters() if p.grad is not None
        }
        assert with_gradient == {'backbone', 'neck'}

    def test_pictures_show_the_mean_prediction_of_all_blocks(self):
        model = build_model(IJEPA)
        mask = fix_mask(model, IMAGES)
        shown = model(IMAGES, mode='predict')
        prediction = model.neck(model.backbone(IMAGES, mask), mask).detach()
        places = mask.ids_predict.flatten(1)
        for patch in range(64):
            of_patch = prediction[1, places[1] == patch]
            expected = of_patch.mean(0) if len(of_patch) else torch.zeros(128)
            torch.testing.assert_close(shown.prediction[0][1, patch], expected)
            assert shown.mask.hidden[1, patch].item() == (len(of_patch) > 0)

    def test_a_mask_without_blocks(self):
        """All hidden patches are one block: the loss is that of their predictions."""
        model = build_model(IJEPA)
        model.masking = RandomMask(0.5)
        mask = fix_mask(model, IMAGES)
        loss = model(IMAGES, mode='loss')['loss']
        shown = model(IMAGES, mode='predict')
        assert torch.equal(shown.mask.hidden, mask.hidden)
        expected = model.head(shown.prediction[0], shown.target[0], shown.mask)['loss']
        torch.testing.assert_close(loss, expected)


class TestData2Vec:
    def test_the_masks_of_an_image_share_one_target(self):
        model = build_model(DATA2VEC)
        seen = []
        model.target_generator.encoder.register_forward_hook(lambda *call: seen.append(call[1][0]))
        model(IMAGES, mode='loss')
        assert len(seen) == 1
        assert torch.equal(seen[0], IMAGES)

    def test_loss_is_the_mean_over_the_masks(self):
        model = build_model(DATA2VEC)
        mask = fix_mask(model, IMAGES.repeat_interleave(4, 0))
        assert not torch.equal(mask.hidden[0], mask.hidden[1])
        losses = model(IMAGES, mode='loss')
        target = model.target_generator(IMAGES)
        errors, class_errors = [], []
        for row in range(12):
            one = type(mask)(*(part[row : row + 1] for part in mask[:3]), mask.grid)
            taps = model.backbone(IMAGES[row // 4 : row // 4 + 1], one)
            error = (model.neck(taps, one)[0] - target[row // 4]).square().mean(1)
            errors.append(error[mask.hidden[row]].mean().item())
            class_error = (taps[-1][0, 0] - target[row // 4].mean(0)).square().mean()
            class_errors.append(class_error.item())
        assert losses['loss'].item() == pytest.approx(np.mean(errors), rel=1e-4)
        expected = 0.01 * np.mean(class_errors)
        assert losses['loss_class'].item() == pytest.approx(expected, rel=1e-4)

    def test_hidden_pixels_have_no_effect_on_predictions(self):
        model = build_model(DATA2VEC)
        mask = fix_mask(model, IMAGES)
        others = torch.where(hide_positions(IMAGES, mask) == 0, 9.0, IMAGES)
        one, other = (model.neck(model.backbone(x, mask), mask) for x in (IMAGES, others))
        assert torch.equal(one, other)

    def test_only_the_online_networks_have_gradients(self):
        model = build_model(DATA2VEC)
        sum(model(IMAGES, mode='loss').values()).backward()
        with_gradient = {
            name.split('.')[0] for name, p in model.named_parameters() if p.grad is not None
        }
        assert with_gradient == {'backbone', 'neck'}

    def test_a_target_at_several_scales(self):
        model = build_model(
            'demo/localmim_vit-tiny_digits.py',
            type='mmmask.Data2Vec2',
            num_masks=2,
            class_weight=0.0,
        )
        copies = IMAGES.repeat_interleave(2, 0)
        mask = fix_mask(model, copies)
        losses = model(IMAGES, mode='loss')
        prediction = model.neck(model.backbone(copies, mask), mask)
        expected = model.head(prediction, model.target_generator(copies), mask)
        assert len(expected) > 1
        torch.testing.assert_close(losses, expected)

    def test_the_class_token_and_a_target_of_another_width(self):
        kind = dict(type='mmmask.Data2Vec2', num_masks=2)
        with pytest.raises(ValueError, match='token, of width 128, .* of width 192: set it to 0'):
            build_model('demo/mae_vit-tiny_digits.py', **kind)
        with pytest.raises(ValueError, match=r'of width \(27, 27, 27, 27\): set it to 0'):
            build_model('demo/localmim_vit-tiny_digits.py', **kind)
        model = build_model('demo/mae_vit-tiny_digits.py', class_weight=0.0, **kind)
        assert model(IMAGES, mode='loss').keys() == {'loss'}

    def test_without_the_class_token(self):
        assert build_model(DATA2VEC, class_weight=0.0)(IMAGES, mode='loss').keys() == {'loss'}
        with pytest.raises(ValueError, match='num_masks=0 must be at least 1'):
            build_model(DATA2VEC, num_masks=0)
        with pytest.raises(ValueError, match='MaskedResNet does not have: set it to 0'):
            build_model('demo/spark_resnet-tiny_digits.py', type='mmmask.Data2Vec2')
