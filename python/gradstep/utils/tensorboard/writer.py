# SPDX-License-Identifier: Apache-2.0
"""SummaryWriter and the file writer below it, which puts summaries into tensorboard's event files.

with SummaryWriter("runs/first") as writer:
    writer.add_scalar("loss", loss, step)
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from . import summary

__all__ = ["FileWriter", "SummaryWriter"]


class FileWriter:
    """FileWriter(log_dir, max_queue=10, flush_secs=120, filename_suffix=""): events into one file of the folder."""

    def __init__(
        self, log_dir: Any, max_queue: int = 10, flush_secs: int = 120, filename_suffix: str = ""
    ) -> None:
        self.event_writer = EventFileWriter(str(log_dir), max_queue, flush_secs, filename_suffix)

    def get_logdir(self) -> str:
        return str(self.event_writer.get_logdir())

    def add_event(self, event: Any, step: Any = None, walltime: float | None = None) -> None:
        event.wall_time = time.time() if walltime is None else walltime
        if step is not None:
            event.step = int(step)
        self.event_writer.add_event(event)

    def add_summary(
        self, summary: Any, global_step: Any = None, walltime: float | None = None
    ) -> None:
        self.add_event(Event(summary=summary), global_step, walltime)

    def flush(self) -> None:
        self.event_writer.flush()

    def close(self) -> None:
        self.event_writer.close()

    def reopen(self) -> None:
        self.event_writer.reopen()


class SummaryWriter:
    """SummaryWriter(log_dir=None, comment="", purge_step=None, max_queue=10, flush_secs=120, filename_suffix="")

    Writes into log_dir, or runs/<time>_<host><comment>. Steps from purge_step on that are in the folder already are
    hidden. Tensors may be tensors, numpy arrays or numbers; images are (C, H, W) from 0 to 1, or uint8.
    """

    def __init__(
        self,
        log_dir: Any = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: int = 120,
        filename_suffix: str = "",
    ) -> None:
        if not log_dir:
            import socket
            from datetime import datetime

            now = datetime.now().strftime("%b%d_%H-%M-%S")
            log_dir = os.path.join("runs", f"{now}_{socket.gethostname()}{comment}")
        self.log_dir = str(log_dir)
        self.purge_step = purge_step
        self.max_queue = max_queue
        self.flush_secs = flush_secs
        self.filename_suffix = filename_suffix
        self.file_writer: FileWriter | None = None
        self.all_writers: dict[str, FileWriter] | None = None
        self.default_bins = summary.default_bins()
        self._get_file_writer()

    def _get_file_writer(self) -> FileWriter:
        if self.all_writers is None or self.file_writer is None:
            self.file_writer = FileWriter(
                self.log_dir, self.max_queue, self.flush_secs, self.filename_suffix
            )
            self.all_writers = {self.file_writer.get_logdir(): self.file_writer}
            if self.purge_step is not None:
                self.file_writer.add_event(Event(file_version="brain.Event:2"), self.purge_step)
                start = SessionLog(status=SessionLog.START)
                self.file_writer.add_event(Event(session_log=start), self.purge_step)
                self.purge_step = None
        return self.file_writer

    def get_logdir(self) -> str:
        """The folder."""
        return self.log_dir

    def _add(self, proto: Any, step: Any, walltime: float | None) -> None:
        self._get_file_writer().add_summary(proto, step, walltime)

    # ---- numbers ----

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: Any = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """One number."""
        proto = summary.scalar(
            tag, scalar_value, new_style=new_style, double_precision=double_precision
        )
        self._add(proto, global_step, walltime)

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: dict[str, Any],
        global_step: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Several numbers in one chart, each in a run of its own."""
        walltime = time.time() if walltime is None else walltime
        folder = self._get_file_writer().get_logdir()
        assert self.all_writers is not None
        for tag, value in tag_scalar_dict.items():
            path = f"{folder}/{main_tag.replace('/', '_')}_{tag}"
            if path not in self.all_writers:
                self.all_writers[path] = FileWriter(
                    path, self.max_queue, self.flush_secs, self.filename_suffix
                )
            self.all_writers[path].add_summary(
                summary.scalar(main_tag, value), global_step, walltime
            )

    def add_tensor(
        self, tag: str, tensor: Any, global_step: Any = None, walltime: float | None = None
    ) -> None:
        """A tensor as it is."""
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.util.tensor_util import make_tensor_proto

        data = SummaryMetadata.PluginData(plugin_name="tensor")
        value = Summary.Value(
            tag=tag,
            tensor=make_tensor_proto(summary.make_np(tensor)),
            metadata=SummaryMetadata(plugin_data=data),
        )
        self._add(Summary(value=[value]), global_step, walltime)

    def add_histogram(
        self,
        tag: str,
        values: Any,
        global_step: Any = None,
        bins: Any = "tensorflow",
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """How the values are distributed; bins as numpy.histogram takes them, or "tensorflow"."""
        edges = self.default_bins if isinstance(bins, str) and bins == "tensorflow" else bins
        self._add(summary.histogram(tag, values, edges, max_bins), global_step, walltime)

    def add_histogram_raw(
        self,
        tag: str,
        min: float,
        max: float,
        num: float,
        sum: float,
        sum_squares: float,
        bucket_limits: Any,
        bucket_counts: Any,
        global_step: Any = None,
        walltime: float | None = None,
    ) -> None:
        """A histogram that was counted elsewhere."""
        if len(bucket_limits) != len(bucket_counts):
            raise ValueError("len(bucket_limits) != len(bucket_counts), see the document.")
        proto = summary.histogram_raw(
            tag, min, max, num, sum, sum_squares, bucket_limits, bucket_counts
        )
        self._add(proto, global_step, walltime)

    # ---- pictures, sound, text ----

    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        global_step: Any = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:
        """A picture."""
        self._add(summary.image(tag, img_tensor, dataformats=dataformats), global_step, walltime)

    def add_images(
        self,
        tag: str,
        img_tensor: Any,
        global_step: Any = None,
        walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:
        """A batch of pictures, in rows of 8."""
        self._add(summary.image(tag, img_tensor, dataformats=dataformats), global_step, walltime)

    def add_image_with_boxes(
        self,
        tag: str,
        img_tensor: Any,
        box_tensor: Any,
        global_step: Any = None,
        walltime: float | None = None,
        rescale: float = 1,
        dataformats: str = "CHW",
        labels: Any = None,
    ) -> None:
        """A picture with boxes (N, 4) of x1, y1, x2, y2."""
        proto = summary.image_boxes(tag, img_tensor, box_tensor, rescale, dataformats, labels)
        self._add(proto, global_step, walltime)

    def add_figure(
        self,
        tag: str,
        figure: Any,
        global_step: Any = None,
        close: bool = True,
        walltime: float | None = None,
    ) -> None:
        """A matplotlib figure or a list of them, drawn; close=True closes them."""
        from matplotlib import pyplot
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        def drawn(one: Any) -> Any:
            canvas = FigureCanvasAgg(one)
            canvas.draw()
            pixels = np.asarray(canvas.buffer_rgba())[..., :3].transpose(2, 0, 1)
            if close:
                pyplot.close(one)
            return pixels

        if isinstance(figure, list):
            pictures = np.stack([drawn(f) for f in figure])
            self.add_image(tag, pictures, global_step, walltime, dataformats="NCHW")
        else:
            self.add_image(tag, drawn(figure), global_step, walltime, dataformats="CHW")

    def add_video(
        self,
        tag: str,
        vid_tensor: Any,
        global_step: Any = None,
        fps: float = 4,
        walltime: float | None = None,
    ) -> None:
        """Frames (N, T, C, H, W); needs the package Pillow."""
        self._add(summary.video(tag, vid_tensor, fps), global_step, walltime)

    def add_audio(
        self,
        tag: str,
        snd_tensor: Any,
        global_step: Any = None,
        sample_rate: int = 44100,
        walltime: float | None = None,
    ) -> None:
        """Samples (1, L) from -1 to 1."""
        self._add(summary.audio(tag, snd_tensor, sample_rate), global_step, walltime)

    def add_text(
        self, tag: str, text_string: str, global_step: Any = None, walltime: float | None = None
    ) -> None:
        """A text in Markdown."""
        self._add(summary.text(tag, text_string), global_step, walltime)

    # ---- curves, layouts, hyperparameters ----

    def add_pr_curve(
        self,
        tag: str,
        labels: Any,
        predictions: Any,
        global_step: Any = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Precision and recall of predictions (probabilities) for 0/1 labels."""
        proto = summary.pr_curve(tag, labels, predictions, num_thresholds, weights)
        self._add(proto, global_step, walltime)

    def add_pr_curve_raw(
        self,
        tag: str,
        true_positive_counts: Any,
        false_positive_counts: Any,
        true_negative_counts: Any,
        false_negative_counts: Any,
        precision: Any,
        recall: Any,
        global_step: Any = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """A curve that was computed elsewhere."""
        proto = summary.pr_curve_raw(
            tag,
            true_positive_counts,
            false_positive_counts,
            true_negative_counts,
            false_negative_counts,
            precision,
            recall,
            num_thresholds,
            weights,
        )
        self._add(proto, global_step, walltime)

    def add_custom_scalars(self, layout: dict[str, dict[str, Any]]) -> None:
        """Which scalars are drawn together: {category: {title: ["Multiline" or "Margin", tags]}}."""
        self._add(summary.custom_scalars(layout), None, None)

    def add_custom_scalars_multilinechart(
        self, tags: list[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """Several scalars in one chart."""
        self.add_custom_scalars({category: {title: ["Multiline", tags]}})

    def add_custom_scalars_marginchart(
        self, tags: list[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """A scalar with its lower and upper bound."""
        self.add_custom_scalars({category: {title: ["Margin", tags]}})

    def add_hparams(
        self,
        hparam_dict: dict[str, Any],
        metric_dict: dict[str, Any],
        hparam_domain_discrete: dict[str, list[Any]] | None = None,
        run_name: str | None = None,
        global_step: Any = None,
    ) -> None:
        """A run with these hyperparameters and the metrics that they led to."""
        protos = summary.hparams(hparam_dict, metric_dict, hparam_domain_discrete)
        folder = os.path.join(self._get_file_writer().get_logdir(), run_name or str(time.time()))
        with SummaryWriter(log_dir=folder) as writer:
            for proto in protos:
                writer._add(proto, global_step, None)
            for tag, value in metric_dict.items():
                writer.add_scalar(tag, value, global_step)

    def add_embedding(
        self,
        mat: Any,
        metadata: Any = None,
        label_img: Any = None,
        global_step: Any = None,
        tag: str = "default",
        metadata_header: Any = None,
    ) -> None:
        """Points (N, D) for the projector, with labels and pictures (N, C, H, W)."""
        points = summary.make_np(mat)
        if points.ndim != 2:
            raise AssertionError("mat should be 2D, where mat.size(0) is the number of data points")
        name = f"{str(0 if global_step is None else global_step).zfill(5)}/{tag}"
        folder = os.path.join(self._get_file_writer().get_logdir(), name)
        os.makedirs(folder, exist_ok=True)
        info: dict[str, str | None] = {
            "tensor_name": f"{tag}:{str(0 if global_step is None else global_step).zfill(5)}",
            "tensor_path": f"{name}/tensors.tsv",
            "metadata_path": None,
        }
        if metadata is not None:
            if len(metadata) != len(points):
                raise AssertionError("#labels should equal with #data points")
            info["metadata_path"] = f"{name}/metadata.tsv"
            rows = [metadata_header, *metadata] if metadata_header else metadata
            with open(os.path.join(folder, "metadata.tsv"), "w") as f:
                for row in rows:
                    cells = row if isinstance(row, (list, tuple)) else [row]
                    f.write("\t".join(str(c) for c in cells) + "\n")
        sprite = None
        if label_img is not None:
            images = summary.make_np(label_img)
            if len(images) != len(points):
                raise AssertionError("#images should equal with #data points")
            side = int(np.ceil(len(images) ** 0.5))
            blank = np.zeros((side * side - len(images), *images.shape[1:]), images.dtype)
            sheet = summary._grid(np.concatenate([images, blank]), side).transpose(1, 2, 0)
            with open(os.path.join(folder, "sprite.png"), "wb") as png:
                png.write(summary.png(summary._bytes_of(sheet)))
            sprite = (images.shape[3], images.shape[2])
        with open(os.path.join(folder, "tensors.tsv"), "w") as f:
            for point in points:
                f.write("\t".join(str(x) for x in point) + "\n")
        config = os.path.join(self._get_file_writer().get_logdir(), "projector_config.pbtxt")
        with open(config, "a") as f:
            f.write(summary.embedding_config(info, sprite))

    def add_mesh(
        self,
        tag: str,
        vertices: Any,
        colors: Any = None,
        faces: Any = None,
        config_dict: Any = None,
        global_step: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Points (B, N, 3) with colours (B, N, 3) and triangles (B, M, 3)."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.mesh import metadata
        from tensorboard.plugins.mesh.plugin_data_pb2 import MeshPluginData
        from tensorboard.plugins.mesh.summary_v2 import _get_json_config
        from tensorboard.util.tensor_util import make_tensor_proto

        kinds = (
            (vertices, MeshPluginData.VERTEX),
            (faces, MeshPluginData.FACE),
            (colors, MeshPluginData.COLOR),
        )
        given = [(summary.make_np(x), kind) for x, kind in kinds if x is not None]
        components = metadata.get_components_bitmask([kind for _, kind in given])
        out = []
        for data, kind in given:
            about = metadata.create_summary_metadata(
                tag, tag, kind, components, data.shape, "", _get_json_config(config_dict)
            )
            name = metadata.get_instance_name(tag, kind)
            out.append(Summary.Value(tag=name, tensor=make_tensor_proto(data), metadata=about))
        self._add(Summary(value=out), global_step, walltime)

    def add_graph(
        self,
        model: Any,
        input_to_model: Any = None,
        verbose: bool = False,
        use_strict_trace: bool = True,
    ) -> None:
        """The module's tree of submodules with their parameters. Operations are not in it: nothing is traced."""
        from tensorboard.compat.proto.attr_value_pb2 import AttrValue
        from tensorboard.compat.proto.graph_pb2 import GraphDef
        from tensorboard.compat.proto.node_def_pb2 import NodeDef
        from tensorboard.compat.proto.versions_pb2 import VersionDef

        root = type(model).__name__
        nodes = []
        for path, module in model.named_modules():
            name = "/".join([root, *path.split(".")]) if path else root
            children = [f"{name}/{child}" for child, _ in module.named_children()]
            text = AttrValue(s=str(module.extra_repr()).encode())
            nodes.append(
                NodeDef(
                    name=name if not children else f"{name}/{type(module).__name__}",
                    op=type(module).__name__,
                    input=[],
                    attr={"module": text},
                )
            )
            for leaf, tensor in module.named_parameters(recurse=False):
                shape = AttrValue(s=str(tuple(tensor.shape)).encode())
                nodes.append(NodeDef(name=f"{name}/{leaf}", op="Parameter", attr={"shape": shape}))
        graph = GraphDef(node=nodes, versions=VersionDef(producer=22))
        self._get_file_writer().add_event(Event(graph_def=graph.SerializeToString()))

    # ---- the file ----

    def flush(self) -> None:
        """Everything so far is in the file afterwards."""
        for writer in (self.all_writers or {}).values():
            writer.flush()

    def close(self) -> None:
        """Flushes and closes; a later call of add_.. opens a new file."""
        for writer in (self.all_writers or {}).values():
            writer.flush()
            writer.close()
        self.file_writer = self.all_writers = None

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()
