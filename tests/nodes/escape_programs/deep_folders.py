# A path that is longer than any call takes.
import os

for _ in range(3000):
    os.mkdir("d")
    os.chdir("d")
print("contained")
