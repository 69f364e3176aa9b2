"""A client of a storm's `api.example`, and a clock that stands still until it is moved."""

from __future__ import annotations

from typing import Any

import requests

from support.storm import HOST, Storm


class Client:
    """Sends one request after another over one connection; `token` goes along as a Bearer token."""

    def __init__(self, storm: Storm, token: str | None = None) -> None:
        self.url = f"http://127.0.0.1:{storm.port}"
        self.session = requests.Session()
        self.session.headers["Host"] = HOST
        self.use(token)

    def use(self, token: str | None) -> None:
        self.session.headers.pop("Authorization", None)
        if token is not None:
            self.session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str = "/orders/1", **more: Any) -> requests.Response:
        return self.session.get(self.url + path, timeout=60, **more)

    def post(self, path: str, **more: Any) -> requests.Response:
        return self.session.post(self.url + path, timeout=60, **more)


class Clock:
    """The trial's clock of a storm."""

    def __init__(self, storm: Storm) -> None:
        self.now_s = 0.0
        storm.weather.use_clock(lambda: self.now_s)
