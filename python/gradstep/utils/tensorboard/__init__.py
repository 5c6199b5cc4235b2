# SPDX-License-Identifier: Apache-2.0
"""SummaryWriter: figures, images and texts for TensorBoard, in its event files.

Needs the package tensorboard (`pip install tensorboard`, the extra `gradstep[tensorboard]`).
"""

try:
    import tensorboard  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "tensorboard":
        raise
    raise ImportError(
        "torch.utils.tensorboard needs the package tensorboard: pip install tensorboard"
    ) from None

from tensorboard.summary.writer.record_writer import RecordWriter

from .writer import FileWriter, SummaryWriter

__all__ = ["FileWriter", "RecordWriter", "SummaryWriter"]
