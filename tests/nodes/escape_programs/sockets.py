import ctypes, os, socket

for family in range(0, 46):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        try:
            socket.socket(family, kind)
            print("ESCAPED: socket", family, kind)
        except OSError:
            pass
        if family != socket.AF_UNIX:
            try:
                socket.socketpair(family, kind)
                print("ESCAPED: pair", family, kind)
            except (OSError, ValueError):
                pass
try:
    socket.create_connection(("1.1.1.1", 53), 0.2)
    print("ESCAPED: connected")
except OSError:
    pass
try:
    socket.getaddrinfo("example.org", 80)
    print("ESCAPED: resolved a name")
except OSError:
    pass
# What event loops need works.
a, b = socket.socketpair()
a.send(b"x")
assert b.recv(1) == b"x"
try:
    b.connect("/tmp/nobody")
    print("ESCAPED: connect")
except OSError:
    pass
print("contained")
