# The driver is process 1: it cannot be ended, slowed or lied to from here.
import os, resource, signal

for number in range(1, 65):
    if number in (signal.SIGCONT,):
        continue
    for pid in (1, os.getppid()):
        try:
            os.kill(pid, number)
        except OSError:
            pass
for _ in range(5000):
    os.kill(1, signal.SIGCHLD)
for kind in (resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE, resource.RLIMIT_CPU):
    try:
        resource.prlimit(1, kind, (1, 1))
        print("ESCAPED: limited the driver")
    except OSError:
        pass
try:
    os.sched_setaffinity(1, {0})
    print("ESCAPED: moved the driver")
except OSError:
    pass
try:
    os.kill(-1, signal.SIGKILL)
except OSError:
    pass
print("contained")
