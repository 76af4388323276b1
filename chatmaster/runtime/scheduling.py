"""How soon a process gets a core that others use: the time slice that it asks the kernel for (sched_setattr(2)).

Since Linux 6.12 a process of the ordinary policy may ask for a slice of 0.1 to 100 ms. Whoever asks for a short one
runs earlier after a wake-up and is interrupted earlier; the share of the core stays the same. Older kernels ignore it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from typing import Final

SHORTEST: Final = 100_000  # ns; the kernel's least. Its default on two cores is 1.4 ms

# asm/unistd.h of each machine; glibc has a function for it since 2.41 only.
_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274, "riscv64": 274}
_KEEP_POLICY: Final = 0x08  # SCHED_FLAG_KEEP_POLICY
_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQ")  # struct sched_attr: size, policy, flags, nice, priority, runtime, …

_syscall = ctypes.CDLL(None, use_errno=True).syscall


def ask_for_slice(nanoseconds: int) -> bool:
    """Ask for another time slice for this process and its later children; returns whether the kernel took it.

    Nice value and policy stay. A refusal (another machine, a seccomp filter, a real-time policy) does no harm: the
    process has the slice that it had.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, 0, _KEEP_POLICY, nice, 0, nanoseconds, 0, 0)
    return int(_syscall(number, 0, attributes, 0)) == 0
