"""Write container images without a container engine, in the form that `docker save` writes and containerd imports."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ROOT_ONLY = {"etc/passwd": "root:x:0:0:root:/root:/sbin/nologin\n", "etc/group": "root:x:0:\n"}


@dataclass(frozen=True, slots=True)
class Image:
    """An image of one layer: what is at which path, links among them, and what is started."""

    name: str
    files: Mapping[str, Path]
    entrypoint: Sequence[str]
    links: Mapping[str, str] = field(default_factory=dict)


def write_archive(path: Path, images: Sequence[Image], machine: str) -> None:
    """Write all images into one file; `machine` is the processor's name as containers spell it, such as amd64."""
    manifest = []
    with tarfile.open(path, "w") as archive:
        for number, image in enumerate(images):
            layer, digest = _add_layer(archive, image, f"{number}/layer.tar", path.with_suffix(".layer"))
            config = json.dumps(
                {
                    "architecture": machine,
                    "os": "linux",
                    "config": {"Entrypoint": list(image.entrypoint), "Env": [PATH]},
                    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
                }
            ).encode()
            name = f"{hashlib.sha256(config).hexdigest()}.json"
            _add_bytes(archive, name, config)
            manifest.append({"Config": name, "RepoTags": [image.name], "Layers": [layer]})
        _add_bytes(archive, "manifest.json", json.dumps(manifest).encode())


def _add_layer(archive: tarfile.TarFile, image: Image, name: str, scratch: Path) -> tuple[str, str]:
    """Add the image's only layer and return its name and digest."""
    with _removed_afterwards(scratch):
        with tarfile.open(scratch, "w") as layer:
            folders = {folder for path in (*image.files, *image.links) for folder in Path(path).parents}
            for folder in sorted({*map(str, folders), "tmp", "run", "etc"} - {"."}):
                _add_folder(layer, folder)
            for path, text in ROOT_ONLY.items():
                _add_bytes(layer, path, text.encode())
            for path, source in sorted(image.files.items()):
                layer.add(source.resolve(), path, filter=_as_root)
            for path, target in sorted(image.links.items()):
                _add_link(layer, path, target)
        with scratch.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        archive.add(scratch, name)
    return name, digest


@contextmanager
def _removed_afterwards(path: Path) -> Iterator[None]:
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def _add_folder(archive: tarfile.TarFile, path: str) -> None:
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if path == "tmp" else 0o755
    archive.addfile(entry)


def _add_link(archive: tarfile.TarFile, path: str, target: str) -> None:
    entry = tarfile.TarInfo(path)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    archive.addfile(entry)


def _add_bytes(archive: tarfile.TarFile, path: str, content: bytes) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(content), 0o644
    archive.addfile(entry, io.BytesIO(content))
