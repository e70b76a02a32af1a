"""What reward functions have been seen to do. The solution says which row misbehaves: "bad"."""
import os
import random
import signal
import subprocess
import sys
import threading
import time


def note(extra_info, pid):
    with open(extra_info["notes"], "a") as file:
        file.write("%d\n" % pid)


def good(data_source, solution_str, ground_truth, extra_info=None):
    return len(solution_str)


def text(data_source, solution_str, ground_truth, extra_info=None):
    return "0.9" if solution_str == "bad" else 1.0


def nothing(data_source, solution_str, ground_truth, extra_info=None):
    return None if solution_str == "bad" else 1.0


def not_finite(data_source, solution_str, ground_truth, extra_info=None):
    return {"nan": float("nan"), "inf": float("inf"), "huge": 10**400}.get(solution_str, 1.0)


def raises(data_source, solution_str, ground_truth, extra_info=None):
    if solution_str == "bad":
        raise ValueError("no digits in " + repr(solution_str))
    return 1.0


def leaves(data_source, solution_str, ground_truth, extra_info=None):
    if solution_str == "bad":
        sys.exit(3)
    return 1.0


def hangs(data_source, solution_str, ground_truth, extra_info=None):
    while solution_str == "bad":
        time.sleep(1)
    return 1.0


def hangs_with_family(data_source, solution_str, ground_truth, extra_info=None):
    note(extra_info, os.getpid())
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    note(extra_info, child.pid)
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            note(extra_info, os.getpid())
            while True:
                time.sleep(1)
        os._exit(0)
    while solution_str == "bad":
        time.sleep(1)
    return 1.0


def leaves_children(data_source, solution_str, ground_truth, extra_info=None):
    note(extra_info, subprocess.Popen(["sleep", "1000"], start_new_session=True).pid)
    return 1.0


def returns_twice(data_source, solution_str, ground_truth, extra_info=None):
    return 2.0 if os.fork() == 0 else 1.0


def dies(data_source, solution_str, ground_truth, extra_info=None):
    if solution_str == "bad":
        print("this is the end")
        os._exit(7)
    return 1.0


def crashes(data_source, solution_str, ground_truth, extra_info=None):
    if solution_str == "bad":
        os.kill(os.getpid(), signal.SIGSEGV)
    return 1.0


def kills_its_group(data_source, solution_str, ground_truth, extra_info=None):
    if solution_str == "bad":
        os.killpg(0, signal.SIGKILL)
    return 1.0


def dies_with_heir(data_source, solution_str, ground_truth, extra_info=None):
    if solution_str == "bad":
        child = os.fork()
        if child == 0:
            while True:
                time.sleep(1)
        note(extra_info, child)
        os._exit(1)
    return 1.0


def prints(data_source, solution_str, ground_truth, extra_info=None):
    block = "x" * (1 << 20)
    for _ in range(extra_info["megabytes"]):
        print(block)
        os.write(2, b"error\n")
    return 1.0


def allocates(data_source, solution_str, ground_truth, extra_info=None):
    return float(len(bytearray(10 << 30)) > 0) if solution_str == "bad" else 1.0


def closes(data_source, solution_str, ground_truth, extra_info=None):
    if solution_str == "bad":
        os.close(int(ground_truth)) if ground_truth == "3" else os.closerange(3, 4096)
    return 1.0


def takes_over(data_source, solution_str, ground_truth, extra_info=None):
    if solution_str == "bad":
        os.closerange(3, 4096)
        for _ in range(300):
            os.open(os.devnull, os.O_RDWR)
    return 1.0


def echo(data_source, solution_str, ground_truth, extra_info=None):
    assert solution_str == ground_truth, "got %r" % solution_str
    print(solution_str)
    return {"score": len(solution_str), "schl\udcffssel": 1.0}


def surrogate(data_source, solution_str, ground_truth, extra_info=None):
    print("\udcff")
    raise ValueError("half a pair: \ud800 and \udcff")


def scalars(data_source, solution_str, ground_truth, extra_info=None):
    from decimal import Decimal
    from fractions import Fraction

    if solution_str in ("numpy", "array", "vector"):
        import numpy

        return {"numpy": numpy.float32(0.5), "array": numpy.array([[2]]), "vector": numpy.ones(3)}[solution_str]
    if solution_str in ("torch", "tensor"):
        import torch

        return {"torch": torch.tensor(0.25), "tensor": torch.ones(1, 1)}[solution_str]
    return {"decimal": Decimal("1.5"), "fraction": Fraction(1, 4), "bool": True, "complex": 1j}[solution_str]


def drawn(data_source, solution_str, ground_truth, extra_info=None):
    return random.random()


def order_of_a_set(data_source, solution_str, ground_truth, extra_info=None):
    return float("".join(str(ord(c) % 10) for c in {"a", "b", "c", "d", "e", "f", "g"}))


def alarm(data_source, solution_str, ground_truth, extra_info=None):
    def late(number, frame):
        raise TimeoutError("too slow")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        time.sleep(0.5 if solution_str == "bad" else 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return 1.0


def in_a_thread(data_source, solution_str, ground_truth, extra_info=None):
    threading.Thread(target=time.sleep, args=(1000,)).start()
    return 1.0


def asks(data_source, solution_str, ground_truth, extra_info=None):
    return float(input("score? "))


not_callable = 3
