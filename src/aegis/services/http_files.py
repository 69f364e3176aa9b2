"""A web server for files: downloads, listings, ranges, caching, and uploads where they are wanted."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from aegis.sandbox.base import ImageLayer, Readiness, ServiceSpec
from aegis.services.base import PACKAGES, Made, Param, matches

PORT = 8080
_NONE = "there is no nginx here: install Debian's package nginx-light, or use --isolation=vm"

_CONFIG = """
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 256; }
http {
    default_type application/octet-stream;
    include types.conf;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    client_max_body_size 64m;
    log_format line '$request $status $body_bytes_sent';
    access_log /dev/stdout line;
    server {
        listen 127.0.0.1:@PORT@;
        root "@ROOT@";
        location / {
            autoindex on;
            autoindex_format @LISTING@;
@UPLOADS@
        }
    }
}
"""
_UPLOADS = """            dav_methods PUT DELETE MKCOL COPY MOVE;
            create_full_put_path on;
            dav_access user:rw group:r all:r;"""


class HttpFiles:
    """nginx over a folder of the sandbox."""

    name = "http-files"
    description = "a web server on port 8080 for the files of a folder"
    params: Mapping[str, Param] = {
        "root": Param(
            "an absolute path in the sandbox", matches(r"/[^\"\\\0\n$;{}]*"), "the folder (/srv/NAME/files)"
        ),
        "uploads": Param(
            "true or false", lambda value: isinstance(value, bool), "whether PUT, DELETE, MKCOL work (false)"
        ),
        "listing": Param("html or json", matches("html|json"), "how a folder is shown (html)"),
        "packages": PACKAGES,
    }

    def make(self, name: str, port: int | None, params: Mapping[str, Any]) -> Made:
        config = _CONFIG.replace("@LISTING@", params.get("listing", "html"))
        config = config.replace("@UPLOADS@", _UPLOADS if params.get("uploads") else "")
        root = params.get("root")
        # The folder has another place with --isolation=none, and the port another number.
        fill = f"root={shlex.quote(root)}\n" if root else 'mkdir -p files\nroot="$PWD/files"\n'
        command = (
            f"command -v nginx > /dev/null || {{ echo {shlex.quote(_NONE)} >&2; exit 127; }}\n{fill}"
            'if [ "$(id -u)" = 0 ]; then user="user root;"; else user=; fi\n'
            '{ echo "$user"; sed -e "s|@PORT@|$PORT|" -e "s|@ROOT@|$root|" nginx.template; } > nginx.conf\n'
            "cp /etc/nginx/mime.types types.conf\n"
            'exec nginx -p "$PWD" -c "$PWD/nginx.conf" -e stderr'
        )
        spec = ServiceSpec(
            name=name,
            kind=self.name,
            command=command,
            port=port or PORT,
            ready=Readiness(tcp=port or PORT),
            exports={"FILES_URL": "http://127.0.0.1:{port}"},
            files={"nginx.template": config},
        )
        return Made(spec, ImageLayer(self.name, ("nginx-light", *params.get("packages", ()))))
