"""The clients whose reactions are told in docs/client-reactions.md, as anybody uses them: no option but the address,
the authority, and a time limit of 2 s (their own ones are minutes)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from support.reaction_upstream import PAGE_TEXT, TEXT

TIMEOUT_S = 2.0
TENACITY_ATTEMPTS = 6
"""Its default is to try for ever, without a pause."""

Ask = Callable[[str, str], str]
"""Base URL and file of the authorities → what the caller got, as text."""


@dataclass(frozen=True)
class Client:
    name: str
    package: str
    ask: Ask
    expected: str
    streams: bool = False
    json: bool = True
    tool: bool = False
    """Whether it calls a tool of an MCP server."""
    full_jitter: bool = False
    """Whether its pauses are drawn from zero up: then no class of gaps is the same twice."""

    @property
    def version(self) -> str:
        return version(self.package)


def _openai(url: str, ca: str) -> str:
    from openai import OpenAI

    with OpenAI(base_url=f"{url}/v1", api_key="sk-any", timeout=TIMEOUT_S) as client:
        answer = client.chat.completions.create(
            model="gpt-5-mini", messages=[{"role": "user", "content": "Where is my order?"}]
        )
        return answer if isinstance(answer, str) else answer.choices[0].message.content or ""


def _openai_stream(url: str, ca: str) -> str:
    from openai import OpenAI

    with OpenAI(base_url=f"{url}/v1", api_key="sk-any", timeout=TIMEOUT_S) as client:
        chunks = client.chat.completions.create(
            model="gpt-5-mini", messages=[{"role": "user", "content": "Where is my order?"}], stream=True
        )
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def _anthropic(url: str, ca: str) -> str:
    from anthropic import Anthropic

    with Anthropic(base_url=url, api_key="sk-ant-any", timeout=TIMEOUT_S) as client:
        answer = client.messages.create(
            model="claude-sonnet-4-5",
            max_tokens=100,
            messages=[{"role": "user", "content": "Where is my order?"}],
        )
        if isinstance(answer, str):
            return answer
        return "".join(block.text for block in answer.content if block.type == "text")


def _anthropic_stream(url: str, ca: str) -> str:
    from anthropic import Anthropic

    with (
        Anthropic(base_url=url, api_key="sk-ant-any", timeout=TIMEOUT_S) as client,
        client.messages.stream(
            model="claude-sonnet-4-5",
            max_tokens=100,
            messages=[{"role": "user", "content": "Where is my order?"}],
        ) as stream,
    ):
        return "".join(stream.text_stream)


def _sorted(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _httpx(url: str, ca: str) -> str:
    import httpx

    answer = httpx.get(f"{url}/orders?page=2", timeout=TIMEOUT_S)
    answer.raise_for_status()
    return _sorted(answer.json())


def _requests(url: str, ca: str) -> str:
    import requests

    answer = requests.get(f"{url}/orders?page=2", timeout=TIMEOUT_S, verify=ca)
    answer.raise_for_status()
    return _sorted(answer.json())


def _urllib3(url: str, ca: str) -> str:
    import urllib3

    retry = urllib3.Retry()
    with urllib3.PoolManager(retries=retry, timeout=TIMEOUT_S, ca_certs=ca) as pool:
        answer = pool.request("GET", f"{url}/orders?page=2")
        if answer.status >= 400:
            raise RuntimeError(f"status {answer.status}")
        return _sorted(answer.json())


def _tenacity(url: str, ca: str) -> str:
    import tenacity

    @tenacity.retry(stop=tenacity.stop_after_attempt(TENACITY_ATTEMPTS), reraise=True)
    def ask() -> str:
        return _httpx(url, ca)

    return ask()


def _botocore(url: str, ca: str) -> str:
    import botocore.session
    from botocore.config import Config

    session = botocore.session.get_session()
    session.set_credentials("AKIAIOSFODNN7EXAMPLE", "any")
    client = session.create_client(
        "s3",
        region_name="eu-central-1",
        endpoint_url=url,
        verify=ca,
        config=Config(
            retries={"mode": "standard"},
            s3={"addressing_style": "path"},
            connect_timeout=TIMEOUT_S,
            read_timeout=TIMEOUT_S,
        ),
    )
    try:
        body: bytes = client.get_object(Bucket="bucket", Key="orders.txt")["Body"].read()
        return body.decode("utf-8", "replace")
    finally:
        client.close()


def _mcp(url: str, ca: str) -> str:
    import mcp

    async def ask() -> str:
        async with mcp.Client(f"{url}/mcp", read_timeout_seconds=TIMEOUT_S) as client:
            result = await client.call_tool("lookup_order", {"order": 1042})
            text = "".join(getattr(block, "text", "") for block in result.content)
            return f"tool error: {text}" if result.is_error else text

    return asyncio.run(asyncio.wait_for(ask(), 60))


CLIENTS = (
    Client("openai", "openai", _openai, TEXT),
    Client("openai, stream", "openai", _openai_stream, TEXT, streams=True),
    Client("anthropic", "anthropic", _anthropic, TEXT),
    Client("anthropic, stream", "anthropic", _anthropic_stream, TEXT, streams=True),
    Client("httpx", "httpx", _httpx, PAGE_TEXT),
    Client("requests", "requests", _requests, PAGE_TEXT),
    Client("urllib3.Retry", "urllib3", _urllib3, PAGE_TEXT),
    Client("tenacity", "tenacity", _tenacity, PAGE_TEXT),
    Client("botocore", "botocore", _botocore, TEXT, json=False, full_jitter=True),
    Client("mcp", "mcp", _mcp, TEXT, tool=True),
)
