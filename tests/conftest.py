"""What the suites share."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch.nn import functional as F

import mmmask.models  # noqa: F401  enters everything into the registry
from mmmask.registry import MODELS

ROOT = Path(__file__).resolve().parent.parent
DEMOS = sorted((ROOT / 'configs' / 'demo').glob('*.py'))


def build_model(config: str | Path, seed: int = 0, **model):
    """The initialised model of a config, named from the folder ``configs/``, in training mode."""
    cfg = Config.fromfile(ROOT / 'configs' / config)
    cfg.model.update(model)
    torch.manual_seed(seed)
    built = MODELS.build(cfg.model)
    built.init_weights()
    return built.train()


def trainable(module: torch.nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@pytest.fixture(autouse=True)
def no_scope_of_another_test():
    """Forget the default scope that a runner of mmdet or mmseg left behind."""
    DefaultScope._instance_dict.clear()


@pytest.fixture
def on_meta(monkeypatch):
    """Builds a model from its config without memory for the weights."""
    linspace = torch.linspace  # mmpretrain reads the drop path rates from it
    monkeypatch.setattr(torch, 'linspace', lambda *args: linspace(*args, device='cpu'))

    def build(cfg):
        with torch.device('meta'):
            return MODELS.build(cfg)

    return build


@pytest.fixture
def views() -> list[torch.Tensor]:
    """Two smooth views of eight images, each (8, 3, 64, 64)."""
    noise = torch.randn(2, 8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return [F.interpolate(view, size=64, mode='bicubic') for view in noise]


@pytest.fixture(scope='session')
def photographs() -> torch.Tensor:
    """(4, 3, 224, 224) photographs, normalised as the networks see them."""
    from skimage import data
    from skimage.transform import resize

    images = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    stack = torch.stack(
        [torch.from_numpy(resize(image, (224, 224), anti_aliasing=True)) for image in images]
    )
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((stack - mean) / std).permute(0, 3, 1, 2).float().contiguous()
