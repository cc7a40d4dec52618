_base_ = 'vit-tiny-p8_duplicates-64px.py'

# Images of a query's class are relevant: val/<class>/* are the queries, train/<class>/* the rest.
folder = dict(
    type='mmmask.ImageFolder',
    source='{{$DATA:data/images}}',
    with_label=True,
    pipeline=_base_.pipeline,
)
test_dataloader = dict(dataset=dict(_delete_=True, prefix='train', **folder))
test_cfg = dict(queries=dict(_delete_=True, classes=dict(folder, prefix='val')), top=None)
