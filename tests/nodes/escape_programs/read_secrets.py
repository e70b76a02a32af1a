# Other people's files, the home folder, what the machine knows of itself.
import glob, os

for path in ("/etc/shadow", "/etc/passwd", "/etc/hostname", "/root", "/home", "/work", "/var", "/run", "/sys", "/proc",
             "/boot", "/mnt", "/opt", "/srv", "/dev/kmsg", "/dev/mem", "/dev/tty", "/dev/ptmx", "/dev/vda", "/dev/sda"):
    for place in (path, "/tmp/../" + path, "../../.." + path, "/usr/.." + path):
        try:
            found = os.listdir(place) if os.path.isdir(place) else open(place, "rb").read(16)
        except OSError:
            continue
        print("ESCAPED: read", place, found)
for pattern in ("/root/*", "/home/*/*", "~/*", "/tmp/*"):
    found = [path for path in glob.glob(os.path.expanduser(pattern)) if path != "/tmp/work"]
    if found:
        print("ESCAPED: sees", found)
secrets = {name: value for name, value in os.environ.items()
           if name not in ("PATH", "HOME", "TMPDIR", "LANG", "PYTHONHASHSEED", "OMP_NUM_THREADS", "PWD", "LC_CTYPE")}
if secrets:
    print("ESCAPED: environment", secrets)
if os.uname().nodename != "sandbox":
    print("ESCAPED: host name", os.uname().nodename)
print("contained")
