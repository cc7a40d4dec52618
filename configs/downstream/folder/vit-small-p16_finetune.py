_base_ = 'vit-base-p16_finetune.py'

# Nothing is published for a ViT-S: ViT-B's recipe with a weaker layer decay.
model = dict(backbone=dict(arch='deit-small'), head=dict(in_channels=384))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.75))
