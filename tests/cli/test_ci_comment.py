"""`aegis ci comment` against a server that behaves as the services' APIs do."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_project import Folder, Ran

from support.fake_forge import BOT, TOKEN, Forge, Mishap, serving

MARKER = "<!-- aegis:echo -->"
BODY = f"{MARKER}\n## Aegis: echo\n\nPASS ü\n"
EVENT = {"pull_request": {"number": 7, "head": {"repo": {"full_name": "acme/agent"}}}}

Comment = Callable[..., Ran]


@pytest.fixture
def forge() -> Iterator[Forge]:
    with serving() as forge:
        yield forge


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was waited for, in seconds; nothing really waits."""
    waited: list[float] = []
    monkeypatch.setattr("aegis.ci.service.sleep", waited.append)
    return waited


@pytest.fixture
def comment(folder: Folder, forge: Forge, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> Comment:
    """Run the command as a job on a pull request of acme/agent; the token is never in what it prints."""
    (folder.path / "comment.md").write_text(BODY, encoding="utf-8")
    env = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_API_URL": forge.url,
        "GITHUB_REPOSITORY": "acme/agent",
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(folder.path / "event.json"),
        "no_proxy": "127.0.0.1",
    }
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GITLAB_CI", raising=False)

    def run(*args: str, event: Any = EVENT) -> Ran:
        (folder.path / "event.json").write_text(json.dumps(event))
        ran = folder("ci", "comment", "--body", "comment.md", *args)
        assert TOKEN not in ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
        return ran

    return run


def test_the_first_run_writes_a_comment(comment: Comment, forge: Forge) -> None:
    ran = comment()
    assert (ran.code, ran.stdout) == (0, "comment written: https://forge.example/c/1000\n")
    assert forge.bodies() == [BODY]


def test_the_second_run_replaces_it(comment: Comment, forge: Forge, folder: Folder) -> None:
    comment()
    (folder.path / "comment.md").write_text(f"{MARKER}\nREGRESSED\n")
    ran = comment()
    assert ran.stdout.startswith("comment updated: ")
    assert forge.bodies() == [f"{MARKER}\nREGRESSED\n"]


def test_it_is_found_on_a_later_page(comment: Comment, forge: Forge) -> None:
    forge.page_size = 2
    for number in range(5):
        forge.add(f"chatter {number}")
    ours = forge.add(f"{MARKER}\r\nold")
    forge.add("more chatter")
    assert comment().stdout.startswith("comment updated")
    assert [entry["body"] for entry in forge.comments if entry["id"] == ours] == [BODY]
    assert len(forge.comments) == 7


def test_another_suites_comment_and_a_quotation_are_left_alone(comment: Comment, forge: Forge) -> None:
    forge.add("<!-- aegis:echo-2 -->\nanother suite")
    forge.add(f"> look:\n{MARKER}\nquoted")
    assert comment().stdout.startswith("comment written")
    assert forge.bodies()[2] == BODY


def test_a_comment_that_somebody_else_wrote_with_our_marker_is_not_ours(
    comment: Comment, forge: Forge
) -> None:
    forge.add(f"{MARKER}\nPASS, believe me", {"login": "mallory", "type": "User", "id": 66})
    assert comment().stdout.startswith("comment written")
    assert forge.bodies() == [f"{MARKER}\nPASS, believe me", BODY]


def test_a_persons_token_finds_that_persons_comment(comment: Comment, forge: Forge) -> None:
    forge.user = {"login": "ada", "type": "User", "id": 5}
    forge.add(f"{MARKER}\nof the bot", BOT)
    forge.add(f"{MARKER}\nof ada", forge.user)
    assert comment().stdout.startswith("comment updated")
    assert forge.bodies() == [f"{MARKER}\nof the bot", BODY]


@pytest.mark.parametrize(
    ("mishaps", "waited"),
    [
        ([Mishap("GET", 502), Mishap("GET", 503)], [1.0, 2.0]),
        ([Mishap("GET", 429, {"Retry-After": "17"})], [17.0]),
        ([Mishap("POST", 429, {"Retry-After": "3"})], [3.0]),
        ([Mishap("POST", 403, {"Retry-After": "60"}, "You have exceeded a secondary rate limit")], [60.0]),
        ([Mishap("POST", 403, {}, "You have exceeded a secondary rate limit.")], [1.0]),
        ([Mishap("GET", 0, cut=True)], [1.0]),
    ],
    ids=["5xx", "429", "429-post", "secondary", "secondary-without-time", "cut"],
)
def test_a_bad_moment_passes(
    comment: Comment, forge: Forge, waits: list[float], mishaps: list[Mishap], waited: list[float]
) -> None:
    forge.mishaps = list(mishaps)
    ran = comment()
    assert ran.stdout.startswith("comment written"), ran
    assert forge.bodies() == [BODY]
    assert waits == waited


def test_a_date_to_wait_for(comment: Comment, forge: Forge, waits: list[float]) -> None:
    at = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    forge.mishaps = [Mishap("GET", 503, {"Retry-After": at})]
    assert comment().stdout.startswith("comment written")
    (waited,) = waits
    assert 0 <= waited <= 60


@pytest.mark.parametrize("mishap", [Mishap("POST", 502, done=True), Mishap("POST", 0, done=True, cut=True)])
def test_a_post_whose_answer_was_lost_makes_no_second_comment(
    comment: Comment, forge: Forge, mishap: Mishap
) -> None:
    forge.mishaps = [Mishap(**vars(mishap))]
    assert comment().stdout.startswith("comment updated")
    assert forge.bodies() == [BODY]


def test_a_service_that_stays_down_is_a_warning(comment: Comment, forge: Forge, waits: list[float]) -> None:
    forge.mishaps = [Mishap("GET", 502, message="Bad\nGateway") for _ in range(9)]
    ran = comment()
    assert ran.code == 0
    assert ran.stderr == "warning: the comment could not be written: 502: Bad Gateway\n"
    assert ran.stdout == "::warning title=Aegis::the comment could not be written: 502: Bad Gateway\n"
    assert waits == [1.0, 2.0, 4.0, 8.0]


def test_a_limit_that_lasts_too_long_is_not_waited_for(
    comment: Comment, forge: Forge, waits: list[float]
) -> None:
    forge.mishaps = [
        Mishap("GET", 403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 3000)})
    ]
    ran = comment()
    assert (ran.code, waits) == (0, [])
    assert "could not be written: 403" in ran.stderr


def test_nobody_is_there(comment: Comment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_API_URL", "http://127.0.0.1:1")
    ran = comment()
    assert ran.code == 0
    assert re.search(
        r"http://127\.0\.0\.1:1/repos/acme/agent/issues/7/comments cannot be reached: .*refused", ran.stderr
    )


def test_a_read_only_token_leaves_the_summary(comment: Comment, forge: Forge) -> None:
    forge.mishaps = [Mishap("POST", 403, message="Resource not accessible by integration")]
    ran = comment()
    assert (ran.code, ran.stderr) == (0, "")
    assert "pull-requests: write" in ran.stdout
    assert "summary" in ran.stdout
    assert forge.comments == []


@pytest.mark.parametrize("repo", [{"full_name": "mallory/agent"}, None], ids=["fork", "deleted-fork"])
def test_a_fork_gets_no_comment_and_nothing_is_asked(comment: Comment, forge: Forge, repo: Any) -> None:
    ran = comment(event={"pull_request": {"number": 7, "head": {"repo": repo}}})
    assert (ran.code, ran.stderr) == (0, "")
    assert "fork" in ran.stdout
    assert "summary" in ran.stdout
    assert forge.requests == []


def test_a_push_is_no_pull_request(comment: Comment, forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_EVENT_NAME", "push")
    ran = comment(event={"ref": "refs/heads/main"})
    assert (ran.code, ran.stdout) == (0, "no comment: not a pull request (event push)\n")
    assert forge.requests == []


def test_the_number_can_be_given(comment: Comment, forge: Forge) -> None:
    assert comment("--pr", "7", event={"ref": "refs/heads/main"}).stdout.startswith("comment written")


def test_the_token_can_have_another_name(comment: Comment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOT_TOKEN", TOKEN)
    monkeypatch.delenv("GITHUB_TOKEN")
    assert "there is no token in GITHUB_TOKEN" in comment().stderr
    assert comment("--token-env", "BOT_TOKEN").stdout.startswith("comment written")


def test_a_wrong_token_is_a_warning(comment: Comment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "wrong-token")
    ran = comment()
    assert ran.code == 0
    assert "401: Bad credentials" in ran.stderr


@pytest.mark.parametrize("value", [f"{TOKEN}\n{TOKEN}", f"{TOKEN}é", f"{TOKEN} x"])
def test_what_is_no_token_is_not_quoted(
    comment: Comment, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", value)
    ran = comment()
    assert (ran.code, ran.stderr) == (
        0,
        "warning: the comment could not be written: what GITHUB_TOKEN holds is no token\n",
    )


@pytest.mark.parametrize("url", ["http://[", "file:///etc/passwd", "example.com"])
def test_what_is_no_address(comment: Comment, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("GITHUB_API_URL", url)
    ran = comment()
    assert ran.code == 0
    assert f"{url} is no http or https address" in ran.stderr


def test_a_service_that_answers_nonsense(comment: Comment, forge: Forge) -> None:
    forge.comments.append({"body": 3, "user": "me"})
    ran = comment()
    assert ran.code == 0
    assert "the service did not answer with comments" in ran.stderr


def test_what_the_service_says_is_told_without_the_token(comment: Comment, forge: Forge) -> None:
    forge.mishaps = [Mishap("POST", 422, message=f"no, {TOKEN} \x1b[31m")]
    ran = comment()
    assert ran.stderr == "warning: the comment could not be written: 422: no, *** \\x1b[31m\n"


@pytest.mark.parametrize("status", [301, 307])
def test_the_token_goes_to_no_other_host(comment: Comment, forge: Forge, status: int) -> None:
    with serving() as other:
        forge.mishaps = [
            Mishap("GET", status, {"Location": f"{other.url}/repos/acme/agent/issues/7/comments"})
        ]
        ran = comment()
        assert other.requests == []
    assert "another host" in ran.stderr


def test_a_renamed_repository_is_followed(comment: Comment, forge: Forge) -> None:
    forge.add(f"{MARKER}\nold")
    forge.mishaps = [
        Mishap("GET", 301, {"Location": "/repos/acme/agent/issues/7/comments?per_page=100"}),
        Mishap("PATCH", 307, {"Location": "/repos/acme/agent/issues/comments/1000"}),
    ]
    assert comment().stdout.startswith("comment updated")
    assert forge.bodies() == [BODY]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot read comment.md: No such file"),
        (b"no marker\n", "is no comment of Aegis"),
        (b"\xff\xfe", "cannot read comment.md: it is not UTF-8"),
    ],
)
def test_a_body_that_is_none(comment: Comment, folder: Folder, text: bytes | None, words: str) -> None:
    (folder.path / "comment.md").unlink()
    if text is not None:
        (folder.path / "comment.md").write_bytes(text)
    ran = comment()
    assert ran.code == 2
    assert words in ran.stderr


@pytest.fixture
def merge_request(forge: Forge, comment: Comment, monkeypatch: pytest.MonkeyPatch) -> Comment:
    """The same as a job of GitLab CI."""
    forge.user = {"username": "project_12_bot", "id": 41}
    env = {
        "GITLAB_CI": "true",
        "CI_API_V4_URL": f"{forge.url}/api/v4",
        "CI_PROJECT_ID": "12",
        "CI_MERGE_REQUEST_IID": "7",
        "CI_MERGE_REQUEST_PROJECT_ID": "12",
        "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "12",
        "CI_MERGE_REQUEST_PROJECT_URL": "https://gitlab.example/acme/agent",
        "CI_PIPELINE_SOURCE": "merge_request_event",
        "GITLAB_TOKEN": TOKEN,
    }
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GITHUB_ACTIONS")
    return comment


def test_gitlab_one_note(merge_request: Comment, forge: Forge) -> None:
    forge.page_size = 1
    forge.add(f"{MARKER}\nof somebody else", {"id": 66})
    first = merge_request()
    assert first.stdout == "comment written: https://gitlab.example/acme/agent/-/merge_requests/7#note_1001\n"
    second = merge_request("--provider", "gitlab")
    assert second.stdout.startswith("comment updated")
    assert forge.bodies() == [f"{MARKER}\nof somebody else", BODY]
    assert {"POST", "PUT"} <= set(forge.methods())


def test_gitlab_fork_and_branch(
    merge_request: Comment, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "99")
    assert "fork" in merge_request().stdout
    monkeypatch.delenv("CI_MERGE_REQUEST_IID")
    monkeypatch.setenv("CI_PIPELINE_SOURCE", "push")
    ran = merge_request()
    assert (ran.code, ran.stdout) == (0, "no comment: not a merge request (source push)\n")
    assert forge.requests == []


def test_gitlab_refusals(merge_request: Comment, forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    forge.mishaps = [Mishap("POST", 403)]
    ran = merge_request()
    assert ran.code == 0
    assert "scope `api`" in ran.stdout
    monkeypatch.setenv("GITLAB_TOKEN", "")
    ran = merge_request()
    assert (ran.code, ran.stdout) == (0, "")  # no workflow command: this is not GitHub
    assert "there is no token in GITLAB_TOKEN" in ran.stderr


def test_the_body_may_be_large(comment: Comment, forge: Forge, folder: Folder, tmp_path: Path) -> None:
    text = f"{MARKER}\n" + "é" * 30_000
    (folder.path / "comment.md").write_text(text, encoding="utf-8")
    assert comment().code == 0
    assert forge.bodies() == [text]
