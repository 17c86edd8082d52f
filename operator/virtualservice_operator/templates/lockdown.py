"""
The worker gives up what it does not need: memory and files by limits, system calls by seccomp.

The filter is an allow-list and is put in place once everything is imported: from then on no file can be opened, no
socket made, no process started or signalled, no other process looked at. What is refused fails with EPERM; nothing is
killed by it. It needs no privilege. Where the kernel or the machine has no seccomp, the reason is returned.
"""

import ctypes
import os
import platform
import resource
import struct
import sys
from typing import Final

MEMORY_LIMIT: Final = 256 * 1024 * 1024
CPU_SECONDS_OF_LIFE: Final = 600
# Standard input, output and error, which are open already.
DESCRIPTORS: Final = 3

_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 4, 22, 38
_SECCOMP_MODE_FILTER = 2
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | 1, 0x80000000  # EPERM is 1
_LOAD, _JUMP_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _THIRD_ARGUMENT = 0, 4, 16, 32
_PROT_EXEC = 4

# What Python needs to compute, to read its standard input and write its standard output, and to end.
_NEEDED: Final = (
    *("read", "write", "close", "fstat", "lseek", "munmap", "mremap", "brk", "madvise"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "futex", "sched_yield", "restart_syscall"),
    *("clock_gettime", "gettimeofday", "getrusage", "getpid", "exit", "exit_group", "getrandom"),
)
# These only without PROT_EXEC in their third argument, and prlimit64 only for the worker itself.
_WITHOUT_EXEC: Final = ("mmap", "mprotect")
_OWN: Final = ("prlimit64",)

_X86_64: Final = {
    "read": 0, "write": 1, "close": 3, "fstat": 5, "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12,
    "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "sched_yield": 24, "mremap": 25, "madvise": 28,
    "getpid": 39, "exit": 60, "gettimeofday": 96, "getrusage": 98, "sigaltstack": 131, "futex": 202,
    "restart_syscall": 219, "clock_gettime": 228, "exit_group": 231, "prlimit64": 302, "getrandom": 318,
}  # fmt: skip
_AARCH64: Final = {
    "close": 57, "lseek": 62, "read": 63, "write": 64, "fstat": 80, "exit": 93, "exit_group": 94, "futex": 98,
    "clock_gettime": 113, "sched_yield": 124, "restart_syscall": 128, "sigaltstack": 132, "rt_sigaction": 134,
    "rt_sigprocmask": 135, "rt_sigreturn": 139, "getrusage": 165, "gettimeofday": 169, "getpid": 172, "brk": 214,
    "munmap": 215, "mremap": 216, "mmap": 222, "mprotect": 226, "madvise": 233, "prlimit64": 261, "getrandom": 278,
}  # fmt: skip
# By machine: the kernel's number of the architecture, and its system calls.
_MACHINES: Final = {"x86_64": (0xC000003E, _X86_64), "aarch64": (0xC00000B7, _AARCH64)}


def limit_resources() -> None:
    """
    Bound memory, files, processes and core dumps; CPU time is bounded anew for each job.

    The number of processes is the user's, but it is looked at only where this process would start one (and not for root,
    which seccomp stops all the same).
    """
    for what, limit in (
        (resource.RLIMIT_AS, MEMORY_LIMIT),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, DESCRIPTORS),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CPU, CPU_SECONDS_OF_LIFE),
    ):
        resource.setrlimit(what, (limit, limit))


def limit_cpu(seconds: int) -> None:
    """Let the kernel end the process when it has used so much more CPU time: also when nobody watches it any more."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (min(soft, CPU_SECONDS_OF_LIFE), CPU_SECONDS_OF_LIFE))


def lock() -> str:
    """Allow no more system calls than are needed. Return '' where that holds, else why it does not."""
    known = _MACHINES.get(platform.machine())
    if sys.platform != "linux" or known is None:
        return f"there is no filter for {sys.platform} on {platform.machine()}"
    libc = ctypes.CDLL(None, use_errno=True)
    code = _filter(*known)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    held = ctypes.create_string_buffer(program, len(program))
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return f"no_new_privs: {os.strerror(ctypes.get_errno())}"
    address = ctypes.c_void_p(ctypes.addressof(held))
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, address, 0, 0) != 0:
        return f"seccomp: {os.strerror(ctypes.get_errno())}"
    return ""


def _filter(architecture: int, numbers: dict[str, int]) -> bytes:
    """
    Return the program of the filter.

    On x86_64 a number with bit 30 is a call of x32: it equals none of these, so it is refused.
    """
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    for name in _NEEDED:
        steps += [(_JUMP_EQUAL, 0, 1, numbers[name]), (_RETURN, 0, 0, _ALLOW)]
    for name in _WITHOUT_EXEC:
        steps += [
            (_JUMP_EQUAL, 0, 4, numbers[name]),
            (_LOAD, 0, 0, _THIRD_ARGUMENT),
            (_JUMP_SET, 0, 1, _PROT_EXEC),
            (_RETURN, 0, 0, _REFUSE),
            (_RETURN, 0, 0, _ALLOW),
        ]
    for name in _OWN:
        steps += [
            (_JUMP_EQUAL, 0, 4, numbers[name]),
            (_LOAD, 0, 0, _FIRST_ARGUMENT),
            (_JUMP_EQUAL, 0, 1, 0),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _REFUSE),
        ]
    steps.append((_RETURN, 0, 0, _REFUSE))
    return b"".join(struct.pack("HBBI", *step) for step in steps)
