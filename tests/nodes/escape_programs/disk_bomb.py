import os, signal

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
number = 0
written = 0
while True:
    number += 1
    try:
        with open("/tmp/big%d" % number, "wb") as file:
            written += file.write(b"x" * (1 << 20))
    except OSError:
        break
# The output lies in the same full place.
os.unlink("/tmp/big1")
print("contained" if written < 100 << 20 else "ESCAPED: wrote %d MiB" % (written >> 20))
