# SPDX-License-Identifier: Apache-2.0
"""The reference: its examples print what they say, and every name in it has a text. (CI builds the site itself, with
warnings as errors.)"""

import doctest
import importlib.util
import inspect
import pathlib

import pytest

import gradstep as gs

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
spec = importlib.util.spec_from_file_location("docs_conf", DOCS / "conf.py")
assert spec and spec.loader
conf = importlib.util.module_from_spec(spec)
spec.loader.exec_module(conf)

pytestmark = pytest.mark.cpu_only
PATHS = [path for _, _, paths in conf.PAGES for path in paths]
NAMES = {"gs": gs, "gradstep": gs, "torch": gs, "nn": gs.nn, "F": gs.nn.functional}
SPELLING = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.mark.parametrize("path", PATHS)
def test_examples_print_what_they_say(
    path: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(verbose=False, optionflags=SPELLING)
    parser, said, seen = doctest.DocTestParser(), [], set()
    for name, value in conf.public_names(path):
        text = inspect.getdoc(value) or ""
        if ">>>" not in text or text in seen:
            continue
        seen.add(text)
        gs.manual_seed(0)
        own = {getattr(value, "__name__", name): value}  # an alias has the text of its first name
        scope = {**dict(conf.public_values(path)), **own, **NAMES}
        test = parser.get_doctest(text, scope, f"{path}.{name}", None, 0)
        runner.run(test, out=said.append)
    assert runner.failures == 0, "".join(said)


def test_there_are_examples() -> None:
    texts = {inspect.getdoc(v) or "" for path in PATHS for _, v in conf.public_names(path)}
    assert sum(">>>" in text for text in texts) >= 75


@pytest.mark.parametrize("path", PATHS)
def test_every_public_name_has_a_text(path: str) -> None:
    assert conf.names_without_text(path) == []
