_base_ = [
    '../../_base_/models/vit-base-p16_classifier.py',
    '../../_base_/datasets/imagenet_linear.py',
    '../../_base_/schedules/own_data.py',
    '../../_base_/runtime/classification.py',
]

# Your own classes, fine-tuned: --data FOLDER --pretrained CHECKPOINT. Backbone and image size
# follow from the checkpoint, classes from the folders. <backbone>_finetune.py have published
# recipes.
own_data = dict(
    task='classification',
    narrow={'optim_wrapper.optimizer.lr': 1e-3},  # for networks of the size of configs/demo
)
model = dict(train_cfg=None)  # neither mixup nor cutmix
train_dataloader = dict(batch_size=32, num_workers=2, drop_last=False)
val_dataloader = dict(batch_size=32, num_workers=2)
test_dataloader = val_dataloader
val_cfg = dict()
test_cfg = dict()
