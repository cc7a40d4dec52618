# Targets that a momentum copy gives.
_base_ = 'default.py'

default_hooks = dict(
    momentum=dict(type='mmmask.MomentumUpdateHook'),
    # The projector of the last of three levels gives the targets, one call for each view.
    collapse=dict(type='mmmask.CollapseHook', module='target.module.projectors.2'),
)
