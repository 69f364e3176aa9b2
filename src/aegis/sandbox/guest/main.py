"""Entry point.

As process 1 of a machine (no arguments): puts the image together, makes the workload's namespaces, and serves the
host over the virtio port. With `--folder ROOT --link FD`: serves over an inherited socket, below a folder of this host.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import resource
import socket
import sys
import time

if not __package__:  # run as a script, with a folder of which only this one is known
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    __package__ = importlib.import_module(
        os.path.basename(os.path.dirname(os.path.abspath(__file__)))
    ).__name__

from . import changes, confine, cradle, identity, network, server

IMAGE, UPPER, MERGED = "/mnt/image", "/mnt/upper", identity.MERGED
MAX_FILES = 16384
"""Open files of the server: a listener for each name and port, and a socket for each connection."""


def serve_folder(root: str, link: int) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        os.close(link)
        os.setsid()
        cradle.Cradle(theirs, confine.Folder(root)).serve()
        os._exit(0)
    theirs.close()
    served = server.Server(link, ours, wait_on_hangup=False)
    served.desk.tree = changes.Tree(root, None)
    served.serve()
    ours.close()
    os.wait()


def serve_machine() -> None:
    _protect()
    _assemble()
    with open(confine.BOOT_ID, "w") as file:
        os.fchmod(file.fileno(), 0o444)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        _enter_namespaces(theirs)
    theirs.close()
    _bring_up_loopback()
    link = _open_port()
    try:
        # After the fork: no program of the workload inherits a descriptor of these.
        resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_FILES, MAX_FILES))
        served = server.Server(link, ours, wait_on_hangup=True)
        served.desk.tree = changes.Tree(f"{UPPER}/data", IMAGE)
        served.open_network().open()
        network.settle(identity.workload_root())
        served.serve()
    finally:
        _power_off()


def _protect() -> None:
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("-1000")


def _assemble() -> None:
    """Image (read-only) + a memory-backed layer = the root of the workload."""
    confine.mount("/dev/vdb", IMAGE, "squashfs", confine.MS_RDONLY)
    confine.mount("tmpfs", UPPER, "tmpfs", 0, f"mode=755,size={confine.storage_bytes() * 85 // 100}")
    os.mkdir(f"{UPPER}/data")
    os.mkdir(f"{UPPER}/work")
    os.chmod(f"{UPPER}/data", 0o755)
    layers = f"lowerdir={IMAGE},upperdir={UPPER}/data,workdir={UPPER}/work"
    confine.mount("overlay", MERGED, "overlay", 0, layers)
    confine.mount("cgroup2", "/sys/fs/cgroup", "cgroup2")
    with open("/sys/fs/cgroup/cgroup.subtree_control", "w") as file:
        file.write("+pids +memory")
    os.mkdir(confine.GROUPS)
    with open(f"{confine.GROUPS}/cgroup.subtree_control", "w") as file:
        file.write("+pids")
    with open(f"{confine.GROUPS}/memory.max", "w") as file:
        file.write(str(confine.workload_bytes()))


def _enter_namespaces(theirs: socket.socket) -> None:
    """Never returns."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = confine.CLONE_NEWNS | confine.CLONE_NEWPID | confine.CLONE_NEWIPC
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    pid = os.fork()
    if pid:
        # Keeps the namespaces' parent alive without a second copy of the socket: the server must see it close.
        theirs.close()
        os.waitpid(pid, 0)
        os._exit(0)
    machine = confine.Machine(MERGED)
    machine.enter()
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("-1000")
    os.umask(0o022)
    cradle.Cradle(theirs, machine).serve()
    os._exit(0)


def _bring_up_loopback() -> None:
    os.spawnv(os.P_WAIT, "/bin/busybox", ["busybox", "ip", "link", "set", "lo", "up"])


def _open_port() -> int:
    deadline = time.monotonic() + 60
    while True:
        # The first number is the virtio device's index, which depends on what else the machine has.
        ports = [name for name in os.listdir("/dev") if name.startswith("vport")]
        if ports:
            return os.open(f"/dev/{ports[0]}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        if time.monotonic() > deadline:
            raise FileNotFoundError("no port to the host")
        time.sleep(0.01)


def _power_off() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    time.sleep(0.2)  # lets the last frame leave the device
    libc.reboot(0x4321FEDC)


if __name__ == "__main__":
    if len(sys.argv) == 5 and sys.argv[1] == "--folder" and sys.argv[3] == "--link":
        serve_folder(sys.argv[2], int(sys.argv[4]))
    else:
        serve_machine()
