_base_ = '../imagenet/swin-large_localmim-hog-800e_8xb128-accum2-amp-coslr-100e_in1k.py'
