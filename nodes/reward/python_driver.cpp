#include "nodes/reward/python_driver.h"

namespace rewardloom {

std::string_view python_driver() {
  return R"PY(import array
import ctypes
import fcntl
import importlib.util
import inspect
import json
import math
import os
import re
import resource
import select
import signal
import struct
import sys
import time
import traceback

DATA, CONTROL, STATUS = 3, 4, 5
CHANNEL_LOST = 97
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
VERL = ("data_source", "solution_str", "ground_truth", "extra_info")
TRL = ("prompts", "completions", "completion_ids", "completions_ids")


def prctl(option, value):
    words = [ctypes.c_ulong(word) for word in (value, 0, 0, 0)]
    if ctypes.CDLL(None, use_errno=True).prctl(option, *words) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


# ---- the supervisor: whatever the function starts is its descendant, and ends with it ----


def descendants():
    children = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/" + name + "/stat", "rb") as file:
                stat = file.read()
        except OSError:
            continue
        parent = int(stat[stat.rindex(b")") + 2 :].split()[1])
        children.setdefault(parent, []).append(int(name))
    found = list(children.get(os.getpid(), []))
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def reap(worker):
    """The wait status of the worker if it has ended; False once there is no child at all."""
    ended = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended if ended is not None else False
        if pid == 0:
            return ended
        if pid == worker:
            ended = status


def end_all(worker):
    pause = 0.001
    while True:
        for pid in descendants():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        if reap(worker) is False:
            return
        time.sleep(pause)
        pause = min(2 * pause, 0.1)


def supervise(worker):
    os.close(DATA)
    wake, waker = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda number, frame: None)
    poller = select.poll()
    poller.register(CONTROL, select.POLLIN)
    poller.register(wake, select.POLLIN)
    while True:
        status = reap(worker)
        if status is not None:
            end_all(worker)
            if status is not False:
                os.write(STATUS, str(status).encode())
            return
        if any(fd == CONTROL for fd, event in poller.poll()):
            break
        if set(os.read(wake, 4096)) - {signal.SIGCHLD}:
            break
    end_all(worker)


# ---- the worker ----


class Fault(Exception):
    """Why the run cannot begin: a code, a text and what to do about it."""


def clean(text):
    return str(text).encode("utf-8", "replace").decode("utf-8")


def short(text, limit=300):
    text = clean(text)
    return text if len(text) <= limit else text[: limit - 4] + " ..."


def shown(value):
    try:
        text = repr(value)
    except Exception:
        text = "<it has no repr>"
    kind = type(value).__name__
    return "None" if value is None else short(kind + " " + text, 100)


def identity(fd):
    try:
        stat = os.fstat(fd)
    except OSError:
        os._exit(CHANNEL_LOST)
    return stat.st_dev, stat.st_ino


class Channel:
    def __init__(self):
        # Far away from the low numbers, which functions close or reuse.
        self.fd = fcntl.fcntl(DATA, fcntl.F_DUPFD_CLOEXEC, 100)
        os.close(DATA)
        self.identity = identity(self.fd)
        self.reader = os.fdopen(self.fd, "rb", buffering=1 << 16, closefd=False)

    def check(self):
        if identity(self.fd) != self.identity:
            os._exit(CHANNEL_LOST)

    def receive(self):
        self.check()
        head = self.reader.read(4)
        if len(head) < 4:
            sys.exit(0)
        return self.reader.read(struct.unpack("<I", head)[0])

    def send(self, message):
        self.check()
        body = json.dumps(message).encode()
        left = memoryview(struct.pack("<I", len(body)) + body)
        while left:
            left = left[os.write(self.fd, left) :]


def place_of(error, path):
    """Where in the user's file (else anywhere) the error arose."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == path]
    frames = own or [frame for frame in frames if not frame.filename.startswith("<")]
    return (frames[-1].filename, frames[-1].lineno, frames[-1].name) if frames else None


def reason_of(error, path):
    try:
        text = type(error).__name__
        message = short(error)
        if message:
            text += ": " + message
        place = place_of(error, path)
        if place:
            text += " (%s:%d in %s)" % (os.path.basename(place[0]), place[1], place[2])
        return clean(text)
    except BaseException as second:
        return "%s (and %s while it was described)" % (type(error).__name__, type(second).__name__)


def syntax_fault(error, path):
    line = (error.text or "").strip()
    text = "%s:%s: %s" % (error.filename or path, error.lineno, error.msg)
    return Fault("python-syntax", text + (": " + line if line else ""),
                 "mend the file; python3 -m py_compile FILE checks it")


def import_fault(error, path):
    where = "%s:%d" % place_of(error, path)[:2] if place_of(error, path) else path
    if isinstance(error, ModuleNotFoundError):
        name = error.name or "?"
        return Fault("python-module",
                     '%s: needs the module "%s", which %s does not have'
                     % (where, name, sys.executable),
                     "install it for that interpreter, or set the parameter python to one with it")
    text = type(error).__name__ + (": " + short(error) if str(error) else "")
    return Fault("python-import", "%s: %s" % (where, text), "the file must load without an error")


def module_name(path):
    """The file's own name, so that its classes can be pickled; unless it hides another module."""
    name = os.path.splitext(os.path.basename(path))[0]
    taken = not name.isidentifier() or name in sys.modules
    if not taken:
        try:
            taken = importlib.util.find_spec(name) is not None
        except (ImportError, ValueError):
            taken = True
    return "reward_file_" + re.sub(r"\W", "_", name) if taken else name


def load_module(path, source):
    name = module_name(path)
    sys.path.append(os.path.dirname(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location(name, path))
    sys.modules[name] = module
    writes = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    except SyntaxError as error:
        raise syntax_fault(error, path)
    except BaseException as error:
        raise import_fault(error, path)
    finally:
        sys.dont_write_bytecode = writes
    return module


class Signature:
    def __init__(self, function):
        self.names, self.required, self.any, self.positional = [], [], False, []
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            self.any = True
            return
        for one in parameters:
            if one.kind == one.VAR_KEYWORD:
                self.any = True
            elif one.kind == one.POSITIONAL_ONLY:
                self.positional.append(one.name)
            elif one.kind != one.VAR_POSITIONAL:
                self.names.append(one.name)
                if one.default is one.empty:
                    self.required.append(one.name)

    def looks_like(self):
        if "solution_str" in self.names:
            return "verl"
        return "trl" if any(name in self.names for name in TRL) else None


def functions_of(module):
    own = {}
    for name, value in vars(module).items():
        if name.startswith("_") or isinstance(value, type) or not callable(value):
            continue
        if getattr(value, "__module__", None) == module.__name__:
            own[name] = value
    return own


def find_function(module, path, wanted):
    known = functions_of(module)
    there = "it has " + ", ".join(known) if known else "it has no functions"
    if wanted:
        value = getattr(module, wanted, None)
        if value is None:
            raise Fault("python-function", "%s has no function %s; %s" % (path, wanted, there),
                        "set the parameter function to one of them")
        if isinstance(value, type) or not callable(value):
            kind = type(value).__name__
            raise Fault("python-function", "%s: %s is no function but %s" % (path, wanted, kind),
                        "name a function, or a callable object that the file makes")
        return wanted, value
    if callable(getattr(module, "compute_score", None)):
        return "compute_score", module.compute_score
    fitting = [name for name, value in known.items() if Signature(value).looks_like()]
    if len(fitting) == 1:
        return fitting[0], known[fitting[0]]
    raise Fault("python-function",
                "%s has no compute_score, and %s reward functions of verl or TRL; %s"
                % (path, len(fitting) if fitting else "no", there),
                "say which one is meant with the parameter function")


class TrainerState:
    def __init__(self, values):
        self.__dict__.update(values)


class Row:
    """What was returned for one row."""

    class Bad(Exception):
        """Why it is no reward."""

    @staticmethod
    def number(value):
        if type(value) is not float:
            if isinstance(value, (str, bytes, bytearray)) or not (
                hasattr(value, "__float__") or hasattr(value, "__index__")
            ):
                raise Row.Bad("returned %s, which is no number" % shown(value))
            try:
                value = float(value)
            except Exception as error:
                raise Row.Bad("returned %s, which is no number: %s" % (shown(value), short(error)))
        if not math.isfinite(value):
            raise Row.Bad("returned %s" % value)
        return value


class Rewards:
    def __init__(self, setup, source):
        self.path = setup["file"]
        module = load_module(self.path, source)
        self.name, self.function = find_function(module, self.path, setup["function"])
        self.signature = Signature(self.function)
        self.convention = self.find_convention(setup["convention"])
        self.args = dict(setup["args"])
        self.state = self.args.pop("trainer_state", {}) if self.convention == "trl" else {}
        self.loop = None
        self.check()

    def find_convention(self, wanted):
        found = self.signature.looks_like() or ("verl" if self.name == "compute_score" else None)
        if wanted == "auto" and found is None:
            raise Fault("python-convention",
                        "%s: %s(%s) looks neither like verl's nor like TRL's functions"
                        % (self.path, self.name, ", ".join(self.signature.names)),
                        "set the parameter convention to verl or trl")
        return found if wanted == "auto" else wanted

    def check(self):
        what = "%s: %s(%s)" % (self.path, self.name, ", ".join(self.signature.names))
        if self.signature.positional:
            raise Fault("python-argument",
                        what + " takes by position only: " + ", ".join(self.signature.positional),
                        "verl and TRL call by keyword: remove the / from its parameters")
        for name in self.args:
            if not self.signature.any and name not in self.signature.names:
                raise Fault("python-argument", "%s takes no %s, which args gives" % (what, name),
                            "take it out of args")
        if self.convention != "verl":
            return
        for name in self.signature.required:
            if name not in VERL and name not in self.args:
                raise Fault("python-argument", "%s needs %s, which nothing gives" % (what, name),
                            "give it in args")

    def ready(self):
        return {"function": self.name, "convention": self.convention, "any": self.signature.any,
                "names": self.signature.names, "required": self.signature.required,
                "args": list(self.args)}

    def seed(self, value):
        modules = sys.modules
        if "random" in modules:
            modules["random"].seed(value)
        if "numpy" in modules and hasattr(modules["numpy"], "random"):
            modules["numpy"].random.seed(value)
        if "torch" in modules and hasattr(modules["torch"], "manual_seed"):
            modules["torch"].manual_seed(value)

    def call(self, values):
        values.update(self.args)
        if not self.signature.any:
            values = {name: values[name] for name in self.signature.names if name in values}
        result = self.function(**values)
        if inspect.isawaitable(result):
            import asyncio

            if self.loop is None:
                self.loop = asyncio.new_event_loop()
                asyncio.set_event_loop(self.loop)

            async def wait():
                return await result

            result = self.loop.run_until_complete(wait())
        return result

    def read(self, frame):
        """JSON, and after a zero byte the token ids of the rows that "lengths" counts."""
        text, _, ids = frame.partition(b"\0")
        call = json.loads(text)
        if "lengths" in call:
            every = array.array("q", ids).tolist()
            rows, start = [], 0
            for length in call["lengths"]:
                rows.append(every[start : start + length])
                start += length
            call["values"]["completion_ids"] = rows
        return call

    def verl(self, call, metrics):
        result = self.call(call["values"])
        if not isinstance(result, dict):
            return [[Row.number(result)]]
        if "score" not in result:
            there = short(", ".join(map(str, result)))
            raise Row.Bad('returned a dict without "score": it has ' + there)
        extras = {}
        for name, value in result.items():
            try:
                if name != "score":
                    extras[clean(name)] = Row.number(value)
            except Row.Bad:
                pass
        return [[Row.number(result["score"]), extras]]

    def trl(self, call, metrics):
        def log_metric(name, value):
            try:
                metrics[clean(name)] = Row.number(value)
            except Row.Bad:
                pass

        values = call["values"]
        values["trainer_state"] = TrainerState({**call["state"], **self.state})
        values["log_metric"] = log_metric
        values["log_extra"] = lambda column, rows: None
        if "completions_ids" in self.signature.names:
            values["completions_ids"] = values.get("completion_ids")
        result = self.call(values)
        wanted = "a list of %d rewards" % call["rows"]
        if isinstance(result, (str, bytes, dict)) or not hasattr(result, "__iter__"):
            raise Row.Bad("returned %s, not %s" % (shown(result), wanted))
        try:
            result = list(result)
        except TypeError:
            raise Row.Bad("returned %s, not %s" % (shown(result), wanted))
        if len(result) != call["rows"]:
            raise Row.Bad("returned %d rewards for %d completions" % (len(result), call["rows"]))
        rows = []
        for value in result:
            try:
                rows.append(None if value is None else [Row.number(value)])
            except Row.Bad as bad:
                rows.append(clean(bad))
        return rows

    def answer(self, call):
        metrics = {}
        try:
            self.seed(call["seed"])
            rows = (self.verl if self.convention == "verl" else self.trl)(call, metrics)
        except Row.Bad as bad:
            rows = clean(bad)
        except BaseException as error:
            rows = reason_of(error, self.path)
        return {"rows": rows, "metrics": metrics}


def limit(kind, value):
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


def work(supervisor):
    os.close(CONTROL)
    os.close(STATUS)
    os.setsid()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(0)
    channel = Channel()
    setup = json.loads(channel.receive())
    limit(resource.RLIMIT_CORE, 0)
    if setup["memory"] > 0:
        limit(resource.RLIMIT_DATA, setup["memory"] << 20)
    sys.argv = [setup["file"]]
    own = os.getpid()
    try:
        rewards = Rewards(setup, channel.receive())
    except Fault as fault:
        channel.send({"fault": [clean(part) for part in fault.args]})
        os._exit(0)
    if os.getpid() != own:
        os._exit(0)
    channel.send({"ready": rewards.ready()})
    while True:
        answer = rewards.answer(rewards.read(channel.receive()))
        # A process that the function forked and that came back from it is not the worker.
        if os.getpid() != own:
            os._exit(0)
        channel.send(answer)


def main():
    for fd in (DATA, CONTROL, STATUS):
        os.set_inheritable(fd, False)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    supervisor = os.getpid()
    worker = os.fork()
    if worker == 0:
        work(supervisor)
    else:
        supervise(worker)
        os._exit(0)


main()
)PY";
}

}  // namespace rewardloom
