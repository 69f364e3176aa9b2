"""OCI layouts made in a test, and a registry on 127.0.0.1 that serves them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def entry(name: str, content: bytes | None = None, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """One member of a layer: a file with `content`, else what `type` says (a folder by default)."""
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
    info.mode = 0o755 if content is None else 0o644
    info.mtime = 1_000_000
    for field, value in fields.items():
        setattr(info, field, value)
    info.size = len(content or b"")
    return info, content or b""


def symlink(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.SYMTYPE, linkname=target, mode=0o777)


def hard_link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.LNKTYPE, linkname=target)


def layer(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """An uncompressed layer."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


class LayoutBuilder:
    """Writes an OCI layout folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blobs/sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, content: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (self.folder / "blobs/sha256" / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def json_blob(self, document: Any, media_type: str) -> dict[str, Any]:
        return self.blob(json.dumps(document).encode(), media_type)

    def image(
        self,
        layers: list[bytes],
        *,
        compress: str = "gzip",
        architecture: str = "amd64",
        config: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Write an image; returns the descriptor of its manifest."""
        descriptors = [self.blob(_compressed(content, compress), f"{LAYER}+{compress}") for content in layers]
        document = {
            "os": "linux",
            "architecture": architecture,
            "config": config or {},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(x).hexdigest()}" for x in layers],
            },
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.json_blob(document, CONFIG),
            "layers": descriptors,
        }
        return self.json_blob(manifest, MANIFEST)

    def index(self, **tagged: dict[str, Any]) -> None:
        """Write `index.json` with one descriptor for each tag."""
        entries = []
        for tag, descriptor in tagged.items():
            entries.append({**descriptor, "annotations": {"org.opencontainers.image.ref.name": tag}})
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        (self.folder / "index.json").write_text(json.dumps(document))


def _compressed(content: bytes, compress: str) -> bytes:
    if compress == "gzip":
        return gzip.compress(content, mtime=0)
    if compress == "zstd":
        import zstandard

        return zstandard.ZstdCompressor().compress(content)
    return content


class Registry:
    """A registry's read side over the blobs of a layout. `manifests`: (name, tag) → descriptor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifests: dict[tuple[str, str], dict[str, Any]] = {}
        self.requests: list[str] = []
        self.address = ""

    def answer(self, path: str) -> tuple[str, bytes] | None:
        parts = path.strip("/").split("/")
        if parts == ["v2"]:
            return "application/json", b"{}"
        name, kind, wanted = "/".join(parts[1:-2]), parts[-2], parts[-1]
        found = self.manifests.get((name, wanted))
        digest = found["digest"] if found else wanted
        blob = self.folder / "blobs/sha256" / digest.removeprefix("sha256:")
        if not blob.is_file():
            return None
        content = blob.read_bytes()
        media_type = json.loads(content)["mediaType"] if kind == "manifests" else "application/octet-stream"
        return media_type, content


@contextmanager
def serving(registry: Registry) -> Iterator[Registry]:
    """Serve the registry on 127.0.0.1 over plain HTTP; `address` is its host and port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            registry.requests.append(self.path)
            found = registry.answer(self.path)
            media_type, content = found or ("application/json", b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Docker-Content-Digest", f"sha256:{hashlib.sha256(content).hexdigest()}")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    registry.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
