import os

block = b"x" * (1 << 20)
for _ in range(10 << 10):
    os.write(1, block)
