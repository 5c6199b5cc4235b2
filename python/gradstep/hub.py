# SPDX-License-Identifier: Apache-2.0
"""torch.hub: models of a folder or GitHub repository with a hubconf.py, and files of weights by their URL.

    weights = torch.hub.load_state_dict_from_url(url)      # kept in $TORCH_HOME/hub/checkpoints
    model = torch.hub.load("path/to/repo", "resnet18", source="local")

A hubconf.py says `import torch`: run the script with `gradstep run`, and that is gradstep. Downloads go through urllib.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import zipfile
from typing import Any
from urllib.parse import urlparse

__all__ = [
    "download_url_to_file",
    "get_dir",
    "help",
    "list",
    "load",
    "load_state_dict_from_url",
    "set_dir",
]

HASH_REGEX = re.compile(r"-([a-f0-9]*)\.")
_BLOCK = 128 * 1024
_dir: str | None = None


def _get_torch_home() -> str:
    cache = os.getenv("XDG_CACHE_HOME", "~/.cache")
    return os.path.expanduser(os.getenv("TORCH_HOME", os.path.join(cache, "torch")))


def get_dir() -> str:
    """The folder of what was downloaded: set_dir()'s, $TORCH_HOME/hub or ~/.cache/torch/hub."""
    return _dir if _dir is not None else os.path.join(_get_torch_home(), "hub")


def set_dir(d: str | os.PathLike[str]) -> None:
    """Chooses it."""
    global _dir
    _dir = os.path.expanduser(d)


# ---- files ----


def download_url_to_file(
    url: str, dst: str, hash_prefix: str | None = None, progress: bool = True
) -> None:
    """Downloads to the path; the file is there whole or not at all.

    RuntimeError if its SHA256 does not begin with hash_prefix.
    """
    from urllib.request import Request, urlopen

    dst = os.path.expanduser(dst)
    folder = os.path.dirname(os.path.abspath(dst))
    with urlopen(Request(url, headers={"User-Agent": "torch.hub"})) as source:
        size = source.headers.get("Content-Length")
        handle, partial = tempfile.mkstemp(suffix=".partial", dir=folder)
        try:
            digest = hashlib.sha256()
            with os.fdopen(handle, "wb") as out, _bar(size, progress) as bar:
                while block := source.read(_BLOCK):
                    out.write(block)
                    digest.update(block)
                    bar.update(len(block))
            if hash_prefix and not digest.hexdigest().startswith(hash_prefix):
                raise RuntimeError(
                    f'invalid hash value (expected "{hash_prefix}", got "{digest.hexdigest()}")'
                )
            os.chmod(partial, 0o644)
            os.replace(partial, dst)
        finally:
            if os.path.exists(partial):
                os.remove(partial)


def _bar(size: str | None, progress: bool) -> Any:
    from tqdm import tqdm

    total = int(size) if size else None
    return tqdm(total=total, disable=not progress, unit="B", unit_scale=True, unit_divisor=1024)


def load_state_dict_from_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = False,
) -> Any:
    """torch.load of the file behind the URL, which is downloaded once.

    check_hash=True compares it with the digits in its name (`resnet18-5c106cde.pth`).
    """
    from gradstep.serialization import load as load_file

    folder = os.path.join(get_dir(), "checkpoints") if model_dir is None else model_dir
    os.makedirs(folder, exist_ok=True)
    name = file_name if file_name is not None else os.path.basename(urlparse(url).path)
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        sys.stderr.write(f'Downloading: "{url}" to {path}\n')
        prefix = HASH_REGEX.search(name) if check_hash else None
        download_url_to_file(url, path, prefix.group(1) if prefix else None, progress=progress)
    return load_file(path, map_location=map_location, weights_only=weights_only)


# ---- repositories ----


def _parts(github: str) -> tuple[str, str, str]:
    """ "owner/name:ref" in its parts; the ref is main, or master where there is no main."""
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    repo, colon, ref = github.partition(":")
    if repo.count("/") != 1:
        raise ValueError(f"{github!r} is not of the form owner/name or owner/name:ref")
    owner, name = repo.split("/")
    if colon:
        return owner, name, ref
    try:
        with urlopen(f"https://github.com/{owner}/{name}/tree/main/"):
            return owner, name, "main"
    except HTTPError as error:
        if error.code != 404:
            raise
        return owner, name, "master"
    except URLError as error:
        for ref in ("main", "master"):
            if os.path.exists(os.path.join(get_dir(), f"{owner}_{name}_{ref}")):
                return owner, name, ref
        raise RuntimeError(
            "It looks like there is no internet connection and the repo could not be found in the cache "
            f"({get_dir()})"
        ) from error


def _trust(owner: str, name: str, trust_repo: Any) -> None:
    """Asks before code of a repository runs for the first time, unless trust_repo says yes."""
    path = os.path.join(get_dir(), "trusted_list")
    entry = f"{owner}_{name}"
    trusted: set[str] = set()
    if os.path.exists(path):
        with open(path) as f:
            trusted = set(f.read().split("\n"))
    if entry in trusted:
        return
    if trust_repo is not True:
        question = (
            f"The repository {owner}_{name} does not belong to the list of trusted repositories and as such cannot be "
            "downloaded. Do you trust this repository and wish to add it to the trusted list of repositories (y/N)?"
        )
        answer = input(question) if trust_repo in (None, "check") else ""
        if answer.lower() not in ("y", "yes"):
            raise Exception("Untrusted repository.")
    with open(path, "a") as f:
        f.write(entry + "\n")


def _fetched(github: str, force_reload: bool, trust_repo: Any, verbose: bool) -> str:
    """The folder of the repository, downloaded if it is not there."""
    owner, name, ref = _parts(github)
    os.makedirs(get_dir(), exist_ok=True)
    folder = os.path.join(get_dir(), "_".join((owner, name, ref.replace("/", "_"))))
    _trust(owner, name, trust_repo)
    if os.path.exists(folder) and not force_reload:
        if verbose:
            sys.stderr.write(f"Using cache found in {folder}\n")
        return folder
    with tempfile.TemporaryDirectory(dir=get_dir()) as temporary:
        archive = os.path.join(temporary, "repo.zip")
        url = f"https://github.com/{owner}/{name}/zipball/{ref}"
        if verbose:
            sys.stderr.write(f'Downloading: "{url}" to {folder}\n')
        download_url_to_file(url, archive, progress=False)
        with zipfile.ZipFile(archive) as z:
            top = z.infolist()[0].filename.split("/")[0]
            z.extractall(temporary)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(os.path.join(temporary, top), folder)
    return folder


def _hubconf(folder: str) -> Any:
    """The module hubconf.py, whose folder is importable while it is."""
    path = os.path.join(folder, "hubconf.py")
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file")
    sys.path.insert(0, folder)
    try:
        spec = importlib.util.spec_from_file_location("hubconf.py", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    needs = getattr(module, "dependencies", None) or ()
    missing = [name for name in needs if name != "torch" and importlib.util.find_spec(name) is None]
    if missing:
        raise RuntimeError(f"Missing dependencies: {', '.join(missing)}")
    return module


def _folder(
    repo_or_dir: str, source: str, trust_repo: Any, force_reload: bool, verbose: bool
) -> str:
    if source not in ("github", "local"):
        raise ValueError(f'Unknown source: "{source}". Allowed values: "github" | "local".')
    if source == "local":
        return os.path.expanduser(repo_or_dir)
    return _fetched(repo_or_dir, force_reload, trust_repo, verbose)


def _entry(module: Any, name: str) -> Any:
    if not isinstance(name, str):
        raise ValueError("Invalid input: model should be a string of function name")
    found = getattr(module, name, None)
    if not callable(found):
        raise RuntimeError(f"Cannot find callable {name} in hubconf")
    return found


def list(
    github: str,
    force_reload: bool = False,
    skip_validation: bool = False,
    trust_repo: Any = None,
    verbose: bool = True,
) -> builtins.list[str]:
    """The names of a repository's models."""
    module = _hubconf(_fetched(github, force_reload, trust_repo, verbose))
    return [n for n in dir(module) if callable(getattr(module, n)) and not n.startswith("_")]


def help(
    github: str,
    model: str,
    force_reload: bool = False,
    skip_validation: bool = False,
    trust_repo: Any = None,
) -> str | None:
    """The docstring of a model."""
    found = _entry(_hubconf(_fetched(github, force_reload, trust_repo, True)), model)
    doc: str | None = found.__doc__
    return doc


def load(
    repo_or_dir: str,
    model: str,
    *args: Any,
    source: str = "github",
    trust_repo: Any = None,
    force_reload: bool = False,
    verbose: bool = True,
    skip_validation: bool = False,
    **kwargs: Any,
) -> Any:
    """What hubconf.<model>(*args, **kwargs) of the folder or repository ("owner/name:ref") returns."""
    folder = _folder(repo_or_dir, source.lower(), trust_repo, force_reload, verbose)
    sys.path.insert(0, folder)
    try:
        return _entry(_hubconf(folder), model)(*args, **kwargs)
    finally:
        sys.path.remove(folder)


def __getattr__(name: str) -> Any:
    if name == "tqdm":  # libraries take it from here
        from tqdm import tqdm

        return tqdm
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
