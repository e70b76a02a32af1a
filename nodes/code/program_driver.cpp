#include "nodes/code/program_driver.h"

namespace rewardloom {

std::string_view program_driver() {
  return R"PY(# Much of this is not for the driver: a program that imports it has it without reading a file.
import array, ast, atexit, bisect, builtins, collections, copy, datetime, decimal, fractions
import functools, gc, heapq, io, itertools, json, linecache, math, mmap, operator, os, re, resource
import select, signal, socket, stat, string, struct, sys, time, traceback, types, typing

# A new seed in every child would make results differ from run to run, and cost time.
registered, os.register_at_fork = os.register_at_fork, lambda **hooks: None
import random

os.register_at_fork = registered
random.seed(0)

COMMANDS, ANSWERS, TESTS = 3, 4, 5
HOME, FOLDER = "/tmp", "/tmp/work"
MOST_FILES = 4096
MOST_DESCRIPTORS = 256
TICK = 0.05
OWN_PROCESSES = 2
ENTERED, NOT_COMPILED = 1, 2
FLAG = mmap.mmap(-1, mmap.PAGESIZE)
SHOWN = 400


def short(text, limit=SHOWN):
    text = str(text).encode("utf-8", "replace").decode()
    return text if len(text) <= limit else text[: limit - 4] + " ..."


# ---- frames ----


def read_exactly(fd, size):
    parts = []
    while size > 0:
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_frame(fd):
    return read_exactly(fd, struct.unpack("<I", read_exactly(fd, 4))[0])


def write_all(fd, data):
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def write_frame(fd, body):
    write_all(fd, struct.pack("<I", len(body)) + body)


# ---- in a case's processes, before anything foreign runs ----

HARD = {kind: resource.getrlimit(kind)[1]
        for kind in (resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_FSIZE,
                     resource.RLIMIT_NPROC, resource.RLIMIT_STACK, resource.RLIMIT_CORE,
                     resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE, resource.RLIMIT_NOFILE)}


def lowered(kind, value):
    hard = HARD[kind]
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def set_limits(job):
    seconds = int(math.ceil(job["seconds"])) + 1
    for kind, value in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, job["memory"]),
                        (resource.RLIMIT_FSIZE, job["file"]),
                        (resource.RLIMIT_NPROC, job["processes"] + OWN_PROCESSES)):
        value = lowered(kind, value)
        resource.setrlimit(kind, (value, value))


def enter(streams, kept=()):
    """Takes the child away from the driver: streams, descriptors (kept ones from 3 on), signals."""
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
    spare = [os.dup(fd) for fd in kept]
    for number, fd in enumerate(spare):
        os.dup2(fd, 3 + number, inheritable=False)
    os.closerange(3 + len(kept), MOST_DESCRIPTORS)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.setsid()


def hand_over(state=ENTERED):
    """Says that what happens from here on is the program's doing; it can say no more after that."""
    FLAG[0] = state
    FLAG.close()


def new_module(name):
    module = types.ModuleType(name)
    module.__dict__["__builtins__"] = builtins
    sys.modules[name] = module
    sys.path.insert(0, FOLDER)
    return module


def own_traceback(error, name):
    """The trace from the program's own first frame on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != name:
        trace = trace.tb_next
    return error.with_traceback(trace)


def exit_code(error):
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr)
    return 1


def end_python(status):
    try:
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        status = status or 1
    os._exit(status)


def compiled(source, name):
    try:
        return compile(source, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        where = getattr(error, "lineno", None)
        text = "%s: %s" % (type(error).__name__, getattr(error, "msg", None) or error)
        write_all(2, short(text + (" (line %s)" % where if where else "")).encode())
        hand_over(NOT_COMPILED)
        os._exit(1)


def run_python(source):
    module = new_module("__main__")
    code = compiled(source, "program.py")
    hand_over()
    status = 0
    try:
        exec(code, module.__dict__)
    except SystemExit as error:
        status = exit_code(error)
    except BaseException as error:
        own = own_traceback(error, "program.py")
        traceback.print_exception(type(own), own, own.__traceback__)
        status = 1
    end_python(status)


# ---- asserts: the test and the program live in processes of their own and pass plain data ----


class Ended(Exception):
    """The other side is gone."""


class Cannot(Exception):
    """A value of the test that cannot travel."""


class Nonsense(Exception):
    """What the program sent is no value."""


class Peer:
    """Calls in both directions over one socket. A frame is a request or the reply to one."""

    def __init__(self, fd):
        self.fd = fd
        self.kept = {}
        self.depth = 0

    def send(self, message):
        body = json.dumps(message).encode()
        try:
            write_frame(self.fd, body)
        except OSError:
            raise Ended

    def receive(self):
        try:
            return json.loads(read_frame(self.fd))
        except (EOFError, OSError):
            raise Ended

    def ask(self, request):
        self.send({"ask": request})
        while True:
            message = self.receive()
            if not isinstance(message, dict) or "ask" not in message:
                return message
            self.send(self.answer(message["ask"]))

    def keep(self, value):
        self.kept[id(value)] = value
        return ["h", id(value), type(value).__name__]

    def encode(self, value):
        if value is None or value is True or value is False:
            return value
        kind = type(value)
        if kind is str or kind is int or kind is float:
            return value
        if isinstance(value, bool):
            return bool(value)
        if isinstance(value, int):
            return int.__add__(value, 0)
        if isinstance(value, float):
            return float.__add__(value, 0.0)
        if isinstance(value, str):
            return "".join(str.__iter__(value))
        if isinstance(value, list):
            return ["l"] + [self.encode(item) for item in list.__iter__(value)]
        if isinstance(value, tuple):
            return ["t"] + [self.encode(item) for item in tuple.__iter__(value)]
        if isinstance(value, dict):
            return ["d"] + [[self.encode(k), self.encode(v)] for k, v in dict.items(value)]
        if isinstance(value, set):
            return ["s"] + [self.encode(item) for item in set.__iter__(value)]
        if isinstance(value, frozenset):
            return ["f"] + [self.encode(item) for item in frozenset.__iter__(value)]
        if isinstance(value, bytes):
            return ["b", bytes.hex(value)]
        if isinstance(value, bytearray):
            return ["B", bytearray.hex(value)]
        if kind is complex:
            return ["c", value.real, value.imag]
        if kind is decimal.Decimal:
            return ["D", str(value)]
        if kind is fractions.Fraction:
            return ["F", value.numerator, value.denominator]
        if kind is collections.deque:
            return ["q"] + [self.encode(item) for item in value]
        if kind is range:
            return ["r", value.start, value.stop, value.step]
        if kind is type and getattr(builtins, value.__name__, None) is value:
            return ["y", value.__name__]
        return self.other(value)

    def decode(self, item):
        if not isinstance(item, list):
            if isinstance(item, dict):
                raise Nonsense("no value")
            return item
        tag, rest = item[0], item[1:]
        if tag == "l":
            return [self.decode(part) for part in rest]
        if tag == "t":
            return tuple([self.decode(part) for part in rest])
        if tag == "d":
            return {self.decode(k): self.decode(v) for k, v in rest}
        if tag == "s":
            return {self.decode(part) for part in rest}
        if tag == "f":
            return frozenset(self.decode(part) for part in rest)
        if tag == "b":
            return bytes.fromhex(rest[0])
        if tag == "B":
            return bytearray.fromhex(rest[0])
        if tag == "c":
            return complex(*rest)
        if tag == "D":
            return decimal.Decimal(rest[0])
        if tag == "F":
            return fractions.Fraction(*rest)
        if tag == "q":
            return collections.deque(self.decode(part) for part in rest)
        if tag == "r":
            return range(*rest)
        if tag == "y" and isinstance(getattr(builtins, rest[0], None), type):
            return getattr(builtins, rest[0])
        return self.object(tag, rest)


def refill(old, new):
    """Gives a list, dictionary or set of ours what the other side has made of it."""
    if isinstance(old, list) and isinstance(new, list):
        old[:] = new
    elif isinstance(old, (dict, set)) and type(old) is type(new):
        old.clear()
        old.update(new)


class ProgramPeer(Peer):
    """The program's side: answers what the test asks."""

    def other(self, value):
        return self.keep(value)

    def object(self, tag, rest):
        if tag == "h":
            return self.kept[rest[0]]
        number = rest[0]

        def callback(*values):
            reply = self.ask({"call": number, "values": self.encode(values)})
            if "raise" in reply:
                raise ValueError(reply["raise"])
            return self.decode(reply["value"])

        return callback

    def answer(self, request):
        try:
            return self.value(request)
        except Ended:
            os._exit(1)
        except BaseException as error:
            names = [kind.__name__ for kind in type(error).__mro__]
            trace = traceback.extract_tb(error.__traceback__)
            lines = [frame.lineno for frame in trace if frame.filename == "program.py"]
            return {"raise": names, "text": short(error), "line": lines[-1] if lines else 0}

    def value(self, request):
        of = request["of"]
        target = self.names[of] if isinstance(of, str) else self.kept[of]
        what = request["what"]
        if what == "get":
            return {"value": self.encode(target)}
        if what == "call":
            given = request["values"], request["named"]
            values, named = self.decode(given[0]), self.decode(given[1])
            result = target(*values, **named)
            reply = {"value": self.encode(result)}
            after = [self.encode(list(values)), self.encode(named)]
            if after[0][1:] != given[0][1:] or after[1] != given[1]:
                reply["after"] = after
            return reply
        if what == "attribute":
            return {"value": self.encode(getattr(target, request["name"]))}
        if what == "item":
            return {"value": self.encode(target[self.decode(request["name"])])}
        if what == "set":
            setattr(target, request["name"], self.decode(request["value"]))
            return {"value": None}
        if what == "put":
            target[self.decode(request["name"])] = self.decode(request["value"])
            return {"value": None}
        if what == "truth":
            return {"value": bool(target)}
        if what == "length":
            return {"value": self.encode(len(target))}
        if what == "text":
            return {"value": self.encode(str(target))}
        if what == "iterate":
            return {"value": self.keep(iter(target))}
        if what == "next":
            try:
                return {"value": ["t", self.encode(next(target))]}
            except StopIteration:
                return {"value": ["t"]}
        if what == "equal":
            return {"value": bool(target == self.kept[request["name"]])}
        raise ValueError(what)


def kind_of(value):
    return "call" if callable(value) else "module" if isinstance(value, types.ModuleType) else "value"


def load_fault(error, is_syntax):
    text = "%s: %s" % (type(error).__name__, short(getattr(error, "msg", None) or error))
    line = getattr(error, "lineno", None)
    if not is_syntax:
        trace = traceback.extract_tb(error.__traceback__)
        line = ([f.lineno for f in trace if f.filename == "program.py"] or [None])[-1]
    return text + (" (line %s)" % line if line else "")


def run_program(source):
    module = new_module("program")
    peer = ProgramPeer(3)
    code = None
    hand_over()
    try:
        code = compile(source, "program.py", "exec", dont_inherit=True)
        exec(code, module.__dict__)
        peer.names = module.__dict__
        names = {name: kind_of(value) for name, value in list(module.__dict__.items())
                 if isinstance(name, str)}
        peer.send({"loaded": names})
    except Ended:
        os._exit(1)
    except BaseException as error:
        peer.send({"failed": load_fault(error, code is None), "compile": code is None})
        os._exit(1)
    try:
        while True:
            message = peer.receive()
            peer.send(peer.answer(message["ask"]))
    except BaseException:
        os._exit(1)


class Foreign:
    """An object that stays with the program; only plain data comes back from it."""

    def __init__(self, peer, of, kind):
        self.__dict__.update(peer_=peer, of_=of, kind_=kind)

    def __call__(self, *values, **named):
        return self.peer_.call(self.of_, values, named)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self.peer_.get(self.of_, "attribute", name=name)

    def __getitem__(self, key):
        return self.peer_.get(self.of_, "item", name=self.peer_.encode(key))

    def __setattr__(self, name, value):
        self.peer_.get(self.of_, "set", name=name, value=self.peer_.encode(value))

    def __setitem__(self, key, value):
        encode = self.peer_.encode
        self.peer_.get(self.of_, "put", name=encode(key), value=encode(value))

    def __bool__(self):
        return self.peer_.get(self.of_, "truth") is True

    def __len__(self):
        return int(self.peer_.get(self.of_, "length"))

    def __str__(self):
        text = self.peer_.get(self.of_, "text")
        return text if isinstance(text, str) else ""

    def __repr__(self):
        return "<%s of the program>" % self.kind_

    def __iter__(self):
        return self.peer_.get(self.of_, "iterate")

    def __next__(self):
        found = self.peer_.get(self.of_, "next")
        if not found:
            raise StopIteration
        return found[0]

    def __eq__(self, other):
        if not isinstance(other, Foreign):
            return False
        if self.of_ == other.of_:
            return True
        if isinstance(self.of_, str) or isinstance(other.of_, str):
            return False
        return self.peer_.get(self.of_, "equal", name=other.of_) is True

    def __hash__(self):
        return hash(self.of_)


class FromProgram(Exception):
    """An exception of the program for which the test has no class."""


class TestPeer(Peer):
    def other(self, value):
        if isinstance(value, Foreign):
            if isinstance(value.of_, str):
                return self.encode_name(value)
            return ["h", value.of_, value.kind_]
        if callable(value):
            return ["k"] + self.keep(value)[1:]
        raise Cannot("the test gives the program a value of type %s, which is no plain data"
                     % type(value).__name__)

    def encode_name(self, value):
        found = self.ask({"of": value.of_, "what": "get"}).get("value")
        if isinstance(found, list) and found[:1] == ["h"]:
            return found
        raise Nonsense("no value")

    def object(self, tag, rest):
        if tag != "h" or not isinstance(rest[0], int):
            raise Nonsense("no value")
        return Foreign(self, rest[0], short(rest[1], 60))

    def answer(self, request):
        """The program calls a function that the test passed to it, and can do nothing else."""
        try:
            target = self.kept[request["call"]]
            return {"value": self.encode(target(*self.decode(request["values"])))}
        except Ended:
            raise
        except BaseException as error:
            return {"raise": short(error)}

    def reply(self, request):
        message = self.ask(request)
        if "raise" not in message:
            return message
        names = [name for name in message["raise"] if isinstance(name, str)]
        text = "%s: %s" % (names[0] if names else "?", short(message.get("text", "")))
        if message.get("line"):
            text += " (line %s)" % short(message["line"], 20)
        for name in names:
            kind = getattr(builtins, name, None)
            if isinstance(kind, type) and issubclass(kind, Exception) and kind is not Exception:
                try:
                    error = kind(message.get("text", ""))
                    error.from_program = text
                except Exception:
                    continue
                raise error
        error = FromProgram(message.get("text", ""))
        error.from_program = text
        raise error

    def get(self, of, what, **more):
        return self.decode(self.reply(dict(more, of=of, what=what))["value"])

    def call(self, of, values, named):
        message = self.reply({"of": of, "what": "call", "values": self.encode(values),
                              "named": self.encode(named)})
        if "after" in message:
            after = message["after"]
            for old, new in zip(values, self.decode(after[0])):
                refill(old, new)
            for name, new in self.decode(after[1]).items():
                refill(named.get(name), new)
        return self.decode(message["value"])


class Names(dict):
    """The test's global names; what it does not know is the program's."""

    def __init__(self, peer, program, shadowed, modules):
        super().__init__(__name__="__test__", __builtins__=builtins)
        self.peer, self.program = peer, program
        self.shadowed, self.test_modules = shadowed, modules

    def __missing__(self, name):
        if name not in self.shadowed:
            if hasattr(builtins, name):
                raise KeyError(name)
            if name in self.test_modules:
                return __import__(name)
        kind = self.program.get(name)
        if kind is None:
            raise KeyError(name)
        if kind == "call":
            return Foreign(self.peer, name, name)
        return self.peer.get(name, "get")


def names_of(tree):
    """Names that are called, and names whose attributes are used."""
    called, bases = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called.add(node.func.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            bases.add(node.value.id)
    return called, bases


def judge(test, peer, verdict):
    loaded = peer.receive()
    if "failed" in loaded:
        kind = "compile_error" if loaded.get("compile") is True else "error"
        return verdict(kind, short(loaded["failed"]))
    program = loaded["loaded"]
    source = test["code"]
    try:
        tree = ast.parse(source, "test.py")
        code = compile(tree, "test.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return verdict("fault", "the test does not compile: %s" % short(error))
    called, bases = names_of(tree)
    shadowed = {test["entry"]} if test["entry"] else set()
    # sum(10, 15) == 6 means the program's sum, where the test calls nothing else of the program.
    if not shadowed and not any(name in program and not hasattr(builtins, name) for name in called):
        shadowed |= {name for name in called if program.get(name) == "call"}
    modules = {name for name in bases if name in sys.stdlib_module_names}
    names = Names(peer, program, shadowed, modules)
    sys.setrecursionlimit(10000)
    try:
        exec(code, names)
    except Ended:
        return verdict("ended", "the program ended before the test did")
    except Cannot as error:
        return verdict("fault", short(error))
    except BaseException as error:
        text = getattr(error, "from_program", None)
        if text is not None:
            return verdict("error", short(text))
        trace = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == "test.py"]
        lines = source.splitlines()
        line = trace[-1].lineno if trace else 0
        shown = lines[line - 1].strip() if 0 < line <= len(lines) else ""
        if isinstance(error, AssertionError):
            return verdict("wrong", short(str(error) or shown))
        return verdict("error", short("%s: %s (test: %s)" % (type(error).__name__, error, shown)))
    verdict("pass", "")


def run_test(job):
    """Verdicts go through descriptor 4, which the program's process never has."""

    def verdict(kind, text):
        write_all(4, json.dumps([kind, text]).encode())
        os._exit(0)

    test = json.loads(read_frame(5))
    os.close(5)
    set_limits(job)
    write_all(4, b"R")
    try:
        judge(test, TestPeer(3), verdict)
    except Ended:
        verdict("ended", "the program ended before the test did")
    except BaseException as error:
        verdict("error", "the program answers nonsense: " + short(error))


# ---- the driver ----


class Lost(Exception):
    """The driver cannot go on; the sandbox is to be replaced."""


def reap(statuses):
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid in statuses:
            statuses[pid] = status


def hung_up():
    poller = select.poll()
    poller.register(ANSWERS, 0)
    return bool(poller.poll(0))


def files_in_use():
    home = os.statvfs(HOME)
    return home.f_files - home.f_ffree


def wait(pids, main, seconds, check):
    """Until `main` has ended, time is up or `check` says why not to go on."""
    end = time.monotonic() + seconds
    while True:
        reap(pids)
        if pids[main] is not None:
            return None
        left = end - time.monotonic()
        if left <= 0:
            return "timeout"
        signal.sigtimedwait([signal.SIGCHLD], min(left, TICK))
        reason = check()
        if reason and pids[main] is None:
            reap(pids)
            if pids[main] is None:
                return reason


def sweep(pids):
    """Kills every other process of the sandbox: this one is its process 1."""
    end = time.monotonic() + 10
    while True:
        try:
            os.kill(-1, signal.SIGKILL)
        except OSError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                break
            if pid in pids and pids[pid] is None:
                pids[pid] = status
        if time.monotonic() > end:
            raise Lost
        signal.sigtimedwait([signal.SIGCHLD], 0.005)


def wipe(folder):
    """How many entries were removed."""
    count = 0
    try:
        os.chmod(folder, 0o700)
        entries = list(os.scandir(folder))
    except OSError:
        return count
    for entry in entries:
        count += 1
        if entry.is_dir(follow_symlinks=False):
            count += wipe(entry.path)
            os.rmdir(entry.path)
        else:
            os.unlink(entry.path)
    return count


def fresh_folder():
    removed = wipe(HOME)
    os.mkdir(FOLDER, 0o700)
    os.chdir(FOLDER)
    return removed


def scratch():
    return os.open(HOME, os.O_TMPFILE | os.O_RDWR, 0o600)


def head_of(fd, size):
    return os.pread(fd, size, 0)


class Streams:
    def __init__(self, data=b""):
        self.input, self.out, self.error = scratch(), scratch(), scratch()
        write_all(self.input, data)
        os.lseek(self.input, 0, os.SEEK_SET)

    def list(self):
        return (self.input, self.out, self.error)

    def too_long(self, most):
        return max(os.fstat(self.out).st_size, os.fstat(self.error).st_size) >= most

    def close(self):
        for fd in self.list():
            os.close(fd)


def why_stopped(job, streams):
    def check():
        if streams.too_long(job["file"]):
            return "output"
        if files_in_use() > job["files"]:
            return "files"
        if hung_up():
            os._exit(0)
        return None

    return check


def spawn(function, *values):
    pid = os.fork()
    if pid != 0:
        return pid
    try:
        function(*values)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


class Driver:
    def __init__(self):
        self.binary = None
        self.retire = False

    def answer(self, facts, out=b"", error=b""):
        facts["sizes"] = [len(out), len(error)]
        write_frame(ANSWERS, json.dumps(facts).encode() + b"\0" + out + error)

    def finish(self, pids):
        sweep(pids)
        try:
            self.retire = fresh_folder() > MOST_FILES
        except (OSError, RecursionError):
            self.retire = True

    def check_entered(self, reason):
        if FLAG[0] == 0 and reason is None:
            raise Lost("a process could not be prepared for its program")

    def ended(self, job, streams, pids, main, reason, seconds):
        facts = {"stopped": reason, "status": pids[main], "seconds": seconds}
        if streams.too_long(job["file"]):
            facts["stopped"] = "output"
        facts["compiled"] = FLAG[0] != NOT_COMPILED
        facts["retire"] = self.retire
        return facts

    def stdio(self, job, kept, body, *values):
        streams = Streams(job["input"].encode("utf-8", "surrogatepass"))
        start = time.monotonic()

        def child():
            enter(streams.list(), kept)
            set_limits(job)
            body(*values)

        FLAG[0] = 0
        main = spawn(child)
        pids = {main: None}
        reason = wait(pids, main, job["seconds"], why_stopped(job, streams))
        seconds = time.monotonic() - start
        self.finish(pids)
        self.check_entered(reason)
        facts = self.ended(job, streams, pids, main, reason, seconds)
        out = b"" if facts["stopped"] else head_of(streams.out, job["file"])
        error = head_of(streams.error, 2048)
        streams.close()
        self.answer(facts, out, error)

    def asserts(self, job):
        streams = Streams()
        ours, theirs = socket.socketpair()
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        start = time.monotonic()

        def tester():
            null = os.open("/dev/null", os.O_RDWR)
            enter((null, null, null), (ours.fileno(), writer, TESTS))
            run_test(job)

        def program():
            enter(streams.list(), (theirs.fileno(),))
            set_limits(job)
            run_program(job["source"])

        FLAG[0] = 0
        test = spawn(tester)
        pids = {test: None}
        seen = b""
        # The test's own text is read by its process alone, before the program's exists.
        while not seen:
            select.select([reader], [], [], TICK)
            try:
                seen = os.read(reader, 1)
            except BlockingIOError:
                pass
            reap(pids)
            if (not seen and pids[test] is not None) or time.monotonic() - start > 20 or hung_up():
                raise Lost("the test's process could not be prepared")
        del seen
        job_program = spawn(program)
        pids[job_program] = None
        ours.close()
        theirs.close()
        os.close(writer)
        reason = wait(pids, test, job["seconds"], why_stopped(job, streams))
        seconds = time.monotonic() - start
        try:
            found = os.read(reader, 1 << 16)
        except BlockingIOError:
            found = b""
        os.close(reader)
        if found and pids[job_program] is None and json.loads(found)[0] == "ended":
            # It is on its way out.
            wait(pids, job_program, 1.0, lambda: None)
        program_status = pids[job_program]
        self.finish(pids)
        self.check_entered(reason)
        facts = self.ended(job, streams, pids, test, reason, seconds)
        facts["verdict"] = json.loads(found) if found else None
        facts["status"] = program_status
        error = head_of(streams.error, 2048)
        streams.close()
        self.answer(facts, b"", error)

    def compile(self, job):
        if self.binary is not None:
            os.close(self.binary)
            self.binary = None
        streams = Streams()
        if not os.path.exists(job["compiler"]):
            self.answer({"missing": job["compiler"]})
            return
        with open(FOLDER + "/program.cpp", "wb") as file:
            file.write(job["source"].encode("utf-8", "surrogatepass"))

        def child():
            enter(streams.list())
            set_limits(job)
            FLAG[0] = ENTERED
            os.execve(job["compiler"], [job["compiler"]] + job["flags"] +
                      ["-o", "program", "program.cpp"], dict(os.environ))

        start = time.monotonic()
        main = spawn(child)
        pids = {main: None}
        reason = wait(pids, main, job["seconds"], why_stopped(job, streams))
        seconds = time.monotonic() - start
        self.check_entered(reason)
        if reason is None and pids[main] == 0:
            self.binary = os.open(FOLDER + "/program", os.O_RDONLY)
        self.finish(pids)
        facts = self.ended(job, streams, pids, main, reason, seconds)
        error = head_of(streams.error, 2048)
        streams.close()
        self.answer(facts, b"", error)

    @staticmethod
    def run_binary():
        kind = resource.RLIMIT_STACK
        resource.setrlimit(kind, (lowered(kind, 64 << 20), HARD[kind]))
        FLAG[0] = ENTERED
        try:
            os.execve(3, ["program"], dict(os.environ))
        finally:
            FLAG[0] = 0

    def run(self, job):
        kind = job["kind"]
        if kind == "python":
            self.stdio(job, (), run_python, job["source"])
        elif kind == "asserts":
            self.asserts(job)
        elif kind == "compile":
            self.compile(job)
        else:
            self.stdio(job, (self.binary,), self.run_binary)


def prepare():
    """What every child inherits, so that none need do it."""
    sys.path[:] = [place for place in sys.path if place]
    sys.argv = ["program.py"]
    sys.stdin = io.TextIOWrapper(open(0, "rb", closefd=False), "utf-8", "surrogateescape")
    sys.stdout = io.TextIOWrapper(open(1, "wb", closefd=False), "utf-8", "backslashreplace")
    sys.stderr = io.TextIOWrapper(open(2, "wb", closefd=False), "utf-8", "backslashreplace",
                                  line_buffering=True)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)
    for kind, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_MEMLOCK, 0),
                        (resource.RLIMIT_MSGQUEUE, 0), (resource.RLIMIT_NOFILE, MOST_DESCRIPTORS)):
        value = lowered(kind, value)
        resource.setrlimit(kind, (value, value))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What no limit holds for the driver itself, so that only a program meets it.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def warm_up():
    """Makes here, once, what Python makes when something is used for the first time."""
    tree = ast.parse("assert f(1, a=[2]).b[0] == {'c': 3.0} and g(lambda x: x)", "test.py")
    compile(tree, "test.py", "exec", dont_inherit=True)
    names_of(tree)
    peer = ProgramPeer(-1)
    value = [1, "a", (2.0, None), {"b": {3}}, b"c", warm_up]
    peer.decode(json.loads(json.dumps({"value": peer.encode(value)}))["value"])
    exec(compile("def f(x): return x\n", "program.py", "exec"), types.ModuleType("m").__dict__)


def processes_are_limited():
    """Whether RLIMIT_NPROC holds: for root it does not, and a fork bomb would take the machine."""
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        try:
            if os.fork() == 0:
                os._exit(0)
        except BlockingIOError:
            os._exit(0)
        os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def main():
    prepare()
    driver = Driver()
    fresh_folder()
    warm_up()
    gc.collect()
    gc.freeze()
    limited = processes_are_limited()
    sweep({})
    driver.answer({"ready": sys.version.split()[0], "limited": limited})
    if not limited:
        return
    while not driver.retire:
        try:
            frame = read_frame(COMMANDS)
        except EOFError:
            return
        driver.run(json.loads(frame))


main()
)PY";
}

}  // namespace rewardloom
