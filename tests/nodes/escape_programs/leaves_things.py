# Files, links, deep folders and folders without rights, changed modules.
import builtins, math, os, random, sys

builtins.left_behind = sys.leak = 1
sys.modules["leak"] = sys
math.sqrt = lambda x: 0
random.left_behind = True
for number in range(200):
    open("file%d" % number, "w").write("x")
    open("/tmp/file%d" % number, "w").write("x")
os.symlink("/usr", "system")
os.symlink("/tmp", "/tmp/work/around")
os.symlink("/tmp/work", "/tmp/again")
os.mkfifo("fifo")
os.mkdir("closed")
open("closed/file", "w").write("x")
os.chmod("closed", 0)
os.makedirs("a/b/c/d")
os.chmod("a", 0o500)
os.rename("/tmp/work", "/tmp/moved")
os.symlink("/usr/lib", "/tmp/work")
print("contained")
