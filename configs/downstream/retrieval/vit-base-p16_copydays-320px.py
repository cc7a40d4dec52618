_base_ = [
    '../../_base_/models/vit-base-p16_frozen.py',
    '../../_base_/runtime/classification.py',
]

# INRIA Copydays: data/copydays/{original,strong,jpegqual/3 ... 75,crops/10 ... 80}/*.jpg
# Every block has an altered copy of each of the 157 originals; strong has 229 copies.
pipeline = [
    dict(type='mmpretrain.Resize', scale=(320, 320), backend='pillow', interpolation='bicubic'),
    dict(type='mmpretrain.PackInputs'),
]
copydays = dict(type='mmmask.Copydays', source='data/copydays', pipeline=pipeline)
blocks = ['strong']
blocks += [f'jpegqual/{quality}' for quality in (3, 5, 8, 10, 15, 20, 30, 50, 75)]
blocks += [f'crops/{area}' for area in (10, 15, 20, 30, 40, 50, 60, 70, 80)]
test_dataloader = dict(
    batch_size=32,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(copydays, block='original'),
)
# Distractors: --cfg-options test_cfg.distractors.type=mmmask.ImageFolder
# test_cfg.distractors.source=FOLDER. Whitening is set in the same way, with other images.
test_cfg = dict(
    type='mmmask.RetrievalTestLoop',
    queries={block: dict(copydays, block=block) for block in blocks},
    top=20,
)
test_evaluator = []  # the loop computes the metrics

model = dict(backbone=dict(out_indices=[3, 7, 11]))
