# SPDX-License-Identifier: Apache-2.0
"""SummaryWriter: what TensorBoard's own reader finds in the files."""

import builtins
import io
import sys

import numpy as np
import pytest

import gradstep

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.cpu_only]


def test_without_the_package_the_import_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == "tensorboard":
            raise ModuleNotFoundError("No module named 'tensorboard'", name="tensorboard")
        return real(name, *args, **kwargs)

    for name in [n for n in sys.modules if n.startswith("gradstep.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        from gradstep.utils.tensorboard import SummaryWriter  # noqa: F401


def test_files_are_read_by_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from gradstep.utils.tensorboard import SummaryWriter

    torch = gradstep
    image = torch.arange(3 * 8 * 9).reshape(3, 8, 9).to(torch.uint8)
    values = torch.tensor([-1.0, 0.0, 0.5, 0.5, 2.0])
    with SummaryWriter(tmp_path) as writer:
        writer.add_scalar("loss", torch.tensor(1.5), 3)
        writer.add_scalar("loss", 2, global_step=4)
        writer.add_scalars("pair", {"x": 1, "y": 2}, 1)
        writer.add_histogram("weights", values, 1)
        writer.add_image("image", image, 1)
        writer.add_images("images", torch.rand(5, 1, 8, 9))
        writer.add_text("text", "hello")
        writer.add_hparams({"lr": 0.1, "nesterov": True, "name": "sgd"}, {"accuracy": 1.0})
        writer.add_pr_curve("curve", torch.tensor([0, 1, 1, 0]), torch.tensor([0.1, 0.9, 0.6, 0.4]))
        writer.add_audio("sound", torch.rand(1, 100))
        writer.add_embedding(torch.rand(4, 3), list("abcd"), torch.rand(4, 3, 5, 5))
        writer.add_graph(torch.nn.Sequential(torch.nn.Linear(2, 2)))
        assert writer.get_logdir() == str(tmp_path)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(3, 1.5), (4, 2.0)]
    histogram = events.Histograms("weights")[0].histogram_value
    assert (histogram.min, histogram.max, histogram.num, histogram.sum) == (-1, 2, 5, 2)
    assert sum(histogram.bucket) == 5
    tags = events.Tags()
    assert tags["graph"] and tags["audio"] == ["sound"] and tags["images"] == ["image", "images"]
    assert {"text/text_summary", "curve"} <= set(tags["tensors"])
    picture = pytest.importorskip("PIL.Image").open(
        io.BytesIO(events.Images("image")[0].encoded_image_string)
    )
    assert (np.asarray(picture) == image.permute(1, 2, 0).numpy()).all()
    assert (tmp_path / "projector_config.pbtxt").exists()
    assert len([p for p in tmp_path.iterdir() if p.is_dir()]) == 4  # two scalars, hparams, points
