_base_ = '../folder/vit-base-p16_finetune.py'

# CUB-200-2011: images/, images.txt, image_class_labels.txt, train_test_split.txt
# MAE's fine-tuning without mixup, cutmix and erasing. lr = 2e-3 * (8 GPUs * 32) / 1024 = 5e-4
resize = dict(
    type='mmpretrain.ResizeEdge',
    scale=256,
    edge='short',
    backend='pillow',
    interpolation='bicubic',
)
images = dict(type='mmpretrain.CUB', data_root='data/CUB_200_2011')
train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        _delete_=True,
        **images,
        split='train',
        pipeline=[
            dict(type='mmpretrain.LoadImageFromFile'),
            resize,
            dict(type='mmpretrain.RandomCrop', crop_size=224),
            _base_.random_flip,
            dict(type='mmpretrain.PackInputs'),
        ],
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        **images,
        split='test',
        pipeline=[
            dict(type='mmpretrain.LoadImageFromFile'),
            resize,
            dict(type='mmpretrain.CenterCrop', crop_size=224),
            dict(type='mmpretrain.PackInputs'),
        ],
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator
classes = dict(num_classes=200)
model = dict(data_preprocessor=classes, head=classes, train_cfg=None)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
