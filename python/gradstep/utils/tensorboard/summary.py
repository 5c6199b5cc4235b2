# SPDX-License-Identifier: Apache-2.0
"""The protocol buffers that TensorBoard shows: one function for each kind of summary."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import numpy as np
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

__all__ = [
    "audio",
    "histogram",
    "histogram_raw",
    "hparams",
    "image",
    "image_boxes",
    "pr_curve",
    "pr_curve_raw",
    "scalar",
    "text",
    "video",
]


def make_np(x: Any) -> Any:
    """A numpy array of a tensor, array, number or list of numbers."""
    if isinstance(x, np.ndarray):
        return x
    if np.isscalar(x):
        return np.array([x])
    if hasattr(x, "detach"):
        x = x.detach().cpu()
        if str(x.dtype).endswith("bfloat16"):
            x = x.float()
        return x.numpy()
    raise NotImplementedError(f"Got {type(x)}, but numpy array or torch tensor are expected.")


# ---- numbers ----


def scalar(
    name: str,
    tensor: Any,
    collections: Any = None,
    new_style: bool = False,
    double_precision: bool = False,
) -> Summary:
    """One number; new_style and double_precision store it as a tensor."""
    values = make_np(tensor).squeeze()
    if values.ndim != 0:
        raise AssertionError(
            f"Tensor should contain one element (0 dimensions). Was given size: {values.size} and {values.ndim} dimensions."
        )
    value = float(values)
    if not (new_style or double_precision):
        return Summary(value=[Summary.Value(tag=name, simple_value=value)])
    if double_precision:
        proto = TensorProto(double_val=[value], dtype="DT_DOUBLE")
    else:
        proto = TensorProto(float_val=[value], dtype="DT_FLOAT")
    data = SummaryMetadata.PluginData(plugin_name="scalars")
    return Summary(
        value=[Summary.Value(tag=name, tensor=proto, metadata=SummaryMetadata(plugin_data=data))]
    )


def default_bins() -> list[float]:
    """Limits of bins that grow by a tenth, on both sides of 0."""
    bins = [1e-12 * 1.1**i for i in range(int(np.log(1e32) / np.log(1.1)) + 1)]
    positive = [b for b in bins if b < 1e20]
    return [-b for b in reversed(positive)] + [0.0] + positive


def histogram(name: str, values: Any, bins: Any, max_bins: int | None = None) -> Summary:
    """How often values fall between the limits of numpy's `bins`; with max_bins neighbours are joined."""
    flat = make_np(values).astype(float).reshape(-1)
    if flat.size == 0:
        raise ValueError("The input has no element.")
    counts, limits = np.histogram(flat, bins=bins)
    n = len(counts)
    if max_bins is not None and n > max_bins:
        step = n // max_bins
        rest = n % step
        if rest:
            counts = np.pad(counts, (0, step - rest))
        counts = counts.reshape(-1, step).sum(-1)
        limits = np.append(limits[:-1][::step], limits[-1])
    if counts.size == 0 or limits.size == 0:
        raise ValueError("The histogram is empty, please file a bug report.")
    # Empty bins at the ends are left out, but for one on the left, which gives the first its lower limit.
    filled = np.flatnonzero(counts)
    first, last = (int(filled[0]), int(filled[-1]) + 1) if filled.size else (0, 1)
    if first > 0:
        kept = counts[first - 1 : last]
    else:
        kept = np.concatenate([[0], counts[:last]])
    edges = limits[first : last + 1]
    return histogram_raw(
        name,
        flat.min(),
        flat.max(),
        len(flat),
        flat.sum(),
        flat.dot(flat),
        edges.tolist(),
        kept.tolist(),
    )


def histogram_raw(
    name: str,
    min: float,
    max: float,
    num: float,
    sum: float,
    sum_squares: float,
    bucket_limits: Any,
    bucket_counts: Any,
) -> Summary:
    """A histogram that was counted elsewhere: the upper limit and the count of each bin."""
    proto = HistogramProto(
        min=min,
        max=max,
        num=num,
        sum=sum,
        sum_squares=sum_squares,
        bucket_limit=bucket_limits,
        bucket=bucket_counts,
    )
    return Summary(value=[Summary.Value(tag=name, histo=proto)])


# ---- pictures ----


def png(pixels: Any) -> bytes:
    """A PNG file of (H, W, 1), (H, W, 3) or (H, W, 4) bytes (ISO/IEC 15948)."""
    height, width, channels = pixels.shape
    kind = {1: 0, 3: 2, 4: 6}[channels]

    def chunk(tag: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))

    # Each row begins with its filter: none.
    rows = np.zeros((height, 1 + width * channels), np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows.tobytes(), 6))
        + chunk(b"IEND", b"")
    )


def to_hwc(tensor: Any, input_format: str) -> Any:
    """(H, W, C) with 3 channels from any order of the letters NCHW; a batch becomes a grid of 8 in a row."""
    if len(set(input_format)) != len(input_format):
        raise AssertionError(
            f"You can not use the same dimension shordhand twice. input_format: {input_format}"
        )
    if tensor.ndim != len(input_format):
        raise AssertionError(
            f"size of input tensor and input format are different. tensor shape: {tensor.shape}, "
            f"input_format: {input_format}"
        )
    letters = input_format.upper()
    if len(letters) == 4:
        return _grid(np.transpose(tensor, [letters.index(c) for c in "NCHW"])).transpose(1, 2, 0)
    if len(letters) == 3:
        out = np.transpose(tensor, [letters.index(c) for c in "HWC"])
        return np.concatenate([out] * 3, 2) if out.shape[2] == 1 else out
    out = np.transpose(tensor, [letters.index(c) for c in "HW"])
    return np.stack([out] * 3, 2)


def _grid(images: Any, columns: int = 8) -> Any:
    """(3, H, W): the images (N, C, H, W) beside each other."""
    if images.shape[1] == 1:
        images = np.concatenate([images] * 3, 1)
    n, channels, height, width = images.shape
    columns = min(n, columns)
    rows = -(-n // columns)
    out = np.zeros((channels, height * rows, width * columns), images.dtype)
    for i, one in enumerate(images):
        y, x = i // columns * height, i % columns * width
        out[:, y : y + height, x : x + width] = one
    return out


def _bytes_of(pixels: Any) -> Any:
    """uint8 stays, other types are 0 to 1 and become 0 to 255."""
    return pixels if pixels.dtype == np.uint8 else (pixels * 255).clip(0, 255).astype(np.uint8)


def _picture(tag: str, pixels: Any) -> Summary:
    height, width, channels = pixels.shape
    proto = Summary.Image(
        height=height, width=width, colorspace=channels, encoded_image_string=png(pixels)
    )
    return Summary(value=[Summary.Value(tag=tag, image=proto)])


def _resized(pixels: Any, scale: float) -> Any:
    """The nearest pixel of the original for each."""
    if scale == 1:
        return pixels
    height, width = (max(1, int(n * scale)) for n in pixels.shape[:2])
    ys = np.minimum((np.arange(height) / scale).astype(int), pixels.shape[0] - 1)
    xs = np.minimum((np.arange(width) / scale).astype(int), pixels.shape[1] - 1)
    return pixels[ys[:, None], xs]


def image(tag: str, tensor: Any, rescale: float = 1, dataformats: str = "NCHW") -> Summary:
    """A picture, or a batch of them as one."""
    return _picture(tag, _resized(_bytes_of(to_hwc(make_np(tensor), dataformats)), rescale))


def image_boxes(
    tag: str,
    tensor_image: Any,
    tensor_boxes: Any,
    rescale: float = 1,
    dataformats: str = "CHW",
    labels: Any = None,
) -> Summary:
    """A picture with red boxes (x1, y1, x2, y2). Labels are not drawn: that would take a font."""
    if labels is not None:
        raise NotImplementedError("add_image_with_boxes: labels are not implemented in gradstep")
    pixels = _bytes_of(to_hwc(make_np(tensor_image), dataformats)).copy()
    for x1, y1, x2, y2 in make_np(tensor_boxes).reshape(-1, 4).astype(int):
        for at in ((y1, slice(x1, x2 + 1)), (y2, slice(x1, x2 + 1))):
            if 0 <= at[0] < pixels.shape[0]:
                pixels[at] = (255, 0, 0)
        for x in (x1, x2):
            if 0 <= x < pixels.shape[1]:
                pixels[max(y1, 0) : y2 + 1, x] = (255, 0, 0)
    return _picture(tag, _resized(pixels, rescale))


def video(tag: str, tensor: Any, fps: float = 4) -> Summary:
    """Frames (N, T, C, H, W) as an animated GIF; needs the package Pillow."""
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise ImportError("add_video needs the package Pillow: pip install pillow") from None
    import io

    frames = make_np(tensor)
    frames = _bytes_of(frames)
    strips = [_grid(frames[:, t]).transpose(1, 2, 0) for t in range(frames.shape[1])]
    pictures = [Image.fromarray(strip) for strip in strips]
    out = io.BytesIO()
    pictures[0].save(
        out,
        "GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 / fps),
        loop=0,
    )
    height, width, channels = strips[0].shape
    proto = Summary.Image(
        height=height, width=width, colorspace=channels, encoded_image_string=out.getvalue()
    )
    return Summary(value=[Summary.Value(tag=tag, image=proto)])


# ---- sound and text ----


def audio(tag: str, tensor: Any, sample_rate: int = 44100) -> Summary:
    """One channel of samples from -1 to 1, as a WAV file of 16 bits."""
    import io
    import wave

    samples = make_np(tensor).squeeze()
    if samples.ndim != 1:
        raise AssertionError("input tensor should be 1 dimensional.")
    samples = (samples.clip(-1, 1) * np.iinfo(np.int16).max).astype("<i2")
    out = io.BytesIO()
    with wave.open(out, "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(sample_rate)
        f.writeframes(samples.tobytes())
    proto = Summary.Audio(
        sample_rate=sample_rate,
        num_channels=1,
        length_frames=len(samples),
        encoded_audio_string=out.getvalue(),
        content_type="audio/wav",
    )
    return Summary(value=[Summary.Value(tag=tag, audio=proto)])


def text(tag: str, text: str) -> Summary:
    """A text in Markdown."""
    data = SummaryMetadata.PluginData(plugin_name="text")
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    proto = TensorProto(dtype="DT_STRING", string_val=[text.encode()], tensor_shape=shape)
    metadata = SummaryMetadata(plugin_data=data)
    return Summary(
        value=[Summary.Value(tag=tag + "/text_summary", metadata=metadata, tensor=proto)]
    )


# ---- curves, custom layouts, hyperparameters ----


def pr_curve(
    tag: str, labels: Any, predictions: Any, num_thresholds: int = 127, weights: Any = None
) -> Summary:
    """Precision and recall of predictions in [0, 1] over the threshold."""
    n = min(num_thresholds, 127)
    labels, predictions = make_np(labels).reshape(-1), make_np(predictions).reshape(-1)
    weight = np.ones(len(labels)) if weights is None else make_np(weights).reshape(-1)
    bucket = np.clip(np.floor(predictions * (n - 1)).astype(int), 0, n - 1)
    true = np.bincount(bucket, weight * labels, n)[::-1].cumsum()[::-1]
    false = np.bincount(bucket, weight * (1 - labels), n)[::-1].cumsum()[::-1]
    table = np.stack(
        [
            true,
            false,
            false[0] - false,
            true[0] - true,
            true / np.maximum(1e-10, true + false),
            true / np.maximum(1e-10, true[0]),
        ]
    )
    return _curve(tag, table, n)


def pr_curve_raw(
    tag: str,
    tp: Any,
    fp: Any,
    tn: Any,
    fn: Any,
    precision: Any,
    recall: Any,
    num_thresholds: int = 127,
    weights: Any = None,
) -> Summary:
    """A curve that was computed elsewhere."""
    n = min(num_thresholds, 127)
    return _curve(tag, np.stack([make_np(x) for x in (tp, fp, tn, fn, precision, recall)]), n)


def _curve(tag: str, table: Any, n: int) -> Summary:
    from tensorboard.plugins.pr_curve.plugin_data_pb2 import PrCurvePluginData

    content = PrCurvePluginData(version=0, num_thresholds=n).SerializeToString()
    data = SummaryMetadata.PluginData(plugin_name="pr_curves", content=content)
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=s) for s in table.shape])
    proto = TensorProto(dtype="DT_FLOAT", float_val=table.reshape(-1).tolist(), tensor_shape=shape)
    metadata = SummaryMetadata(plugin_data=data)
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=proto)])


def custom_scalars(layout: dict[str, dict[str, Any]]) -> Summary:
    """Which scalars are drawn together: {category: {title: ("Multiline" or "Margin", tags)}}."""
    from tensorboard.plugins.custom_scalar import layout_pb2

    categories = []
    for category, charts in layout.items():
        parts = []
        for title, (kind, tags) in charts.items():
            if kind == "Margin":
                if len(tags) != 3:
                    raise AssertionError("a Margin chart takes three tags: value, lower, upper")
                series = layout_pb2.MarginChartContent.Series(
                    value=tags[0], lower=tags[1], upper=tags[2]
                )
                margin = layout_pb2.MarginChartContent(series=[series])
                parts.append(layout_pb2.Chart(title=title, margin=margin))
            else:
                lines = layout_pb2.MultilineChartContent(tag=tags)
                parts.append(layout_pb2.Chart(title=title, multiline=lines))
        categories.append(layout_pb2.Category(title=category, chart=parts))
    content = layout_pb2.Layout(category=categories).SerializeToString()
    data = SummaryMetadata.PluginData(plugin_name="custom_scalars")
    proto = TensorProto(dtype="DT_STRING", string_val=[content], tensor_shape=TensorShapeProto())
    metadata = SummaryMetadata(plugin_data=data)
    return Summary(
        value=[Summary.Value(tag="custom_scalars__config__", tensor=proto, metadata=metadata)]
    )


def hparams(
    hparam_dict: Any = None, metric_dict: Any = None, hparam_domain_discrete: Any = None
) -> tuple[Summary, Summary, Summary]:
    """(experiment, start of the session, its end) for the values of hyperparameters and the names of metrics."""
    from tensorboard.plugins.hparams.api_pb2 import (
        DataType,
        Experiment,
        HParamInfo,
        MetricInfo,
        MetricName,
        Status,
    )
    from tensorboard.plugins.hparams.metadata import (
        EXPERIMENT_TAG,
        PLUGIN_DATA_VERSION,
        PLUGIN_NAME,
        SESSION_END_INFO_TAG,
        SESSION_START_INFO_TAG,
    )
    from tensorboard.plugins.hparams.plugin_data_pb2 import (
        HParamsPluginData,
        SessionEndInfo,
        SessionStartInfo,
    )

    if not isinstance(hparam_dict, dict) or not isinstance(metric_dict, dict):
        raise TypeError("parameter: hparam_dict and metric_dict should be dictionaries")
    domains = hparam_domain_discrete or {}
    for key, values in domains.items():
        if key not in hparam_dict or not all(isinstance(v, type(hparam_dict[key])) for v in values):
            raise TypeError(
                f"parameter: hparam_domain_discrete[{key}] should be a list of the type of hparam_dict[{key}]"
            )
    start = SessionStartInfo()
    infos = []
    for key, value in hparam_dict.items():
        if value is None:
            continue
        if hasattr(value, "item") and not isinstance(value, (bool, int, float, str)):
            value = make_np(value).reshape(-1)[0].item()
        if isinstance(value, bool):
            start.hparams[key].bool_value = value
            kind = DataType.Value("DATA_TYPE_BOOL")
        elif isinstance(value, (int, float)):
            start.hparams[key].number_value = value
            kind = DataType.Value("DATA_TYPE_FLOAT64")
        elif isinstance(value, str):
            start.hparams[key].string_value = value
            kind = DataType.Value("DATA_TYPE_STRING")
        else:
            raise ValueError("value should be one of int, float, str, bool, or torch.Tensor")
        info = HParamInfo(name=key, type=kind)
        if key in domains:
            info.domain_discrete.extend(domains[key])
        infos.append(info)

    def wrapped(tag: str, **content: Any) -> Summary:
        plugin = HParamsPluginData(version=PLUGIN_DATA_VERSION, **content)
        data = SummaryMetadata.PluginData(
            plugin_name=PLUGIN_NAME, content=plugin.SerializeToString()
        )
        metadata = SummaryMetadata(plugin_data=data)
        return Summary(value=[Summary.Value(tag=tag, metadata=metadata)])

    metrics = [MetricInfo(name=MetricName(tag=key)) for key in metric_dict]
    end = SessionEndInfo(status=Status.Value("STATUS_SUCCESS"))
    return (
        wrapped(EXPERIMENT_TAG, experiment=Experiment(hparam_infos=infos, metric_infos=metrics)),
        wrapped(SESSION_START_INFO_TAG, session_start_info=start),
        wrapped(SESSION_END_INFO_TAG, session_end_info=end),
    )


def embedding_config(info: dict[str, str | None], sprite: tuple[int, int] | None) -> str:
    """One entry of projector_config.pbtxt."""
    lines = [f"  {key}: {json.dumps(value)}" for key, value in info.items() if value is not None]
    if sprite is not None:
        lines += [
            "  sprite {",
            '    image_path: "' + str(info["tensor_path"]).rpartition("/")[0] + '/sprite.png"',
            f"    single_image_dim: {sprite[0]}",
            f"    single_image_dim: {sprite[1]}",
            "  }",
        ]
    return "embeddings {\n" + "\n".join(lines) + "\n}\n"
