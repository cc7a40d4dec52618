import pytest
import torch
from mmpretrain.models.backbones import SwinTransformer

from mmmask.masking import Mask, RandomMask, SharedUnitMask, keep_all, units_to_raster
from mmmask.models import MaskedSwinTransformer

ARCH = dict(embed_dims=16, depths=[2, 2, 2, 2], num_heads=[1, 2, 2, 4])
TAPS = dict(out_indices=(0, 1, 2, 3), out_after_downsample=True)
# (image size, window or one per stage)
SIZES = [
    ((224, 224), 7),
    ((128, 256), 4),
    ((192, 192), (6, 6, 6, 3)),
    ((160, 160), 5),
    ((384, 384), 12),
    ((224, 448), 7),
]


def build(window=7, **kwargs):
    torch.manual_seed(0)
    if not isinstance(window, int):
        kwargs['stage_cfgs'] = [dict(window_size=size) for size in window]
        window = 7
    backbone = MaskedSwinTransformer(ARCH, window_size=window, **TAPS, **kwargs)
    backbone.init_weights()
    for name, parameter in backbone.named_parameters():
        if 'position_bias' in name:  # large enough to reveal a wrong offset
            torch.nn.init.normal_(parameter)
    backbone.eval()  # mmpretrain's backbones return None here
    return backbone


def dense_twin(backbone, images, hidden, scrambled):
    """Plain (shifted) window attention on all tokens, hidden ones excluded as keys, unit-major."""
    grid = backbone.grid(images)
    side = 8
    tokens, _ = backbone.patch_embed(images)
    tokens = to_units(tokens, grid, side)
    taps = []
    for index, stage in enumerate(backbone.stages):
        height, width = grid[0] * side, grid[1] * side
        raster = torch.arange(height * width)
        if not (scrambled and index > 0):
            raster = to_units(raster.view(1, -1, 1), grid, side).flatten()
        rows, columns = raster // width, raster % width
        is_key = ~hidden.repeat_interleave(side**2)
        for block in stage.blocks:
            window, shift = block.attn.window_size, block.attn.shift_size
            shift = 0 if window >= min(height, width) else shift
            # Tokens after a cyclic shift; those from beyond the edge form a separate region.
            rolled = [(rows - shift) % height, (columns - shift) % width]
            regions = [rolled[0] // window, rolled[1] // window, rows < shift, columns < shift]
            together = torch.stack([region[:, None] == region for region in regions]).all(0)
            layer = block.attn.w_msa
            offset = (rows[:, None] - rows + window - 1) * (2 * window - 1)
            offset = (offset + columns[:, None] - columns + window - 1)[together]
            bias = torch.full((layer.num_heads, *together.shape), float('-inf'))
            bias[:, together] = layer.relative_position_bias_table[offset].T
            # A hidden token attends to its whole window, to have keys; no token attends to it.
            bias = bias.masked_fill(~is_key & is_key[:, None], float('-inf'))
            normed = block.norm1(tokens)
            query, key, value = layer.qkv(normed).unflatten(2, (3, layer.num_heads, -1)).unbind(2)
            logits = torch.einsum('bqhd,bkhd->bhqk', query * layer.scale, key) + bias
            mixed = torch.einsum('bhqk,bkhd->bqhd', logits.softmax(3), value).flatten(2)
            tokens = tokens + layer.proj(mixed)
            tokens = block.ffn(block.norm2(tokens), identity=tokens)
        if stage.downsample is not None:
            maps, _ = stage.downsample(units_to_raster(tokens, grid), (height, width))
            side //= 2
            tokens = to_units(maps, grid, side)
        taps.append(getattr(backbone, f'norm{index}')(tokens))
    return taps


def to_units(tokens, grid, side):
    maps = tokens.unflatten(1, (grid[0], side, grid[1], side))
    return maps.transpose(2, 3).flatten(1, 4)


def visible(tokens, mask):
    units = tokens.unflatten(1, (mask.hidden.shape[1], -1))
    return units[:, list(mask.shared_ids)].flatten(1, 2)


@pytest.mark.parametrize('coordinates', ['true', 'scrambled'])
@pytest.mark.parametrize(('size', 'window'), SIZES[:3])
def test_groups_equal_dense_window_attention(size, window, coordinates):
    backbone = build(window, coordinates=coordinates)
    images = torch.randn(1, 3, *size)
    mask = SharedUnitMask(0.7)(1, backbone.grid(images))
    with torch.no_grad():
        taps = backbone(images, mask)
        twins, others = (
            [visible(tap, mask) for tap in dense_twin(backbone, images, mask.hidden[0], scrambled)]
            for scrambled in (coordinates == 'scrambled', coordinates == 'true')
        )
    for index, (tap, twin, other) in enumerate(zip(taps, twins, others, strict=True)):
        torch.testing.assert_close(tap, twin, atol=1e-5, rtol=1e-5)
        # The first stage has the same coordinates in both settings.
        assert ((tap - other).abs().max() > 0.01) == (index > 0)


def test_gradients_equal_those_of_dense_attention():
    backbone = build(4)
    images = torch.randn(1, 3, 128, 128)
    mask = SharedUnitMask(0.7)(1, (4, 4))
    taps = backbone(images, mask)
    weights = [torch.randn_like(tap) for tap in taps]
    sum((tap * weight).sum() for tap, weight in zip(taps, weights, strict=True)).backward()
    gradients = {name: p.grad.clone() for name, p in backbone.named_parameters()}
    backbone.zero_grad()
    twins = dense_twin(backbone, images, mask.hidden[0], False)
    twins = [visible(twin, mask) for twin in twins]
    sum((twin * weight).sum() for twin, weight in zip(twins, weights, strict=True)).backward()
    for name, parameter in backbone.named_parameters():
        scale = parameter.grad.abs().max()
        assert scale > 0, name
        assert (gradients[name] - parameter.grad).abs().max() < 1e-4 * scale, name


@pytest.mark.parametrize(('size', 'window'), SIZES)
def test_nothing_hidden_equals_mmpretrain(size, window):
    ours = build(window)
    options = dict(window_size=window)
    if not isinstance(window, int):
        options = dict(stage_cfgs=[dict(window_size=side) for side in window])
    plain = SwinTransformer(ARCH, **options, **TAPS)
    plain.load_state_dict(ours.state_dict(), strict=True)
    plain.eval()
    images = torch.randn(2, 3, *size)
    grid = ours.grid(images)
    with torch.no_grad():
        expected = plain(images)
        everything = ours(images, keep_all(2, grid))
        for tap, whole, maps in zip(ours(images), everything, expected, strict=True):
            assert torch.equal(tap, maps)
            tokens = units_to_raster(whole, grid)
            torch.testing.assert_close(tokens, maps.flatten(2).mT, atol=1e-5, rtol=1e-5)


def test_taps_before_the_patch_merging():
    torch.manual_seed(0)
    ours = MaskedSwinTransformer(ARCH, window_size=4, out_indices=(1, 2))
    ours.eval()
    images = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        for maps, tap in zip(ours(images), ours(images, keep_all(1, (4, 4))), strict=True):
            tokens = units_to_raster(tap, (4, 4))
            torch.testing.assert_close(tokens, maps.flatten(2).mT, atol=1e-5, rtol=1e-5)


def test_hidden_pixels_do_not_reach_the_encoder():
    backbone = build(4)
    images = torch.randn(2, 3, 128, 256)
    mask = SharedUnitMask(0.7)(2, (4, 8))
    hidden = mask.hidden.view(2, 1, 4, 8).repeat_interleave(32, 2).repeat_interleave(32, 3)
    vandalised = torch.where(hidden, torch.full_like(images, torch.nan), images)
    with torch.no_grad():
        for tap, expected in zip(backbone(vandalised, mask), backbone(images, mask), strict=True):
            assert torch.equal(tap, expected)
    assert tap.shape == (2, 9, 128)


def test_images_of_a_batch_do_not_mix():
    backbone = build(4)
    images = torch.randn(3, 3, 128, 128)
    mask = SharedUnitMask(0.7)(3, (4, 4))
    single = Mask(*(tensor[1:2] for tensor in mask[:3]), mask.grid)
    with torch.no_grad():
        together, alone = backbone(images, mask), backbone(images[1:2], single)
    for tap, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(tap[1:2], expected, atol=1e-5, rtol=1e-5)


def test_activation_checkpoints_change_nothing():
    plain, thrifty = build(4), build(4, with_cp=True)
    images = torch.randn(1, 3, 128, 128)
    mask = SharedUnitMask(0.7)(1, (4, 4))
    for backbone in (plain, thrifty):
        sum(tap.square().sum() for tap in backbone(images, mask)).backward()
    for ours, theirs in zip(plain.parameters(), thrifty.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_initialisation_of_the_reference():
    backbone = MaskedSwinTransformer(arch='tiny')
    torch.manual_seed(0)
    backbone.init_weights()
    qkv = backbone.stages[3].blocks[0].attn.w_msa.qkv
    assert qkv.weight.abs().max().item() == pytest.approx((6 / (4 * 768)) ** 0.5, rel=1e-3)
    assert qkv.bias.abs().max() == 0
    projection = backbone.patch_embed.projection.weight  # 48 inputs, 96 outputs
    assert projection.abs().max().item() == pytest.approx((6 / 144) ** 0.5, rel=1e-2)
    table = backbone.stages[2].blocks[0].attn.w_msa.relative_position_bias_table
    assert table.std().item() == pytest.approx(0.02, rel=0.1)


def test_sizes_masks_and_options_that_do_not_fit_are_errors():
    backbone = build(7)
    with pytest.raises(ValueError, match='200x224 px cannot be cut into mask units of 32 px'):
        backbone.grid(torch.zeros(1, 3, 200, 224))
    with pytest.raises(ValueError, match='windows of 7 do not tile a map of 64x64 tokens'):
        backbone(torch.zeros(1, 3, 256, 256), keep_all(1, (8, 8)))
    with pytest.raises(ValueError, match='use mmmask.SharedUnitMask'):
        backbone(torch.zeros(8, 3, 224, 224), RandomMask(0.75)(8, (7, 7)))
    with pytest.raises(ValueError, match=r"coordinates='right' is not one of \('true'"):
        build(7, coordinates='right')
    with pytest.raises(ValueError, match='use_abs_pos_embed'):
        build(7, use_abs_pos_embed=True)
