# Processes that want to outlive their test.
import os, signal, sys, time


def daemon(number):
    if os.fork() == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        for one in range(1, 65):
            try:
                signal.signal(one, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        os.chdir("/")
        for fd in (0, 1, 2):
            os.close(fd)
        while True:
            try:
                with open("/tmp/work/alive%d" % number, "a") as file:
                    file.write("x")
            except OSError:
                pass
            time.sleep(0.001)


for number in range(5):
    daemon(number)
time.sleep(0.05)
print("contained")
