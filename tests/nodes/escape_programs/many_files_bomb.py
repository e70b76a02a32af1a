number = 0
while True:
    open("/tmp/f%d" % number, "w").close()
    number += 1
