"""Runs the local stack in this process group until standard input ends, then ends the whole group.

Who has started it holds the other end of standard input. However that process goes, by a return, a panic or a kill, the
pipe ends with it, and neither the stack nor a function that the stack started outlives it.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading

# It may have something to keep.
GRACE_S = 10

program, port, scratch, *settings = sys.argv[1:]
# Nothing else is handed down: functions inherit the stack's environment.
environment = {
    "PATH": os.environ["PATH"],
    "HOME": scratch,
    "TMPDIR": scratch,
    "PYTHONUNBUFFERED": "1",
    "GATEWAY_PORT": port,
    "BIND_HOST": "127.0.0.1",
    "MINISTACK_HOST": "127.0.0.1",
    **dict(setting.split("=", 1) for setting in settings),
}
# Where functions that are built for it write what of them was run.
if "LLVM_PROFILE_FILE" in os.environ:
    environment["LLVM_PROFILE_FILE"] = os.environ["LLVM_PROFILE_FILE"]
stack = subprocess.Popen([program], stdin=subprocess.DEVNULL, cwd=scratch, env=environment)
over = threading.Event()


def watch(wait):
    """Ends this program once `wait` returns."""
    threading.Thread(target=lambda: (wait(), over.set()), daemon=True).start()


watch(stack.wait)
watch(lambda: os.read(sys.stdin.fileno(), 1))
over.wait()

signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.killpg(0, signal.SIGTERM)
try:
    stack.wait(GRACE_S)
except subprocess.TimeoutExpired:
    pass
shutil.rmtree(scratch, ignore_errors=True)
os.killpg(0, signal.SIGKILL)
