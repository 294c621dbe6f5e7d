"""Landlock, the sandbox of Linux that needs no root: a process gives up, for itself and all it starts, the rest of the
files. There is no way back.

What the kernel does not hold against, whatever its version: the mode, the owner and the times of a file can be changed
anywhere, and it can be seen that a file is there. Before version 9 a program of the person's that listens on a socket
file can be asked to do what the process itself may not.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path

LEAST = 3
"""The first version that holds what is written (Linux 6.2): with an older one every file can be emptied by its name."""
NEEDS = "Linux 6.2 or newer, with Landlock switched on"

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_SAME_NUMBERS = ("x86_64", "aarch64", "riscv64", "ppc64le", "s390x", "loongarch64")
"""Machines on which these are the numbers of the system calls."""
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION = 0x20080522
_KEPT_CAPABILITIES = sum(1 << each for each in (0, 1, 3, 4, 5, 6, 7, 10))
"""What root keeps: to own files and change their owner, to become another user, to end processes, low ports. Not what
reaches around the file system: devices, modules, the kernel's memory, other processes' memory, mounts."""


class Right(IntFlag):
    """What may be done to what lies below a folder, or to a file."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    """To move and link from one folder to another."""
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15
    RESOLVE_UNIX = 1 << 16
    """To talk to who listens on a socket file. What is made inside may always be talked to."""


READ = Right.EXECUTE | Right.READ_FILE | Right.READ_DIR
WRITE = (
    READ
    | (Right.WRITE_FILE | Right.TRUNCATE | Right.REMOVE_DIR | Right.REMOVE_FILE | Right.REFER)
    | (Right.MAKE_DIR | Right.MAKE_REG | Right.MAKE_SOCK | Right.MAKE_FIFO | Right.MAKE_SYM)
)
DEVICE = Right.READ_FILE | Right.WRITE_FILE | Right.TRUNCATE | Right.IOCTL_DEV
SCRATCH = Right.READ_FILE | Right.WRITE_FILE | Right.TRUNCATE | Right.MAKE_REG | Right.REMOVE_FILE
"""Files whose names are known can be made and used; which others there are cannot be listed."""
_OF_FILES = Right.EXECUTE | Right.WRITE_FILE | Right.READ_FILE | Right.TRUNCATE | Right.IOCTL_DEV | Right.RESOLVE_UNIX
_SCOPES = 0b11
"""No abstract socket and no signal reaches what is not in here (from version 6)."""
_SINCE = {Right.REFER: 2, Right.TRUNCATE: 3, Right.IOCTL_DEV: 5, Right.RESOLVE_UNIX: 9}


@dataclass(frozen=True, slots=True)
class Rule:
    """What may be done at and below a path. One that is not there when it counts allows nothing."""

    path: Path
    rights: Right


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    # The kernel's is packed: of this one it reads all but the padding at the end.
    _fields_ = (("rights", ctypes.c_uint64), ("fd", ctypes.c_int32))


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def version() -> int:
    """Which version of Landlock this kernel has; 0 where there is none, or it is switched off."""
    if not sys.platform.startswith("linux") or platform.machine() not in _SAME_NUMBERS:
        return 0
    try:
        return _call(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    except OSError:
        return 0


def why_not() -> str:
    """Why nothing can be confined here; '' if it can be."""
    found = version()
    if found >= LEAST:
        return ""
    if not sys.platform.startswith("linux"):
        return "this system has no Landlock"
    return f"this kernel has Landlock {found}, which is too old" if found else "this kernel has no Landlock"


def rights_of(found: int) -> Right:
    """All rights that a version of Landlock knows: what it knows and no rule gives is refused."""
    known = Right(0)
    for right in Right:
        if _SINCE.get(right, 1) <= found:
            known |= right
    return known


def restrict(rules: Iterable[Rule]) -> int:
    """Keep this process, and all it starts from now on, to what these rules allow. Which version of Landlock does it.

    Only for a process with a single thread: others would not be held. Where two rules meet, both count. Raises OSError;
    then the process is to end, for some of it may be in force.
    """
    found = version()
    if found < LEAST:
        raise OSError(errno.ENOSYS, why_not())
    handled = rights_of(found)
    # Older kernels know fewer fields, and refuse a longer value unless the rest of it is 0, as it is here.
    wanted = _Ruleset(fs=handled, net=0, scoped=_SCOPES if found >= 6 else 0)
    ruleset = _call(_CREATE_RULESET, ctypes.byref(wanted), ctypes.sizeof(wanted), 0)
    try:
        for rule in rules:
            _allow(ruleset, rule, handled)
        _give_up_capabilities()
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise _failure("prctl")
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return found


def _allow(ruleset: int, rule: Rule, handled: Right) -> None:
    try:
        fd = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # It is not there, or out of reach already.
    try:
        is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
        rights = rule.rights & handled if is_folder else rule.rights & handled & _OF_FILES
        if rights:
            _call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(_Beneath(rights=rights, fd=fd)), 0)
    finally:
        os.close(fd)


def _give_up_capabilities() -> None:
    """Of root's powers keep those of files and users. They do not come back: no new privileges means these too."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = _CapabilityHeader(_CAPABILITY_VERSION, 0), (_CapabilityData * 2)()
    if libc.capget(ctypes.byref(header), data):
        raise _failure("capget")
    for number, each in enumerate(data):
        kept = _KEPT_CAPABILITIES >> 32 * number & 0xFFFFFFFF
        each.permitted &= kept
        each.effective &= kept
        each.inheritable = 0
    if libc.capset(ctypes.byref(header), data):
        raise _failure("capset")


def _call(number: int, *arguments: object) -> int:
    """A system call. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    # Each as wide as a register, whatever it is: what is cut to an int on the way has other upper halves.
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *given)
    if result < 0:
        raise _failure("landlock")
    return result


def _failure(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
