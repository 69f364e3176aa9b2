"""Serve one function: a JSON object a line in, a JSON object a line out."""

# This file is the source text of a program that runs under the Python of the image (3.8 or later), with
# nothing installed beside it. Whoever runs it can read it: keep it self-contained and its words plain.

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import json
import os
import random
import re
import select
import signal
import sys
import sysconfig
import time
import traceback
from typing import Any, Callable, Iterable, Iterator, TextIO  # noqa: UP035 - Callable[…] is 3.9


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
    module, _, path = target.partition(":")
    found = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    if not callable(found):
        raise TypeError(f"{target} is not a function")
    return found


def prepare(target: str, seconds: float, variables: Iterable[str]) -> Authorities:
    # Import the libraries of a module whose own code has to wait. Which ones those are, a copy of this process finds
    # out by importing the module.
    with quiet():
        found = explore(target, seconds, variables)
        until = time.monotonic() + seconds
        gate = Gate(found["late"])
        sys.meta_path.insert(0, gate)
        with Authorities() as authorities:
            for name in found["libraries"]:
                if time.monotonic() > until:
                    break
                try:
                    importlib.import_module(name)
                except BaseException:
                    drop_orphans()
        sys.meta_path.remove(gate)
    return authorities


class Authorities:
    # Contexts for TLS that libraries made when they were imported (aiohttp does) know the authorities of that time.
    NAMES = ("set_default_verify_paths", "load_verify_locations")

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[..., Any], Any, Any]] = []
        self.contexts: Any = None

    def __enter__(self) -> Authorities:
        with contextlib.suppress(ImportError):
            import ssl

            self.contexts = ssl.SSLContext
        for name in self.NAMES if self.contexts else ():
            setattr(self.contexts, name, self.noting(getattr(self.contexts, name)))
        return self

    def __exit__(self, *error: object) -> None:
        # The methods that it inherits come through again.
        for name in self.NAMES if self.contexts else ():
            with contextlib.suppress(AttributeError):
                delattr(self.contexts, name)

    def noting(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*values: Any, **named: Any) -> Any:
            self.calls.append((method, values, named))
            return method(*values, **named)

        return noted

    def load_again(self) -> None:
        for method, values, named in self.calls:
            with contextlib.suppress(Exception):
                method(*values, **named)
        self.calls.clear()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os.dup2(kept, 1)
        os.dup2(kept, 2)
        os.close(kept)


class Later(BaseException):
    pass


class Gate:
    # Keeps modules that have to wait from being imported by a library after all.
    def __init__(self, late: Iterable[str]) -> None:
        self.late = frozenset(late)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if within(name, self.late):
            raise Later(name)


def within(name: str, names: Iterable[str]) -> bool:
    while name:
        if name in names:
            return True
        name = name.rpartition(".")[0]
    return False


def drop_orphans() -> None:
    # A package whose import failed is taken out, but not its submodules; importing it again would not bind them.
    for name in list(sys.modules):
        parent = name.rpartition(".")[0]
        if parent and parent not in sys.modules:
            del sys.modules[name]


def explore(target: str, seconds: float, variables: Iterable[str]) -> dict[str, list[str]]:
    reading, writing = os.pipe()
    adopt_orphans(True)
    copy = os.fork()
    if copy == 0:
        try:
            os.setsid()
            # Nothing but the report may leave the copy.
            os.closerange(3, writing)
            os.closerange(writing + 1, 256)
            report = Exploration(variables).run(target.partition(":")[0], seconds)
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(json.dumps(report).encode() + b"\n")
        finally:
            os._exit(0)
    os.close(writing)
    line = read_line(reading, seconds + 2)
    os.close(reading)
    end_children(copy)
    adopt_orphans(False)
    try:
        report = json.loads(line)
        return {key: [str(name) for name in report[key]] for key in ("libraries", "late")}
    except (ValueError, TypeError, KeyError):
        return {"libraries": [], "late": []}


def read_line(descriptor: int, seconds: float) -> bytes:
    # Up to a line end, since a program that the copy has left behind may hold the pipe open.
    data, until = b"", time.monotonic() + seconds
    while not data.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, until - time.monotonic()))
        piece = os.read(descriptor, 65536) if ready else b""
        if not piece:
            break
        data += piece
    return data


def adopt_orphans(on: bool) -> None:
    # So that whatever the copy starts can be ended, also what leaves its session. PR_SET_CHILD_SUBREAPER is 36.
    with contextlib.suppress(Exception):
        import ctypes

        ctypes.CDLL(None).prctl(36, int(on), 0, 0, 0)


def end_children(first: int) -> None:
    until = time.monotonic() + 5
    end(-first)
    end(first)
    while time.monotonic() < until:
        for child in children():
            end(child)
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not ended:
            time.sleep(0.01)


def end(process: int) -> None:
    # A negative number is a process group's, as for kill(2).
    with contextlib.suppress(OSError):
        os.kill(process, signal.SIGKILL)


def children() -> list[int]:
    names = os.listdir("/proc") if os.path.isdir("/proc") else []
    return [int(name) for name in names if name.isdigit() and parent_of(name) == os.getpid()]


def parent_of(process: str) -> int | None:
    try:
        with open("/proc/" + process + "/stat", "rb") as file:
            # After the name, which may hold anything, in parentheses: state, parent.
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


class Exploration:
    # Imports a module and finds out what of it can be imported ahead of the variables that are to come: libraries,
    # unless they read one of them when they are imported.

    PATTERN = re.compile("proxy|cert|_ca_|cainfo|ssl_roots", re.I)

    def __init__(self, variables: Iterable[str]) -> None:
        self.variables = frozenset(variables)
        self.before = frozenset(sys.modules)
        self.late: set[str] = set()
        self.asked: dict[str, set[str]] = {}

    def run(self, module: str, seconds: float) -> dict[str, list[str]]:
        self.late.add(module.partition(".")[0])
        for name in self.variables:
            # Anything, so that clients that are made on import get as far as they can.
            os.environ.setdefault(name, 40 * "0")
        self.watch()
        signal.signal(signal.SIGALRM, too_long)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            importlib.import_module(module)
        except BaseException:
            pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return self.report()

    def watch(self) -> None:
        import builtins

        environ: Any = type(os.environ)
        environ.__getitem__ = self.noting(environ.__getitem__, self.reads_variable)
        environ.__iter__ = self.noting(environ.__iter__, lambda *_: True)
        builtins.__import__ = self.following(builtins.__import__)
        importlib.import_module = self.following(importlib.import_module)

    def reads_variable(self, environ: Any, name: Any) -> bool:
        return name in self.variables or bool(self.PATTERN.search(str(name)))

    def noting(self, function: Callable[..., Any], matters: Callable[..., bool]) -> Callable[..., Any]:
        def noted(*values: Any, **named: Any) -> Any:
            if matters(*values):
                self.late.update(being_imported())
            return function(*values, **named)

        return noted

    def following(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def followed(*values: Any, **named: Any) -> Any:
            importers = being_imported()
            for name in asked_for(*values, **named):
                for importer in importers:
                    self.asked.setdefault(importer, set()).add(name)
            return function(*values, **named)

        return followed

    def report(self) -> dict[str, list[str]]:
        new = {name: module for name, module in sys.modules.items() if name not in self.before}
        libraries = {name for name, module in new.items() if is_library(module)}
        self.late.update(name for name in new.keys() - libraries if has_place(new[name]))
        self.late.discard("__main__")
        self.asked.pop("__main__", None)
        while self.late_importers():
            self.late |= self.late_importers()
        ahead = [name for name in new if name in libraries and not within(name, self.late) and whole(name)]
        return {"libraries": ahead, "late": sorted(self.late)}

    def late_importers(self) -> set[str]:
        asked = {importer: names for importer, names in self.asked.items() if importer not in self.late}
        return {name for name, names in asked.items() if any(within(other, self.late) for other in names)}


def too_long(number: int, frame: Any) -> None:
    raise Later("it took too long")


def being_imported() -> set[str]:
    found: set[str] = set()
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            found.add(str(frame.f_globals.get("__name__")))
        frame = frame.f_back
    return found


def asked_for(
    name: str,
    scope: Any = None,
    _locals: Any = None,
    fromlist: Any = (),
    level: int = 0,
    *,
    package: str | None = None,
    **named: Any,
) -> list[str]:
    # The arguments are those of __import__, or of importlib.import_module (name, package).
    scope, fromlist, level = (
        named.get("globals", scope),
        named.get("fromlist", fromlist),
        named.get("level", level),
    )
    if isinstance(scope, str) or package is not None or name.startswith("."):
        home = package or (scope if isinstance(scope, str) else "")
    else:
        home = (scope or {}).get("__package__") or ""
        name = "." * level + name
    try:
        base = importlib.util.resolve_name(name, home)
    except (ImportError, ValueError):
        return []
    return [base, *(base + "." + item for item in fromlist or () if isinstance(item, str))]


def has_place(module: Any) -> bool:
    try:
        return bool(getattr(module, "__file__", None) or getattr(module, "__path__", None))
    except Exception:
        return False


def is_library(module: Any) -> bool:
    # Installed in the interpreter's places. Everything else is, for all that can be known, the user's own.
    try:
        if module.__spec__.origin in ("built-in", "frozen"):
            return True
        places = [module.__file__] if getattr(module, "__file__", None) else list(module.__path__)
        return bool(places) and all(map(is_installed, places))
    except Exception:
        return False


def is_installed(place: str) -> bool:
    parts = place.split(os.sep)
    if "site-packages" in parts or "dist-packages" in parts:
        return True
    standard = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    roots = tuple(os.path.join(os.path.realpath(root), "") for root in standard if root)
    return os.path.realpath(place).startswith(roots)


def whole(name: str) -> bool:
    # A package that failed has left its submodules behind.
    parent = name.rpartition(".")[0]
    return not parent or (parent in sys.modules and whole(parent))


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
        if self.whole:
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
        if self.whole:
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


class Server:
    def __init__(self, target: str) -> None:
        self.target = target
        self.caller: Caller | None = None
        self.problem: str | None = None

    def load(self) -> None:
        if self.caller is not None or self.problem is not None:
            return
        try:
            importlib.invalidate_caches()
            self.caller = Caller(load(self.target))
        except BaseException as error:
            traceback.print_exc()
            self.problem = f"cannot load {self.target}: {describe(error)}"

    def answer(self, text: str) -> str | None:
        self.load()
        try:
            if self.caller is not None:
                return self.caller(text)
        except BaseException as error:
            traceback.print_exc()
            self.problem = describe(error)
        return None


# Usage: TARGET [SECONDS [VARIABLE…]]. With SECONDS the module is imported when the first line has come, which may
# bring variables; until then only its libraries are, within about twice so many seconds. What reads a VARIABLE, or
# else depends on what is still to come, waits too.
def main(target: str, seconds: str = "", *variables: str) -> int:
    source, sink = open_channel()
    sys.path.insert(0, os.getcwd())
    sys.argv = [target]
    server = Server(target)
    authorities: Authorities | None = None
    if seconds:
        authorities = prepare(target, float(seconds), variables)
    else:
        server.load()
    send(sink, {"type": "ready"})
    for number, line in enumerate(source):
        message = json.loads(line)
        if number == 0:
            reseed()
        if message.get("type") == "environment":
            os.environ.update(message["variables"])
            time.tzset()
            if authorities is not None:
                authorities.load_again()
            server.load()
            continue
        answer = server.answer(message["content"])
        if answer is None:
            send(sink, {"type": "problem", "message": server.problem or "no answer"})
            return 1
        send(sink, {"role": "assistant", "content": answer})
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
