"""Where a workload runs: a machine's namespaces, or a folder of a plain host.

`Place` is what the cradle needs of it: paths, groups of processes that can be ended together, a fresh identity.
"""

from __future__ import annotations

import abc
import ctypes
import os
import shutil
import signal
import stat
import time

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWPID = 0x20000, 0x08000000, 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = (
    1,
    2,
    4,
    8,
    32,
    4096,
    16384,
    1 << 18,
)
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER = 1, 24, 36
CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_BOOT, CAP_MKNOD = 16, 17, 22, 27
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
MAX_PROCESSES = 4096
RESERVED_BYTES = 32 * 1024 * 1024
"""Kept for the kernel and the server when the workload has all that it may have."""
PROGRAM_BYTES = 40 * 1024 * 1024
"""Kept for programs when every file system is full."""
GROUPS = "/sys/fs/cgroup/w"
BOOT_ID = "/run/boot_id"
"""Covers the kernel's own, which is made once and kept, so that every clone would show the template's."""


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2). Raises OSError."""
    _checked(
        _libc().mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()),
        f"mount {target}",
    )


def workload_bytes() -> int:
    """What all programs and files of the workload together may take. Without a bound the machine would not kill but
    thrash, the server with it."""
    with open("/proc/meminfo") as file:
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in file}
    return max(sizes["MemAvailable"] - RESERVED_BYTES, sizes["MemTotal"] // 4)


def storage_bytes() -> int:
    """What the memory-backed file systems together may take: a full disk shall be an error."""
    room = workload_bytes()
    return max(room - PROGRAM_BYTES, room // 2)


class Place(abc.ABC):
    """The contract; also what both kinds share."""

    @abc.abstractmethod
    def path(self, path: str) -> str:
        """A guest path (absolute, or relative to the workspace) as the child sees it."""

    def make_group(self, group: int) -> None:  # noqa: B027
        """Make the group that a program and all that it starts will belong to."""

    def join_group(self, group: int) -> None:  # noqa: B027
        """In the child."""

    def kill_group(self, group: int) -> None:  # noqa: B027
        """End every process of the group."""

    def group_gone(self, group: int) -> bool:
        """Whether nothing is left of a killed group, which is then forgotten; ends newcomers otherwise."""
        return True

    def group_empty(self, group: int) -> bool:
        """Whether no process of the group is left, right after its program was reaped."""
        return False

    def extra_env(self, group: int) -> dict[str, str]:
        return {}

    def prepare_child(self) -> None:  # noqa: B027
        """Last step in the child before the program."""

    def end_all(self) -> None:  # noqa: B027
        """The server is gone: end everything."""


class Machine(Place):
    """A virtual machine's workload, in the image's root with its own namespaces and a control group per program."""

    def __init__(self, root: str) -> None:
        self._root = root

    def enter(self) -> None:
        """Called in process 1 of the new namespaces: mount what a workload expects, and make the image the root."""
        root = self._root
        mount("none", "/", "", MS_REC | MS_PRIVATE)
        for name in ("proc", "sys", "dev", "tmp", "run", "workspace", "root", "etc"):
            os.makedirs(f"{root}/{name}", exist_ok=True)
        mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        mount("sysfs", f"{root}/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY)
        self._make_dev(f"{root}/dev")
        for path in ("/proc/sysrq-trigger",):
            mount(root + path, root + path, "", MS_BIND)
            mount("none", root + path, "", MS_REMOUNT | MS_BIND | MS_RDONLY)
        mount(BOOT_ID, f"{root}/proc/sys/kernel/random/boot_id", "", MS_BIND)
        os.chmod(f"{root}/tmp", 0o1777)
        os.chdir(root)
        number = SYS_PIVOT_ROOT.get(os.uname().machine, 155)
        # Held open: the workload may unmount them.
        self._groups = os.open(GROUPS, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._proc = os.open(f"{root}/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        _checked(_libc().syscall(number, b".", b"."), "pivot_root")
        _checked(_libc().umount2(b".", 2), "detach the old root")
        os.chdir("/")
        for capability in (CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_BOOT, CAP_MKNOD):
            _libc().prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)

    @staticmethod
    def _make_dev(dev: str) -> None:
        mount("tmpfs", dev, "tmpfs", MS_NOSUID, "mode=755,size=1m")
        for name, major, minor in (
            ("null", 1, 3),
            ("zero", 1, 5),
            ("full", 1, 7),
            ("random", 1, 8),
            ("urandom", 1, 9),
            ("tty", 5, 0),
        ):
            os.mknod(f"{dev}/{name}", stat.S_IFCHR | 0o666, os.makedev(major, minor))
            os.chmod(f"{dev}/{name}", 0o666)
        for name in ("pts", "shm", "mqueue"):
            os.mkdir(f"{dev}/{name}")
        mount(
            "devpts",
            f"{dev}/pts",
            "devpts",
            MS_NOSUID | MS_NOEXEC,
            "newinstance,ptmxmode=0666,mode=0620,gid=5",
        )
        shared = f"mode=1777,size={storage_bytes() * 15 // 100}"
        mount("tmpfs", f"{dev}/shm", "tmpfs", MS_NOSUID | MS_NODEV, shared)
        for link, target in (
            ("ptmx", "pts/ptmx"),
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ):
            os.symlink(target, f"{dev}/{link}")

    def path(self, path: str) -> str:
        return path if path.startswith("/") else f"/workspace/{path}"

    def prepare_child(self) -> None:
        fd = os.open("self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._proc)
        os.write(fd, b"0")  # the cradle's own exemption is not for the workload
        os.close(fd)

    def _write(self, group: int, name: str, text: str) -> None:
        fd = os.open(f"{group}/{name}", os.O_WRONLY, dir_fd=self._groups)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    def make_group(self, group: int) -> None:
        os.mkdir(str(group), dir_fd=self._groups)
        self._write(group, "pids.max", str(MAX_PROCESSES))

    def join_group(self, group: int) -> None:
        self._write(group, "cgroup.procs", "0")

    def kill_group(self, group: int) -> None:
        try:
            self._write(group, "cgroup.kill", "1")
        except FileNotFoundError:
            pass

    def group_empty(self, group: int) -> bool:
        try:
            os.rmdir(str(group), dir_fd=self._groups)
        except OSError:
            return False
        return True

    def group_gone(self, group: int) -> bool:
        try:
            os.rmdir(str(group), dir_fd=self._groups)
        except FileNotFoundError:
            return True
        except OSError:  # busy: the killed processes are still on their way out
            self.kill_group(group)
            return False
        return True

    def end_all(self) -> None:
        os._exit(0)  # process 1 of the namespace: the kernel ends the rest


class Folder(Place):
    """A folder of a plain host. Guest paths are laid below it; nothing keeps a program inside."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._marks: dict[int, str] = {}
        _libc().prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def path(self, path: str) -> str:
        if path == self._root or path.startswith(self._root + "/"):
            return path
        inner = os.path.normpath("/" + path if path.startswith("/") else f"/workspace/{path}")
        return self._root + inner

    def make_group(self, group: int) -> None:
        self._marks[group] = os.urandom(16).hex()

    def extra_env(self, group: int) -> dict[str, str]:
        # The name is systemd's; whoever inherits it belongs to this program's group.
        return {"INVOCATION_ID": self._marks[group]}

    def _members(self, group: int) -> list[int]:
        if group not in self._marks:
            return []
        mark = f"INVOCATION_ID={self._marks[group]}".encode()
        pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != os.getpid()]
        return [pid for pid in pids if mark in self._environment(pid)]

    def _environment(self, pid: int) -> list[bytes]:
        """What a process was started with. It is empty for an instant while the process becomes another program."""
        for _ in range(5):
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    content = file.read()
            except OSError:
                return []
            if content or not self._descends(pid):
                return content.split(b"\0")
            time.sleep(0.002)
        return []

    @staticmethod
    def _parent(pid: int) -> int:
        """0 for a process that has ended, zombies included."""
        try:
            with open(f"/proc/{pid}/stat") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
        except OSError:
            return 0
        return 0 if state in "ZX" else int(parent)

    def _descends(self, pid: int) -> bool:
        while pid > 1:
            pid = self._parent(pid)
            if pid == os.getpid():
                return True
        return False

    def kill_group(self, group: int) -> None:
        for pid in self._members(group):
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass

    def group_gone(self, group: int) -> bool:
        if self._members(group):
            self.kill_group(group)
            return False
        self._marks.pop(group, None)
        return True

    def group_empty(self, group: int) -> bool:
        return not self._members(group)

    def end_all(self) -> None:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            # This process adopts orphans, so that whatever a program left behind is below it.
            left = [
                int(entry) for entry in os.listdir("/proc") if entry.isdigit() and self._descends(int(entry))
            ]
            if not left:
                break
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    pass
            time.sleep(0.01)
        shutil.rmtree(self._root, ignore_errors=True)
