"""Functions of one tensor that is a stack of images, with its shape; see `torch_calls`."""

from __future__ import annotations

import torch
from torch.nn import functional
from torch_inner_gradients import DOUBLE, IMAGES

OF_IMAGES = {
    "pools": (
        lambda y: (
            functional.max_pool2d(y, 3, 2, 1)
            + functional.avg_pool2d(y, 3, 2, 1)
            + functional.adaptive_avg_pool2d(y, 3)
            + functional.adaptive_max_pool2d(y, 3)
            + functional.lp_pool2d(y.abs(), 2.0, 2)
        ),
        IMAGES,
    ),
    "pools1": (
        lambda y: (
            functional.max_pool1d(y[:, 0], 2)
            + functional.avg_pool1d(y[:, 0], 2)
            + functional.adaptive_avg_pool1d(y[:, 0], 3)
        ),
        IMAGES,
    ),
    "pool3": (lambda y: functional.max_pool3d(y[None], 2) + functional.avg_pool3d(y[None], 2), IMAGES),
    "norms2": (
        lambda y: (
            functional.group_norm(y, 2)
            + functional.instance_norm(y)
            + functional.layer_norm(y, (6,))
            + functional.rms_norm(y, (6,))
            + functional.local_response_norm(y, 2)
        ),
        IMAGES,
    ),
    "fold": (
        lambda y: functional.fold(functional.unfold(y, 3, padding=1, stride=2), (6, 6), 3, padding=1, stride=2),
        IMAGES,
    ),
    "pixshuf": (
        lambda y: functional.pixel_shuffle(y.reshape(2, 4, 3, 6), 2)[..., :6].sum() + functional.pixel_unshuffle(y, 2),
        IMAGES,
    ),
    "grid": (
        lambda y: functional.grid_sample(
            y,
            torch.tanh(y[:, :, :, :2].permute(0, 2, 3, 1).reshape(2, 3, 4, 2)[:, :, :, :]),
            align_corners=False,
            padding_mode="border",
        ),
        IMAGES,
    ),
    "affine": (
        lambda y: functional.grid_sample(
            y, functional.affine_grid(y[:, 0, :2, :3] * 0.3, (2, 2, 4, 4), align_corners=False), align_corners=False
        ),
        IMAGES,
    ),
    "ups": (
        lambda y: (
            functional.interpolate(y, size=(9, 7), mode="bicubic", align_corners=True)
            + functional.interpolate(y, size=(9, 7), mode="nearest")
            + functional.interpolate(y, size=(9, 7), mode="nearest-exact")
            + functional.interpolate(y, size=(9, 7), mode="area")
        ),
        IMAGES,
    ),
    "convs": (
        lambda y: (
            functional.conv2d(
                y, torch.ones(4, 1, 3, 3, dtype=DOUBLE) * 0.1, groups=2, stride=2, dilation=1, padding="valid"
            )
            + functional.conv_transpose2d(y, torch.ones(2, 4, 2, 2, dtype=DOUBLE) * 0.1)[..., :2, :2]
        ),
        IMAGES,
    ),
    "conv1": (lambda y: functional.conv1d(y[:, 0], y[0, 0, :3, :3].reshape(1, 3, 3).repeat(1, 2, 1)), IMAGES),
    "conv3": (lambda y: functional.conv3d(y[None], torch.ones(3, 2, 2, 2, 2, dtype=DOUBLE) * 0.2, padding=1), IMAGES),
    "conv_same": (lambda y: functional.conv2d(y, torch.ones(2, 2, 3, 3, dtype=DOUBLE) * 0.3, padding="same"), IMAGES),
    "batch_norm": (
        lambda y: (
            functional.batch_norm(y, None, None, training=True)
            + functional.batch_norm(y, torch.zeros(2).double(), torch.ones(2).double())
        ),
        IMAGES,
    ),
    "attention": (
        lambda y: (
            functional.scaled_dot_product_attention(y, y + 1.0, y * 2.0)
            + functional.scaled_dot_product_attention(y, y, y, attn_mask=torch.ones(6, 6).tril().bool())
        ),
        IMAGES,
    ),
    "interpolate": (
        lambda y: (
            functional.interpolate(y[0], size=9, mode="linear").sum()
            + functional.interpolate(y[0], size=9).sum()
            + functional.interpolate(y[0], size=9, mode="nearest-exact").sum()
            + functional.interpolate(y[None], size=(3, 7, 5), mode="trilinear").sum()
            + functional.interpolate(y[None], size=(3, 7, 5)).sum()
            + functional.interpolate(y[None], size=(3, 7, 5), mode="nearest-exact").sum()
            + functional.interpolate(y, scale_factor=2.0, mode="bilinear").sum()
        ),
        IMAGES,
    ),
    "more images": (
        lambda y: (
            functional.adaptive_avg_pool3d(y, 3).sum()
            + functional.adaptive_max_pool3d(y, 2).sum()
            + torch.channel_shuffle(y, 2).cos()
            + functional.pad(y, (1, 2, 0, 1), mode="reflect").sum()
            + functional.pad(y, (1, 2, 0, 1), mode="replicate").sum()
            + functional.pad(y[None], (1, 1, 1, 0, 1, 0), mode="reflect").sum()
            + functional.pad(y[None], (1, 1, 1, 0, 1, 0), mode="replicate").sum()
            + functional.instance_norm(y)
            + functional.grid_sample(
                y[None], torch.linspace(-0.8, 0.7, 24, dtype=DOUBLE).reshape(1, 2, 2, 2, 3), align_corners=True
            ).sum()
            + functional.conv2d(torch.flip(y, [2]), y[:, :, :3, :3]).sum()
        ),
        IMAGES,
    ),
    "statistics": (
        lambda y: torch.ops.aten._native_batch_norm_legit(
            y, None, None, torch.zeros(2).double(), torch.ones(2).double(), True, 0.1, 1e-5
        )[0],
        IMAGES,
    ),
}
