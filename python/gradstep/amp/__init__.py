# SPDX-License-Identifier: Apache-2.0
"""Mixed precision: `with torch.autocast("cpu"): loss = model(x)` runs products in bfloat16.

Which functions run in what stands in cpp/ops/autocast.cpp. Parameters stay float32: their casts are
differentiable, so gradients and optimizer are float32 too.
"""

from .autocast_mode import autocast, custom_bwd, custom_fwd, is_autocast_available
from .grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]
