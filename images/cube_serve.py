"""Serves the tiles of a batch in Python (capabilities.batch of producer.yaml).

Either every tile gets a process of its own, forked beforehand from one that has
imported what takes long, and the script stays as it is:

    image:
      serve: true
      command: [/usr/bin/python3.11, -m, cube_serve, --preload, "numpy,rasterio", /app/main.py]

or one process serves them all, and keeps nothing between them that changes a
value:

    from cube_serve import serve

    def tile():  # reads /cube/request.json, writes below /cube/out
        ...

    serve(tile)

A tile ends as a program does: by returning, by sys.exit(code), or by an
exception, which is code 1. Without CUBE_SERVE in the environment there is no
batch, and both do one tile and exit.
"""

import atexit
import fcntl
import gc
import importlib
import os
import select
import signal
import sys
import threading
import traceback
import types

REQUESTS, ANSWERS = 0, 3


def serve(handler):
    """Calls handler() for each tile, in this process, and exits when there are no more."""
    home = os.getcwd()
    if not _batched():
        sys.exit(_code(handler))
    while _requested():
        os.chdir(home)
        _answer(_code(handler))
    sys.exit(0)


def _batched():
    return os.environ.get("CUBE_SERVE") == "1"


def _requested():
    """Waits for a request: a line. The end of the input is no request."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(REQUESTS, 1)
        if not byte:
            return False
        line += byte
    return True


def _answer(code):
    os.write(ANSWERS, b"%d\n" % code)


def _code(handler):
    """The exit code that a program would have that does this and no more."""
    try:
        handler()
        code = 0
    except SystemExit as end:
        code = _exit_code(end.code)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _exit_code(value):
    if value is None:
        return 0
    if isinstance(value, int):
        return value & 0xFF
    print(value, file=sys.stderr)
    return 1


class _Forked:
    """A process for one tile, which waits until it is told that the tile is there.

    It is forked beforehand, while another tile runs in a process of its own, so
    that no tile waits for a fork. It is a copy of a process that runs no tile.
    """

    def __init__(self, run):
        sys.stdout.flush()
        sys.stderr.flush()
        told, self.tell = os.pipe()
        self.said, say = os.pipe()
        try:
            self.pid = os.fork()
        except OSError:
            for end in told, self.tell, self.said, say:
                os.close(end)
            raise
        if self.pid == 0:
            os.close(self.tell)
            os.close(self.said)
            say = _aside(say)
            _wait(told)
            _end(_code(run), say)
        os.close(told)
        os.close(say)
        self.status = None

    def go(self):
        """Has it run its tile; false where it is no more."""
        try:
            os.write(self.tell, b"\n")
        except BrokenPipeError:
            self.end()
            return False
        os.close(self.tell)
        return True

    def end(self):
        """Ends it where it has no tile to run."""
        os.close(self.tell)
        self.code()

    def code(self):
        """Waits for what the tile comes to, ends all that is left of it, and returns its exit code.

        A process that has said its code has nothing left to do, and takes a
        while to end: reap waits for that.
        """
        said = self._word()
        if not said:
            self.reap()
        os.close(self.said)
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if said:
            return said[0]
        code = os.waitstatus_to_exitcode(self.status)
        return code if code >= 0 else 128 - code

    def _word(self):
        """The byte that it says at its end; empty where it ends without one, or where only its end can be waited for."""
        try:
            ended = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            return b""
        poll = select.poll()  # a process that the tile leaves behind may hold the pipe open
        poll.register(self.said, select.POLLIN)
        poll.register(ended, select.POLLIN)
        ready = dict(poll.poll())
        os.close(ended)
        return os.read(self.said, 1) if self.said in ready else b""

    def reap(self):
        """Waits for its end."""
        if self.status is None:
            _, self.status = os.waitpid(self.pid, 0)


def _wait(told):
    """Waits, in a forked process, for its tile, and has what a process of its own would have."""
    os.setpgid(0, 0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, REQUESTS)
    os.close(null)
    os.close(ANSWERS)
    if not os.read(told, 1):  # no tile is left
        os._exit(0)
    os.close(told)


def _aside(fd):
    """Moves a descriptor out of the way of those that the tile opens."""
    aside = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 500)
    os.close(fd)
    return aside


def _serve_forked(run):
    """Runs each tile in a process of its own."""
    ready = _Forked(run)
    while _requested():
        tile = ready
        while tile is None or not tile.go():
            tile = _Forked(run)
        try:
            ready = _Forked(run)
        except OSError:  # the tile has all processes or memory that there are
            ready = None
        _answer(tile.code())
        tile.reap()
    if ready:
        ready.end()


def _end(code, say):
    """Ends a forked process as the interpreter does, but for taking itself apart.

    That would touch, and so copy, every page that it shares with its parent.
    What is done is said first: the kernel takes its time with the rest.
    """
    try:
        threading._shutdown()  # waits for threads that are no daemons
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        code = code or 1
    try:
        os.write(say, bytes([code]))
    except OSError:  # the tile has closed it
        pass
    os._exit(code)


def main(args):
    """--preload a,b.c script argument…"""
    preload = []
    if args[:1] == ["--preload"] and len(args) > 1:
        preload, args = [name for name in args[1].split(",") if name], args[2:]
    if not args:
        sys.exit("cube_serve: which script? python3 -m cube_serve [--preload a,b] script.py")
    script = args[0]
    sys.argv, sys.path[0] = args, os.path.dirname(os.path.abspath(script))
    for name in preload:
        importlib.import_module(name)
    with open(script, "rb") as f:
        code = compile(f.read(), script, "exec")

    def run():
        module = types.ModuleType("__main__")
        module.__file__ = script
        sys.modules["__main__"] = module
        exec(code, module.__dict__)

    if not _batched():
        run()
        return
    gc.collect()
    gc.freeze()  # so that no child's collector copies what it shares with its parent
    _serve_forked(run)


if __name__ == "__main__":
    main(sys.argv[1:])
