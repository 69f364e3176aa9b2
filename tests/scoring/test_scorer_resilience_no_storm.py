"""Rule `no-storm`: bounds on how often something is tried."""

from __future__ import annotations

from dataclasses import replace

from support.resilience import broken, by_sdk, idle, kept, sent, spaced, tried

RULE = "no-storm"


def test_five_attempts_are_right_and_six_are_not() -> None:
    assert kept(RULE, tried(spaced([1.0] * 4), [503] * 5)) == (
        "no-storm: 5 failing requests, at most 5 attempts for one"
    )
    assert broken(RULE, tried(spaced([1.0] * 5), [503] * 6)) == (
        "GET crm.example/orders/1042 was sent 6 times, from 1.00 s (exchange 1) to 6.50 s (exchange 6); 5 are right"
    )


def test_the_agents_loop_around_the_sdks_retries() -> None:
    calls = [
        *by_sdk(spaced([0.5, 1.0]), [503] * 3),
        *by_sdk(spaced([0.5, 1.0], start_s=9), [503] * 3, first_id=4),
    ]
    assert ", 4 of them the SDK's retries and 2 the agent's own; 5 are right" in broken(RULE, calls)


def test_what_comes_after_a_success_is_a_new_request() -> None:
    poll = tried(spaced([1.0] * 9), [200, 503, 200, 200, 503, 200, 200, 503, 200, 200])
    assert "at most 2 attempts for one" in kept(RULE, poll)


def test_more_than_three_times_as_many_requests() -> None:
    """Each request within its own bound, all together an amplifier."""
    twenty_s = [20.0 * n for n in range(3)]
    calls = [
        item
        for n, at_s in enumerate(twenty_s)
        for item in tried(spaced([3.0] * 3, start_s=at_s), [503] * 4, first_id=4 * n + 1, path=f"/orders/{n}")
    ]
    assert broken(RULE, calls) == (
        "12 requests were sent for 3 logical ones, 4.0 times as many, from 0.00 s (exchange 1) "
        "to 49.30 s (exchange 12); 3 times are right"
    )
    assert broken(RULE, [*calls, sent(20, 70, path="/a")])
    assert kept(RULE, [*calls, sent(20, 70, path="/a"), *tried([80, 81], [200, 200], first_id=21)])
    assert kept(RULE, calls[:4]), "one logical request has its own bound"


def test_more_than_ten_failures_within_ten_seconds() -> None:
    calls = [sent(n, 0.5 * n, 500, path=f"/orders/{n}") for n in range(1, 12)]
    assert broken(RULE, calls) == (
        "11 requests failed within 10 s, from 0.50 s (exchange 1, GET crm.example/orders/1) "
        "to 5.50 s (exchange 11); 10 are right"
    )
    assert kept(RULE, calls[:10])
    assert kept(RULE, [sent(n, 1.1 * n, 500, path=f"/orders/{n}") for n in range(1, 30)])


def test_what_is_not_there_has_not_failed() -> None:
    assert idle(RULE, tried(spaced([0.1] * 19), [404] * 20))


def test_connections_that_fail_count_as_failures() -> None:
    refused = replace(
        sent(1, 1.0, None), kind="tcp", method="", path="", error="injected: the connection is refused"
    )
    calls = [replace(refused, id=n, started_s=n / 10, ended_s=n / 10) for n in range(1, 13)]
    assert "12 requests failed within 10 s" in broken(RULE, calls)


def test_errors_inside_a_200_are_failures() -> None:
    calls = tried(
        spaced([1.0] * 5), [200] * 6, answer={"data": None, "errors": [{"message": "x"}]}, path="/graphql"
    )
    assert "was sent 6 times" in broken(RULE, calls)


def test_the_id_of_json_rpc_makes_no_other_request() -> None:
    def call(id: int) -> object:
        return {
            "jsonrpc": "2.0",
            "id": id,
            "method": "tools/call",
            "params": {"name": "lookup", "_meta": {"t": id}},
        }

    failed = {"jsonrpc": "2.0", "id": 1, "result": {"isError": True, "content": []}}
    calls = [sent(n, 2.0 * n, method="POST", path="/mcp", body=call(n), answer=failed) for n in range(1, 7)]
    assert "POST crm.example/mcp (tool lookup) was sent 6 times" in broken(RULE, calls)


def test_the_boundary_of_multipart_makes_no_other_request() -> None:
    def upload(n: int) -> object:
        mark = f"mark-{n}"
        text = f"--{mark}\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--{mark}--\r\n"
        kind = {"Content-Type": f'multipart/form-data; boundary="{mark}"'}
        return sent(n, 2.0 * n, 503, method="POST", body=text, headers=kind)

    assert "was sent 6 times" in broken(RULE, [upload(n) for n in range(1, 7)])  # type: ignore[misc]


def test_the_same_at_the_same_time_is_no_retry() -> None:
    for took_s in (0.02, 2.0):
        assert "at most 1 attempt" in kept(RULE, [sent(n, 1.0, 503, took_s=took_s) for n in range(1, 8)])


def test_an_end_that_the_client_has_seen_a_moment_before_the_gateway() -> None:
    calls = [sent(n, 1.0 * n, 503, took_s=1.004) for n in range(1, 7)]
    assert "was sent 6 times" in broken(RULE, calls)


def test_nothing_failed() -> None:
    assert idle(RULE, tried([1, 2], [200, 200]))
