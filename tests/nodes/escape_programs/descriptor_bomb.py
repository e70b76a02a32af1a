import os

kept = []
try:
    while True:
        kept.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
print("contained" if len(kept) < 1000 else "ESCAPED: %d descriptors" % len(kept))
