"""A worker of the tests: the real one, but for jobs that tell it to misbehave, as a template would that had broken out."""

import ctypes
import mmap
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from virtualservice_operator.templates import wire, worker
from virtualservice_operator.templates.render import Answer, Renderer

LIBC = ctypes.CDLL(None, use_errno=True)
PARENT = os.getppid()
OPEN = sorted(int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}"))
BUFFER = ctypes.create_string_buffer(64)


def syscall(number: int, *arguments: Any) -> None:
    """Make a system call by its number on x86_64; raise what the kernel says."""
    if LIBC.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def start_thread() -> None:
    threading.Thread(target=print).start()


def map_code() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)


FORBIDDEN: Mapping[str, Callable[[], Any]] = {
    "open": lambda: open("/etc/hostname").read(),
    "listdir": lambda: os.listdir("/"),
    "stat": lambda: os.stat("/"),
    "socket": lambda: socket.socket(),
    "socketpair": lambda: socket.socketpair(),
    "fork": fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "kill parent": lambda: os.kill(PARENT, 0),
    "kill self": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "thread": start_thread,
    "read token": lambda: open("/var/run/secrets/kubernetes.io/serviceaccount/token"),
    "parent memory": lambda: open(f"/proc/{PARENT}/mem", "rb"),
    "parent environ": lambda: open(f"/proc/{PARENT}/environ", "rb"),
    "process_vm_readv": lambda: syscall(310, PARENT, BUFFER, 1, BUFFER, 1, 0),
    "ptrace": lambda: syscall(101, 16, PARENT, 0, 0),
    "mmap exec": map_code,
    "unshare": lambda: syscall(272, 0x10000000),
    "pipe": os.pipe,
    "dup": lambda: os.dup(0),
    "raise limit": lambda: resource.prlimit(PARENT, resource.RLIMIT_CPU, (1, 1)),
    "mount": lambda: syscall(165, b"none", b"/mnt", b"tmpfs", 0, 0),
    "setuid": lambda: syscall(105, 0),
    "perf": lambda: syscall(298, BUFFER, 0, -1, -1, 0),
    "bpf": lambda: syscall(321, 0, BUFFER, 64),
}


def loop() -> None:
    while True:
        pass


def loop_in_c() -> None:
    sum(iter(int, 1))


def eat_memory() -> None:
    """Take memory until there is none left, and touch none of it: that would take time, and another limit would come first."""
    held = []
    while True:
        held.append(bytes(1 << 24))


def wait() -> None:
    time.sleep(60)


def say(data: bytes) -> None:
    wire.write_all(1, data)
    wait()


def answer(value: bytes) -> None:
    """Say what JSON that this process would not write."""
    body = b'{"ok":true,"lines":{},"value":' + value + b"}"
    say(len(body).to_bytes(4, "big") + body)


TROUBLE: Mapping[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "loop": loop,
    "loop in C": loop_in_c,
    "eat memory": eat_memory,
    "exit": lambda: os._exit(3),
    "say nonsense": lambda: say(len(b"nonsense").to_bytes(4, "big") + b"nonsense"),
    "say too much": lambda: say((1 << 31).to_bytes(4, "big")),
    "say deep JSON": lambda: say((200_000).to_bytes(4, "big") + b"[" * 200_000),
    "say deep lists": lambda: answer(b"[" * 600 + b"]" * 600),
    "say NaN": lambda: answer(b"NaN"),
    "say a large number": lambda: answer(b"[-1e999]"),
    "segfault": lambda: ctypes.string_at(0),
    "wait": wait,
}


def handle(renderer: Renderer, job: Mapping[str, Any]) -> Answer:
    do = job.get("do")
    if do is None:
        return worker.handle(renderer, job)
    if do == "what it has":
        held = {"environment": sorted(os.environ), "descriptors": DESCRIPTORS, "directory": DIRECTORY}
        return {"ok": True, "value": held}
    if do in FORBIDDEN:
        try:
            FORBIDDEN[do]()
        except (PermissionError, RuntimeError) as error:
            return {
                "ok": True,
                "value": "refused" if isinstance(error, PermissionError) or do == "thread" else str(error),
            }
        except OSError as error:
            return {"ok": True, "value": "refused" if error.errno == 1 else str(error)}
        return {"ok": True, "value": "done"}
    TROUBLE[do]()
    return {"ok": True, "value": "done"}


DIRECTORY = os.getcwd()
DESCRIPTORS = [number for number in OPEN if number < 3]


def main() -> None:
    renderer = Renderer()
    worker.warm_up(renderer)
    worker.serve(lambda job: handle(renderer, job), locked="unlocked" not in sys.argv)


main()
