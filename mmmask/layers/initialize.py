"""Initialisation shared by encoders and decoders."""

from torch import nn


def initialize_transformer(module: nn.Module) -> None:
    """Xavier-uniform linear layers with zero bias, unit LayerNorms (MAE's reference).

    Convolutions keep the defaults of PyTorch, as in the LocalMIM reference.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.LayerNorm) and layer.elementwise_affine:
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
