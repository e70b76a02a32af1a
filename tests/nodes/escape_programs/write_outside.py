import ctypes, os, sys

for folder in ("/", "/usr", "/usr/lib", "/usr/bin", "/usr/local", "/etc", "/dev", "/bin", "/lib", "/var", "/home",
               os.path.dirname(os.__file__)):
    for path in (folder + "/escape", "/tmp/../" + folder + "/escape"):
        try:
            with open(path, "w") as file:
                file.write("here")
            print("ESCAPED: wrote", path)
        except OSError:
            pass
for path in (os.__file__, "/usr/bin/env", sys.executable):
    for action in (lambda: open(path, "r+b").close(), lambda: os.chmod(path, 0o777), lambda: os.unlink(path),
                   lambda: os.rename(path, path + ".old"), lambda: os.utime(path)):
        try:
            action()
            print("ESCAPED: changed", path)
        except OSError:
            pass
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"none", b"/", None, 32 | 4096, None) == 0 or libc.mount(b"none", b"/usr", None, 32, None) == 0:
    print("ESCAPED: remounted")
with open("/tmp/work/mine", "w") as file:
    file.write("this is allowed")
print("contained")
