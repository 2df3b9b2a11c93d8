"""A child process that never outlives the process that started it, however that one ends."""

import ctypes
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1


def tie_to_parent(lifeline: int, parent: int) -> None:
    """From now on this process is killed as soon as its parent is gone.

    Killed, not asked to end: a new server may be waiting for the port, and nothing that was acknowledged is lost.

    Args:
        lifeline: Read end of a pipe whose only write end the parent holds.
        parent: The parent's process id, as the parent knew it.
    """
    if sys.platform == "linux":
        # The kernel does it even when this process is busy in foreign code.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have ended before the call above.
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
    threading.Thread(target=_watch, args=(lifeline,), name="lifeline", daemon=True).start()


def _watch(lifeline: int) -> None:
    # Nobody ever writes: the read returns when the last write end is closed, that is when the parent is gone.
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGKILL)
