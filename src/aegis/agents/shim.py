"""Serve one function: a JSON object a line in, a JSON object a line out."""

# This file is the source text of a program that runs under the Python of the image (3.8 or later), with
# nothing installed beside it. Whoever runs it can read it: keep it self-contained and its words plain.

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
import traceback
from typing import Any, TextIO


def open_channel() -> tuple[TextIO, TextIO]:
    # The descriptors 0 and 1 are handed over to the function's own code, so that its prints and reads, and
    # those of programs that it starts, cannot get into the conversation.
    source = os.fdopen(os.dup(0), "r", encoding="utf-8", newline="\n")
    sink = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return source, sink


def send(sink: TextIO, message: dict[str, str]) -> None:
    sink.write(json.dumps(message) + "\n")
    sink.flush()


def describe(error: BaseException) -> str:
    name = type(error).__name__
    words = " ".join(str(error).split())
    if isinstance(error, SystemExit):
        words = f"the program called sys.exit({words})"
    place = find_place(error)
    return (name + ": " + words if words else name) + (f" ({place})" if place else "")


def find_place(error: BaseException) -> str | None:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{os.path.relpath(error.filename)} line {error.lineno}"
    home = os.getcwd() + os.sep
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if os.path.isabs(frame.filename)]
    own = [
        frame for frame in frames if frame.filename.startswith(home) and "site-packages" not in frame.filename
    ]
    if not own:
        return None
    last = own[-1]
    return f"{os.path.relpath(last.filename)} line {last.lineno} in {last.name}"


def load(target: str) -> Any:
    sys.path.insert(0, os.getcwd())
    sys.argv = [target]
    module, _, path = target.partition(":")
    found = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    if not callable(found):
        raise TypeError(f"{target} is not a function")
    return found


def wants_messages(function: Any) -> bool:
    try:
        first = next(iter(inspect.signature(function).parameters.values()), None)
    except (TypeError, ValueError):
        return False
    if first is None:
        raise TypeError("the function takes no argument; it needs one: the user's text, or the messages")
    if first.name in ("messages", "conversation", "history"):
        return True
    hint = first.annotation
    text = hint if isinstance(hint, str) else getattr(hint, "__name__", "") + " " + str(hint)
    return text.replace("typing.", "").lower().startswith(("list", "sequence", "iterable"))


def reseed() -> None:
    # Copies of one machine in memory would otherwise all draw the same numbers.
    import random

    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "torch" in sys.modules:
        sys.modules["torch"].seed()


class Caller:
    def __init__(self, function: Any) -> None:
        self.function = function
        self.whole = wants_messages(function)
        self.messages: list[dict[str, Any]] = []
        self.loop: Any = None

    def __call__(self, text: str) -> str:
        self.messages.append({"role": "user", "content": text})
        result = self.function([dict(message) for message in self.messages] if self.whole else text)
        if inspect.isawaitable(result):
            result = self.wait(result)
        answer = result.get("content") if isinstance(result, dict) else result
        if not isinstance(answer, str):
            kind = (
                "a message without a text as its content"
                if isinstance(result, dict)
                else type(result).__name__
            )
            raise TypeError(
                f"the function returned {kind}; it must return a str, or a dict with a str as content"
            )
        self.messages.append(
            dict(result) if isinstance(result, dict) else {"role": "assistant", "content": answer}
        )
        return answer

    def wait(self, awaitable: Any) -> Any:
        import asyncio

        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)

        async def finish() -> Any:
            return await awaitable

        return self.loop.run_until_complete(finish())


def main(target: str) -> int:
    source, sink = open_channel()
    caller: Caller | None = None
    problem: str | None = None
    try:
        caller = Caller(load(target))
    except BaseException as error:
        traceback.print_exc()
        problem = f"cannot load {target}: {describe(error)}"
    send(sink, {"type": "ready"})
    for number, line in enumerate(source):
        if number == 0:
            reseed()
        try:
            if caller is not None:
                send(sink, {"role": "assistant", "content": caller(json.loads(line)["content"])})
        except BaseException as error:
            traceback.print_exc()
            problem = describe(error)
        if problem is not None:
            send(sink, {"type": "problem", "message": problem})
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
