import os, signal

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
block = b"x" * (1 << 20)
while True:
    try:
        os.write(2, block)
    except OSError:
        pass
