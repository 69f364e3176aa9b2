"""An MCP server behind a gateway whose session meets the weather of given rules, and the official client before it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from typing_extensions import TypedDict

from aegis.faults.plan.weather import Weather
from aegis.suite.model import FaultRule
from aegis.trace.faults import FaultReport
from support.gateway_server import GatewayServer, World
from support.storm import KEY

HOST = "tools.example"


class Order(TypedDict):
    order_id: int
    status: str


@dataclass
class Shop:
    """What the tools have done: `calls` in their order; orders are "paid" until they are cancelled."""

    calls: list[tuple[str, int]] = field(default_factory=list)
    cancelled: set[int] = field(default_factory=set)

    def status(self, order_id: int) -> str:
        return "cancelled" if order_id in self.cancelled else "paid"


def _app(shop: Shop, json_response: bool) -> Any:
    server = MCPServer("orders")

    @server.tool()
    async def lookup_order(order_id: int, context: Context) -> Order:
        """Look an order up."""
        shop.calls.append(("lookup_order", order_id))
        await context.report_progress(1, 2, "looking")
        return {"order_id": order_id, "status": shop.status(order_id)}

    @server.tool()
    def cancel_order(order_id: int) -> str:
        """Cancel an order."""
        shop.calls.append(("cancel_order", order_id))
        shop.cancelled.add(order_id)
        return f"order {order_id} is cancelled"

    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    return server.streamable_http_app(json_response=json_response, transport_security=security)


@dataclass
class McpStorm:
    server: GatewayServer
    weather: Weather
    shop: Shop
    seen: list[str] = field(default_factory=list)
    """Progress that the client was told."""

    def report(self, id: str) -> FaultReport:
        return next(report for report in self.weather.reports() if report.id == id)

    def use(self, work: Callable[[Any], Awaitable[Any]], *, mode: str = "auto") -> Any:
        """Run `work` with a connected client."""

        async def run() -> Any:
            async with httpx2.AsyncClient(proxy=self.server.proxy(), timeout=60) as http:
                transport = streamable_http_client(f"http://{HOST}/mcp", http_client=http)
                async with Client(transport, mode=mode) as client:
                    return await work(client)

        return asyncio.run(asyncio.wait_for(run(), 120))

    def call(self, tool: str, *orders: int, mode: str = "auto", listed: bool = True) -> list[Any]:
        """The results of calls of one tool, one after another."""

        async def told(progress: float, total: float | None, message: str | None) -> None:
            self.seen.append(message or "")

        async def work(client: Any) -> list[Any]:
            if listed:
                await client.list_tools()
            return [
                await client.call_tool(tool, {"order_id": order}, progress_callback=told) for order in orders
            ]

        found: list[Any] = self.use(work, mode=mode)
        return found


@contextlib.contextmanager
def mcp_storm(net: World, rules: Sequence[FaultRule], *, json_response: bool = False) -> Iterator[McpStorm]:
    """The server answers calls as event streams, or as JSON."""
    shop = Shop()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        running = uvicorn.Server(uvicorn.Config(_app(shop, json_response), log_level="error"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 60
        while not running.started and time.monotonic() < deadline:
            time.sleep(0.02)
        weather = Weather(rules, KEY)
        server = net.gateway(routes={HOST: f"http://127.0.0.1:{port}"}, session={"interceptor": weather})
        server.session.start_clock()
        weather.start()
        try:
            yield McpStorm(server, weather, shop)
        finally:
            running.should_exit = True
            thread.join(30)
