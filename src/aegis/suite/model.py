"""The suite as a value: what the user's file says, checked and with every default filled in.

The models are frozen and serialise to JSON, since a trial carries its case to whichever executor runs it.
Durations are seconds (float), sizes are bytes (int); the written forms (`500ms`, `512MiB`) exist only in the
file.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Secret(Model):
    """A value of the host's environment that leaves the gateway for these hosts only."""

    hosts: tuple[str, ...]
    """As in `network.allow`."""
    optional: bool = False
    """Whether a run may start without the value, also because a route says `unless` it has one. The agent then
    sees a placeholder that stands for nothing."""


class Agent(Model):
    """The program under test and how turns reach it."""

    command: str
    """A shell command (`sh -c`) run in the sandbox in /workspace; for protocol `python`:
    `module:function`."""
    protocol: Literal["text", "jsonl", "python", "chat", "acp"] = "text"
    port: int = 8000
    """Where the server of protocol `chat` listens, in a machine of its own."""
    ready_timeout: float = 60.0  # seconds
    """How long that server may take until it listens."""
    permissions: Literal["allow", "deny"] = "allow"
    """What an agent of protocol `acp` is told when it asks whether it may run a tool."""
    env: dict[str, str] = Field(default_factory=dict)
    secrets: dict[str, Secret] = Field(default_factory=dict)
    """Variable → who may see its value. The value is read from the host's environment when the run starts; the agent's
    own environment holds a placeholder under the same name."""


class Ready(Model):
    """When a service counts as up: everything that is set must hold."""

    tcp: int | None = None
    """A port of the sandbox's loopback that accepts connections."""
    http: str | None = None
    """`http://127.0.0.1:PORT/PATH`, answered with a status of 2xx or 3xx."""
    command: str | None = None
    """A shell command that exits 0."""
    log: str | None = None
    """A regular expression found in a line of its output."""


class Service(Model):
    """A program that runs in the sandbox beside the agent."""

    name: str
    """Unique in the suite; its folder is /srv/NAME."""
    preset: str | None = None
    """One of the services that Aegis knows; what is not set here is the preset's."""
    command: str | None = None
    """A shell command (`sh -c`) that stays in the foreground. None only with a preset."""
    port: int | None = None
    """Where it listens on loopback; `PORT` in its own environment, `NAME_PORT` in everybody's."""
    start: Literal["template", "trial"] | None = None
    """`template`: once, before the snapshot, so that a trial finds it running. `trial`: anew in each trial. None: the
    preset's, else `template`."""
    ready: Ready | None = None
    ready_timeout: float | None = None  # seconds
    init: tuple[str, ...] = ()
    """Shell commands run in /workspace when it is ready; each must exit 0."""
    env: dict[str, str] = Field(default_factory=dict)
    params: dict[str, Any] = Field(default_factory=dict)
    """The preset's own parameters, as written."""


class SandboxConfig(Model):
    image: str = "debian"
    """`debian`, a path to an image file (relative to the project root), `oci:NAME`, `oci-layout:PATH`."""
    memory: int = 512 * 1024 * 1024  # bytes
    cpus: int = Field(default=1, ge=1, le=16)
    files: dict[str, str] = Field(default_factory=dict)
    """Project path → guest path. Project paths (files or folders) are relative to the project root, the
    folder with aegis.toml or pyproject.toml, and as written; guest paths are absolute and normalised
    (`/workspace/agent.py`)."""
    setup: tuple[str, ...] = ()
    """Shell commands run in /workspace once per template; each must exit 0."""
    setup_timeout: float = 600.0  # seconds, of each of them
    services: tuple[Service, ...] = ()
    """Started in this order after the set-up, each when the one before is ready."""
    env: dict[str, str] = Field(default_factory=dict)


class Limit(Model):
    """A provider's shared limit, as the user knows it. Limits that are not set are learnt from answers."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


class Upstream(Model):
    """A server program of the project that runs on the host, on loopback, for as long as its scope lasts."""

    command: str
    """A shell command (`sh -c`) run in the project's folder, in the foreground. `PORT` in its environment is the
    TCP port on 127.0.0.1 that it must listen on; it is ready when that port accepts a connection."""
    scope: Literal["trial", "run"] = "trial"
    """`trial`: every trial has a fresh process of its own, so that nothing one trial wrote is seen by another. `run`:
    all trials share one."""
    env: dict[str, str] = Field(default_factory=dict)
    ready_timeout: float = 30.0  # seconds


class Route(Model):
    """Another upstream for a production name. Exactly one of `to` and `upstream` is set."""

    to: str | None = None
    """`http://host:port`, `https://host:port`, or `host:port`."""
    upstream: str | None = None
    """Name of an entry of `upstreams`, spoken to by plain HTTP."""
    unless: str | None = None
    """Name of a secret: when the host has a value for it, the route does not apply and the name itself is reached."""


class Network(Model):
    """What trials may reach, and how. Nothing else is reachable."""

    allow: tuple[str, ...] = ()
    """`name`, `*.wild.example`, `name:port`, `ip:port`, `*`; without a port 80 and 443."""
    routes: dict[str, Route] = Field(default_factory=dict)
    """Production name (written like an entry of `allow`) → where it leads. A route allows its name."""
    upstreams: dict[str, Upstream] = Field(default_factory=dict)
    passthrough: tuple[str, ...] = ()
    """Hosts (as in `allow`) whose TLS is not opened: pinned or client certificates."""
    limits: dict[str, Limit] = Field(default_factory=dict)
    """Host name → its shared limit."""
    ca_bundle: str | None = None
    """PEM file, relative to the project root, of further authorities that upstreams may be certified by."""


class Clock(Model):
    """The date on which a trial takes place."""

    at: float | None = None
    """Seconds since 1970 in UTC that the machine's clock shows when the agent starts; None: the real time."""
    zone: str | None = None
    """Name of a time zone such as `Europe/Berlin`; None: UTC."""


class World(Model):
    """What a case starts in, on top of the sandbox."""

    files: dict[str, str] = Field(default_factory=dict)
    """Guest path (absolute and normalised) → source, relative to the suite file's folder, as written.
    A source is a readable regular file of the project, or a folder of it."""
    run: tuple[str, ...] = ()
    """Shell commands run in /workspace before the agent starts; each must exit 0, else the trial is an
    `error`."""
    reset: tuple[str, ...] = ()
    """Shell commands with which the team would clean up after a trial in a machine that it uses again. A fresh machine
    needs none: only `aegis audit leaks` runs them."""
    clock: Clock | None = None
    """Set before its steps run, and again when the agent starts."""
    alone: bool = False
    """Of a case: whether it has none of the suite's world (`none` in the file)."""


class Expectation(Model):
    """One entry of `expect`: the scorer's name and its own configuration, as written."""

    scorer: str
    config: Any
    """Plain data: what JSON can hold."""
    line: int | None = None
    """Line of the entry in its file (the case's `source_file`), for messages and annotations."""


class SpendingLimit(Model):
    """What one simulated user may take in one trial, kept answers counted as if they were asked for."""

    tokens: int = 500_000
    """Sent and received together."""
    usd: float | None = None


class SayRule(Model):
    """One rule of a simulated user's script."""

    when: Any = None
    """A matcher (as the scorer `answer` takes it) of the agent's answer; None: whatever it is (`otherwise`)."""
    say: str
    once: bool = False
    """Whether it is used up when it has spoken."""


class SimulatedUser(Model):
    """A part of a conversation that depends on the agent's answers. Exactly one of `model` and `script` is set."""

    turns: int
    """The most messages that it says."""
    persona: str = ""
    goal: str = ""
    knows: tuple[str, ...] = ()
    begins: str | None = None
    """Its first message."""
    gives_up: str = ""
    """When it gives up, in words for the model."""
    gives_up_after: int | None = None
    """It gives up when its goal is not reached after so many messages."""
    done: Any = None
    """A matcher of the agent's answer that shows that the goal is reached."""
    model: str | None = None
    provider: Literal["openai", "anthropic"] | None = None
    base_url: str | None = None
    key_env: str | None = None
    """Environment variable of the host that holds the model's key."""
    seed: int = 0
    budget: SpendingLimit = SpendingLimit()
    script: tuple[SayRule, ...] = ()
    unmatched: Literal["end", "error"] = "end"
    """When no rule of the script matches: it falls silent, or the trial is an `error`."""


class Turn(Model):
    """One entry of a conversation: a message, or with `simulate` as many as the simulated user says."""

    user: str = ""
    """The message; of no meaning with `simulate`."""
    simulate: SimulatedUser | None = None
    expect: tuple[Expectation, ...] = ()
    """What must be true of the answer, the tool calls and the requests of the turns that this entry brings."""


class FaultMatch(Model):
    """Which exchanges a fault is about. What is not set matches anything; what is set must all match."""

    host: tuple[str, ...] = ()
    """Host names in lower case; `*` stands for any characters."""
    port: int | None = None
    method: tuple[str, ...] = ()
    """In upper case."""
    path: tuple[str, ...] = ()
    """Paths without the query; `*` stands for any characters, also none, also `/`."""
    body: dict[str, Any] = Field(default_factory=dict)
    """JSON path into the request's body (`$.params.name`) → the value that must stand there."""
    tool: tuple[str, ...] = ()
    """Names of MCP tools, `*` as above: a `tools/call` of one of them."""
    call: Literal["model", "tool"] | None = None
    """`model`: a call of a language model; `tool`: an MCP `tools/call`."""
    credential: str | None = None
    """Name of a secret of the agent's that the request carries, `any` or `none`."""


class FaultRule(Model):
    """One fault of a trial: what it is, which exchanges it is about, and which of those it hits."""

    id: str
    """Unique in the case; part of every decision's hash, so it stays when other rules come or go."""
    inject: str
    """Name of the fault."""
    match: FaultMatch = FaultMatch()
    on: tuple[int, ...] = ()
    """These matches only, from 1."""
    first: int | None = None
    """`from`: this match and later ones."""
    last: int | None = None
    """`to`: this match and earlier ones."""
    every: int | None = None
    """Every so many matches."""
    after: int | None = None
    """Matches after this one."""
    after_s: float | None = None
    """Matches that come later than this many seconds after the agent's start."""
    probability: float | None = None
    """Share of the matches, decided by a hash and not by chance."""
    until_hits: int | None = None
    """No more after this many hits."""
    until_s: float | None = None
    """No more after this many seconds since the agent's start."""
    until_match: FaultMatch | None = None
    """No more once a request like this was answered with 2xx."""
    require_fired: bool = False
    """Whether a trial that it did not hit is an `error`."""
    params: dict[str, Any] = Field(default_factory=dict)
    """The fault's own parameters, as written: plain data such as `{retry_after: 2s}`."""
    source: str = ""
    """Where it was written, for people: `evals/production-v2.yaml:31`, `profile flaky-production`."""


class StressRule(Model):
    """A transform that makes harder variants of a case."""

    transform: str
    levels: tuple[str, ...] = ("",)
    """One variant each; `""` for a transform without levels."""
    params: dict[str, Any] = Field(default_factory=dict)
    """The transform's own parameters, as written."""


class Case(Model):
    id: str
    """Matches `[A-Za-z0-9][A-Za-z0-9._-]{0,99}`, unique in the suite: usable as a file name."""
    tags: tuple[str, ...] = ()
    description: str = ""
    turns: tuple[Turn, ...]
    """At least one. `input: X` in the file is `turns: ({user: X},)`."""
    world: World = World()
    """The suite's and its own together."""
    faults: tuple[FaultRule, ...] = ()
    """Its own ones first, then those of the suite or of the command line."""
    stress: tuple[StressRule, ...] = ()
    """Its own ones, then those of the suite or of the command line for other transforms."""
    rewrites: tuple[FaultRule, ...] = ()
    """What the gateway changes in a variant: no fault, but a harder world. Only transforms make them."""
    expect: tuple[Expectation, ...]
    """At least one."""
    collect: tuple[str, ...] = ()
    """Guest paths (absolute and normalised; `*`, `?` and `**` stand for names) of files to keep with each trial: the
    suite's and its own."""
    trials: int | None = None
    """Instead of the suite's `trials`."""
    timeout: float | None = None  # seconds
    added_time: float = 0.0
    """Seconds on top of the timeout, for the further turns of a variant. Only transforms set it."""
    source_file: str = ""
    """The file that the case stands in (the JSONL file for a bulk case), relative to the project root when
    inside it."""
    source_line: int = 0


class Suite(Model):
    suite: str
    """The name. For a file evals/NAME.yaml it must be NAME."""
    description: str = ""
    agent: Agent
    sandbox: SandboxConfig = SandboxConfig()
    network: Network = Network()
    trials: int = 1
    timeout: float = 120.0  # seconds of the trial's own time
    faults: tuple[FaultRule, ...] = ()
    """Of every case that does not refuse them, besides its own. They stand in each case too."""
    stress: tuple[StressRule, ...] = ()
    """Of every case that does not refuse them. They stand in each case too."""
    world: World = World()
    """Of every case that does not refuse it. It stands in each case too."""
    collect: tuple[str, ...] = ()
    """Of every case. They stand in each case too."""
    cases: tuple[Case, ...]
    source_file: str = ""
    """The suite's file, relative to the project root when inside it."""

    def trials_of(self, case: Case) -> int:
        """How often this case runs."""
        return self.trials if case.trials is None else case.trials

    def timeout_of(self, case: Case) -> float:
        """Seconds of its own time that one trial of this case has."""
        return self.timeout if case.timeout is None else case.timeout
