_base_ = '../imagenet/swin-base_knn_in1k.py'

# k-NN on any folder or zip archive of train/<class>/* and val/<class>/*:
# DATA=data/clothing10.zip python tools/test.py CONFIG --pretrained CHECKPOINT
source = '{{$DATA:data/folder}}'
test_dataloader = dict(dataset=dict(source=source, prefix='val'))
test_cfg = dict(bank=dict(source=source, prefix='train'))
