# Ways through /proc, descriptors and links.
import os, stat

for path in ("/proc/1/environ", "/proc/self/environ", "/proc/1/root/etc/shadow", "/proc/self/root/etc/shadow",
             "/proc/self/exe", "/proc/1/mem", "/proc/self/mem", "/proc/1/cmdline", "/proc/sysrq-trigger",
             "/proc/sys/kernel/core_pattern", "/sys/kernel", "/sys/fs/cgroup"):
    try:
        print("ESCAPED: opened", path, open(path, "rb").read(10))
    except OSError:
        pass
for folder in ("/proc/1/fd", "/proc/self/fd", "/dev/fd", "/proc/self/cwd", "/proc/self/task", "/proc/self/ns"):
    try:
        print("ESCAPED: listed", folder, os.listdir(folder))
    except OSError:
        pass
# Descriptors that somebody has left open.
for fd in range(3, 1024):
    try:
        print("ESCAPED: descriptor", fd, os.fstat(fd))
    except OSError:
        pass
for fd in (0, 1, 2):
    mode = os.fstat(fd).st_mode
    if stat.S_ISDIR(mode) or stat.S_ISSOCK(mode):
        print("ESCAPED: descriptor", fd, oct(mode))
for target in ("/etc/shadow", "/proc/1/root/etc/shadow", "/root/.ssh", "../../../../etc/shadow"):
    link = "link" + str(abs(hash(target)))
    os.symlink(target, link)
    try:
        print("ESCAPED: link to", target, open(link).read(10))
    except OSError:
        pass
for source in ("/etc/shadow", "/usr/bin/env"):
    try:
        os.link(source, "hard" + os.path.basename(source))
        print("ESCAPED: hard link to", source)
    except OSError:
        pass
# The root cannot be left: it is the sandbox's own.
here = os.open("/", os.O_RDONLY)
for _ in range(20):
    here = os.open("..", os.O_RDONLY, dir_fd=here)
extra = set(os.listdir(here)) - {"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "dev", "tmp"}
if extra:
    print("ESCAPED: above the root", extra)
# The program of an interpreter that gains rights.
for path in ("/usr/bin/su", "/usr/bin/mount", "/usr/bin/passwd", "/usr/bin/newuidmap"):
    if os.path.exists(path):
        pid = os.fork()
        if pid == 0:
            try:
                os.setuid(0)
                print("ESCAPED: root")
            except OSError:
                pass
            os._exit(0)
        os.waitpid(pid, 0)
print("contained")
