# For methods whose targets are computed by a momentum copy.
_base_ = 'default.py'

default_hooks = dict(
    momentum=dict(type='mmmask.MomentumUpdateHook'),
    # The projector of the last of three levels computes the targets, one call for each view.
    collapse=dict(module='target.module.projectors.2', interval=50, alarm_below=0.16),
)
