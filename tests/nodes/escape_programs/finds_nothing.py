# Nothing of an earlier test is left: no file, no process, no value.
import builtins, os, sys

if os.listdir("/tmp") != ["work"] or os.listdir("/tmp/work") or os.getcwd() != "/tmp/work":
    print("ESCAPED: left over", os.listdir("/tmp"), os.listdir("/tmp/work"))
try:
    os.kill(-1, 0)
    print("ESCAPED: there is another process")
except OSError:
    pass
for name in ("left_behind", "leak"):
    if hasattr(builtins, name) or hasattr(sys, name) or name in sys.modules:
        print("ESCAPED: value", name)
import math, random

if math.sqrt(4) != 2 or random.__dict__.get("left_behind"):
    print("ESCAPED: a module was changed")
print("contained")
