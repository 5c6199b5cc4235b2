# SPDX-License-Identifier: Apache-2.0
"""The command `gradstep`: `train` (see training.py), `run` (see _run/main.py), `info`, `--version`.

Mistakes of the user end in one line on stderr and an exit code of 1 or 2, never in a traceback
(GRADSTEP_TRACEBACK=1 shows it).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import argparse

    from .training import Settings

# ---- arguments ----


def _number(kind: Callable[[str], Any], what: str, test: Callable[[Any], bool]) -> Any:
    """An argparse type that accepts finite numbers that pass `test`."""

    def parse(text: str) -> Any:
        import argparse
        import math

        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not math.isfinite(value) or not test(value):
            raise argparse.ArgumentTypeError(f"expected {what}, got {text!r}")
        return value

    return parse


def _parser() -> argparse.ArgumentParser:
    import argparse

    from . import __version__

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")

    positive = _number(int, "a whole number above 0", lambda n: 0 < n < 2**31)
    above_zero = _number(float, "a number above 0", lambda x: x > 0)
    not_negative = _number(float, "a number not below 0", lambda x: x >= 0)
    fraction = _number(float, "a number from 0 to below 1", lambda x: 0 <= x < 1)
    seed = _number(int, "a whole number not below 0", lambda n: 0 <= n < 2**63)

    parser = Parser(
        prog="gradstep", description="A small, fast training engine.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"gradstep {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("info", help="show how gradstep was built and what it uses here")
    commands.add_parser("run", help="run a PyTorch script, as it is, on gradstep", add_help=False)
    train = commands.add_parser(
        "train",
        help="train a small net on handwritten digits or clothes",
        description="Trains a small net. Without arguments: a convolutional net on the 1,797 "
        "digits inside the package, in a few seconds. Writes weights (safetensors), a checkpoint "
        "after every epoch, and a curve (PNG).",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    add = train.add_argument
    add("--data", choices=("digits", "mnist", "fashion-mnist"), help="data set (digits)")
    add("--data-dir", metavar="DIR", help="folder with the original IDX files (.gz or unpacked)")
    add("--model", choices=("mlp", "cnn"), help="net (cnn)")
    add("--epochs", type=positive, metavar="N", help="passes over the data (digits 15, others 5)")
    add("--batch-size", type=positive, metavar="N", help="samples per batch (digits 32, others 64)")
    add("--lr", type=above_zero, metavar="X", help="first learning rate, falls by a cosine (0.05)")
    add("--momentum", type=fraction, metavar="X", help="of SGD (0.9)")
    add("--weight-decay", type=not_negative, metavar="X", help="of SGD (5e-4)")
    add("--nesterov", action="store_true", help="Nesterov momentum")
    add("--accumulate", type=positive, metavar="N", help="batches per update (1)")
    add("--seed", type=seed, metavar="N", help="of weights and order (0)")
    add("--device", metavar="NAME", help="cpu, cuda or cuda:N (cpu)")
    add("--threads", type=positive, metavar="N", help="processor threads (all)")
    add("--resume", metavar="FILE", help="go on from a checkpoint, with the settings it has")
    add("--out", metavar="DIR", help="folder for everything written (gradstep-DATA-MODEL)")
    add("--save", metavar="FILE", help="where the weights go (DIR/model.safetensors)")
    return parser


# ---- info ----


def _info() -> None:
    import platform

    import gradstep

    rows: dict[str, Any] = {
        "gradstep": gradstep.__version__,
        "python": f"{platform.python_version()} on {platform.machine()} {platform.system()}",
        "module": gradstep._C.__file__,
    }
    rows.update(getattr(gradstep._C, "_build_info", dict)())
    rows["threads"] = gradstep.get_num_threads()
    rows["cuda"] = "available" if gradstep.cuda.is_available() else "not available"
    for key, value in rows.items():
        print(f"{key.replace('_', ' '):15} {value}")


# ---- main ----


def _fail(message: str, code: int = 1) -> int:
    text = " ".join(message.split()) or "failed"
    print(f"gradstep: error: {text}", file=sys.stderr)
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments and arguments[0] == "run":  # all that follows the script's name is the script's
        from ._run.main import main as run

        return run(arguments[1:])
    from .datasets import DataError
    from .training import TrainError

    checkpoint: str | None = None
    settings: Settings | None = None
    try:
        parser = _parser()
        given = vars(parser.parse_args(arguments))
        command = given.pop("command")
        if command == "info":
            _info()
        elif command == "train":
            from .training import prepare, train

            settings = prepare(given)
            train(settings)
        else:
            parser.print_help()
        sys.stdout.flush()
        return 0
    except KeyboardInterrupt:
        checkpoint = settings.checkpoint_path if settings else None
        if checkpoint and os.path.exists(checkpoint):
            print(f"\nstopped; go on with: gradstep train --resume {checkpoint}", file=sys.stderr)
        else:
            print("\nstopped", file=sys.stderr)
        return 130
    except (TrainError, DataError) as error:
        return _fail(str(error))
    except BrokenPipeError:  # the reader of our output has gone: nothing to say to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        return _fail("out of memory; try a smaller --batch-size")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}")
    except Exception as error:
        if os.environ.get("GRADSTEP_TRACEBACK"):
            raise
        return _fail(f"{type(error).__name__}: {error}")
