_base_ = 'default.py'
default_scope = 'mmpretrain'  # its RandAugment names the policies without a scope
default_hooks = dict(
    checkpoint=dict(save_best='accuracy/top1'),
    majority_class=dict(type='mmmask.MajorityClassHook'),
)
