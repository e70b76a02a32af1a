# Calls that have led out of sandboxes before, by their numbers on x86-64.
import ctypes, errno, os, platform

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
CALLS = {
    "ptrace": (101, 16, 1, 0, 0), "ptrace me": (101, 0, 0, 0, 0), "process_vm_readv": (310, 1, 0, 0, 0, 0, 0),
    "process_vm_writev": (311, 1, 0, 0, 0, 0, 0), "unshare user": (272, 0x10000000), "unshare all": (272, 0x7E020000),
    "setns": (308, 0, 0), "clone user": (56, 0x10000000 | 17, 0, 0, 0, 0), "clone net": (56, 0x40000000 | 17, 0, 0, 0, 0),
    "clone mount": (56, 0x00020000 | 17, 0, 0, 0, 0), "clone3": (435, 0, 0), "mount": (165, 0, 0, 0, 0, 0),
    "umount2": (166, b"/tmp", 2), "pivot_root": (155, b"/tmp", b"/tmp"), "chroot": (161, b"/tmp"),
    "move_mount": (429, 0, 0, 0, 0, 0), "open_tree": (428, 0, 0, 0), "fsopen": (430, b"proc", 0),
    "mount_setattr": (442, 0, 0, 0, 0, 0), "keyctl": (250, 0, -3, 1), "add_key": (248, b"user", b"a", b"b", 1, -3),
    "request_key": (249, b"user", b"a", 0, 0), "bpf": (321, 0, 0, 0), "perf_event_open": (298, 0, 0, -1, -1, 0),
    "userfaultfd": (323, 0), "io_uring_setup": (425, 1, 0), "io_uring_enter": (426, 0, 0, 0, 0, 0),
    "kexec_load": (246, 0, 0, 0, 0), "kexec_file_load": (320, 0, 0, 0, 0, 0), "init_module": (175, 0, 0, 0),
    "finit_module": (313, 0, 0, 0), "delete_module": (176, b"a", 0), "reboot": (169, 0, 0, 0, 0),
    "syslog": (103, 3, 0, 0), "acct": (163, 0), "swapon": (167, b"/tmp", 0), "iopl": (172, 3), "ioperm": (173, 0, 1, 1),
    "settimeofday": (164, 0, 0), "clock_settime": (227, 0, 0), "adjtimex": (159, 0), "sethostname": (170, b"a", 1),
    "personality": (135, 0xFFFFFFFF), "memfd_create": (319, b"a", 0), "memfd_secret": (447, 0), "shmget": (29, 0, 4096, 0o1600),
    "msgget": (68, 0, 0o1600), "semget": (64, 0, 1, 0o1600), "mlockall": (151, 1), "kcmp": (312, 1, 1, 0, 0, 0),
    "pidfd_getfd": (438, 0, 0, 0), "process_madvise": (440, 0, 0, 0, 0, 0), "move_pages": (279, 1, 0, 0, 0, 0, 0),
    "open_by_handle_at": (304, 0, 0, 0), "name_to_handle_at": (303, 0, 0, 0, 0, 0), "fanotify_init": (300, 0, 0),
    "quotactl": (179, 0, 0, 0, 0), "socket": (41, 1, 1, 0), "socket net": (41, 2, 1, 0), "bind": (49, 0, 0, 0),
    "connect": (42, 0, 0, 0), "modify_ldt": (154, 0, 0, 0), "prlimit driver": (302, 1, 7, 0, 0),
    "sched_setaffinity driver": (203, 1, 8, b"\1\0\0\0\0\0\0\0"), "setpriority driver": (141, 0, 1, 19),
    "setpriority all": (141, 2, 0, 19), "ioprio driver": (251, 1, 1, 0), "tiocsti": (16, 0, 0x5412, b"a"),
    "tiocsti, high bits": (16, 0, 0x100005412, b"a"),
}
if platform.machine() == "x86_64":
    for name, (number, *values) in CALLS.items():
        values = [value if isinstance(value, bytes) else ctypes.c_long(value) for value in values]
        ctypes.set_errno(0)
        if libc.syscall(ctypes.c_long(number), *values) >= 0:
            print("ESCAPED:", name)
            if name.startswith("clone") and os.getpid() > 2:
                os._exit(0)
        elif ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS):
            print("ESCAPED:", name, "was tried:", errno.errorcode[ctypes.get_errno()])
print("contained")
