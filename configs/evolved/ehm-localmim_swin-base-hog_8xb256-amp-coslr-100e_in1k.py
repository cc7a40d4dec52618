_base_ = '../localmim/localmim_swin-base-hog_8xb256-amp-coslr-100e_in1k.py'

# 49 units of 32 px, of which 12 are visible, the same in all images of a process. Window attention
# is not global, so the features of the last stage determine which units belong together.
model = dict(
    masking=dict(
        type='mmmask.EvolvedHierarchyMask', final_nodes=6, affinity='feat_cos', shared=True
    ),
    # The training has a third of 300 epochs, so the copy has a third of the half-life, at half the
    # batch.
    parser=dict(type='mmmask.EncoderParser', momentum=0.99976),
)
default_hooks = dict(
    momentum=dict(type='mmmask.MomentumUpdateHook'), progress=dict(type='mmmask.ProgressHook')
)
