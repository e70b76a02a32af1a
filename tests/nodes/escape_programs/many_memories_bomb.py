# No process takes too much, all of them together do.
import os, time

for _ in range(10):
    if os.fork() == 0:
        break
kept = [bytearray(os.urandom(1 << 10)) * (100 << 10)]
time.sleep(100)
