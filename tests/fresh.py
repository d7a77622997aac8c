"""Code in an interpreter that has run nothing before: one that only hashes otherwise.

What takes long to import is imported once, without this library; then a child is forked
for each code.
"""

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

_SERVER = """
import json, os, sys
import pandas, skorch, sklearn.ensemble, torch
torch.set_num_threads(1)
for line in sys.stdin:
    code, arguments, out = json.loads(line)
    child = os.fork()
    if not child:
        try:
            told = os.open(out, os.O_WRONLY | os.O_CREAT)
            os.dup2(told, 1)
            os.dup2(told, 2)
            sys.argv[1:] = arguments
            exec(compile(code, "<code>", "exec"), {"__name__": "__main__"})
            sys.stdout.flush()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def run(code: str, *arguments: str) -> str:
    """Run code in a fresh interpreter; return what it prints."""
    server = _started()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told"
        server.stdin.write(json.dumps([code, arguments, str(told)]) + "\n")
        server.stdin.flush()
        exit_code = int(server.stdout.readline())
        text = told.read_text(encoding="utf-8")
    assert exit_code == 0, text
    return text


@functools.cache
def _started() -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONHASHSEED": "random"},
        text=True,
    )
    atexit.register(server.communicate)  # which closes its input, and so ends it
    return server
