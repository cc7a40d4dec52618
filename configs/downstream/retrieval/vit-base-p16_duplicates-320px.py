_base_ = [
    '../../_base_/models/vit-base-p16_frozen.py',
    '../../_base_/runtime/classification.py',
]

# Parts of images are pasted onto others and searched among all images of a folder or .zip file.
pipeline = [
    dict(type='mmpretrain.Resize', scale=(320, 320), backend='pillow', interpolation='bicubic'),
    dict(type='mmpretrain.PackInputs'),
]
images = dict(
    type='mmmask.PartialDuplicates',
    source='{{$DATA:data/images}}',
    num_queries=200,
    seed=0,
    pipeline=pipeline,
)
test_dataloader = dict(
    batch_size=32,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(images, part='database'),
)
test_cfg = dict(
    type='mmmask.RetrievalTestLoop', queries=dict(duplicates=dict(images, part='queries')), top=20
)
test_evaluator = []  # the loop computes the metrics

model = dict(backbone=dict(out_indices=[3, 7, 11]))
