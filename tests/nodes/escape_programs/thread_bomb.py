# Of at most 3000 threads, should nothing hold it.
import threading, time

started = 0
while True:
    try:
        if started < 3000:
            threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
            started += 1
    except RuntimeError:
        pass
