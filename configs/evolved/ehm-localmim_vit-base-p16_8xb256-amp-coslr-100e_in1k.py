_base_ = '../localmim/localmim_vit-base-p16_8xb256-amp-coslr-100e_in1k.py'

# The decoders and HOG targets of LocalMIM, with evolved masks.
model = dict(
    masking=dict(type='mmmask.EvolvedHierarchyMask', final_nodes=10, exponent=0.5),
    # The training has a third of 300 epochs, so the copy has a third of the half-life, at half the
    # batch.
    parser=dict(type='mmmask.EncoderParser', momentum=0.99976),
)
default_hooks = dict(
    momentum=dict(type='mmmask.MomentumUpdateHook'), progress=dict(type='mmmask.ProgressHook')
)
