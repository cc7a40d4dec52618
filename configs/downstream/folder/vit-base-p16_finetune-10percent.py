_base_ = '../imagenet/vit-base-p16_finetune-10percent_8xb128-amp-coslr-100e_in1k.py'

# Fine-tuning with a tenth of the labels, on any folder or zip of train/<class>/* and val/<class>/*:
# DATA=data/clothing10.zip NUM_CLASSES=10 tools/dist_train.sh CONFIG ... 8 --pretrained CHECKPOINT
source = '{{$DATA:data/folder}}'
num_classes = int('{{$NUM_CLASSES:10}}')
train_dataloader = dict(dataset=dict(source=source, prefix='train'))
val_dataloader = dict(dataset=dict(source=source, prefix='val'))
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator
model = dict(data_preprocessor=dict(num_classes=num_classes), head=dict(num_classes=num_classes))
