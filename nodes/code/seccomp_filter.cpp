#include "nodes/code/seccomp_filter.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "engine/core/problem.h"

namespace rewardloom {
namespace {

// By name, so that calls which this machine's headers or kernel do not know are left out.
constexpr const char* kRefusedCalls[] = {
    // other processes
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "process_mrelease",
    "kcmp",
    "pidfd_getfd",
    "move_pages",
    "migrate_pages",
    "get_robust_list",
    // namespaces and mounts
    "unshare",
    "setns",
    "mount",
    "umount",
    "umount2",
    "pivot_root",
    "chroot",
    "move_mount",
    "open_tree",
    "open_tree_attr",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "name_to_handle_at",
    "open_by_handle_at",
    "statmount",
    "listmount",
    "swapon",
    "swapoff",
    "quotactl",
    "quotactl_fd",
    // the network
    "socket",
    "socketcall",
    "bind",
    "connect",
    "listen",
    "accept",
    "accept4",
    // the kernel
    "keyctl",
    "add_key",
    "request_key",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "io_setup",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "create_module",
    "syslog",
    "acct",
    "reboot",
    "vhangup",
    "iopl",
    "ioperm",
    "lookup_dcookie",
    "nfsservctl",
    "fanotify_init",
    "uselib",
    "personality",
    "modify_ldt",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "stime",
    "sethostname",
    "setdomainname",
    // memory that no limit counts
    "memfd_create",
    "memfd_secret",
    "shmget",
    "shmat",
    "msgget",
    "semget",
    "mq_open",
    "mlock",
    "mlock2",
    "mlockall",
    "vmsplice",
};

constexpr const char* kRefusedForOthers[] = {"prlimit64", "sched_setaffinity", "sched_setattr",
                                             "sched_setparam", "sched_setscheduler"};

class Filter {
 public:
  Filter() : context_(seccomp_init(SCMP_ACT_ALLOW), &seccomp_release) {
    if (!context_) fail("no filter can be made", ENOMEM);
    for (const char* name : kRefusedCalls) refuse(name);
    for (const char* name : kRefusedForOthers) refuse(name, SCMP_A0(SCMP_CMP_NE, 0));
    for (const char* name : {"setpriority", "ioprio_set"}) {
      refuse(name, SCMP_A0(SCMP_CMP_NE, std::strcmp(name, "setpriority") == 0 ? 0u : 1u));
      refuse(name, SCMP_A1(SCMP_CMP_NE, 0));
    }
    refuse("socketpair", SCMP_A0(SCMP_CMP_NE, AF_UNIX));
    refuse("ioctl", SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, TIOCSTI));
    refuse("ioctl", SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, TIOCLINUX));
    for (const unsigned long space : {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET,
                                      CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP}) {
      refuse("clone", SCMP_A0(SCMP_CMP_MASKED_EQ, space, space));
    }
    // Its flags lie in memory, where a filter cannot look: libraries fall back to clone.
    refuse_as("clone3", ENOSYS);
  }

  Descriptor exported() const {
    const Descriptor low(memfd_create("filter", MFD_CLOEXEC));
    if (low.get() < 0) fail("no memory file can be made", errno);
    Descriptor file(fcntl(low.get(), F_DUPFD_CLOEXEC, 10));
    if (file.get() < 0) fail("no descriptor is free", errno);
    const int fault = seccomp_export_bpf(context_.get(), file.get());
    if (fault != 0) fail("the filter cannot be exported", -fault);
    if (::lseek(file.get(), 0, SEEK_SET) != 0) fail("the filter cannot be read", errno);
    return file;
  }

 private:
  [[noreturn]] static void fail(const char* what, int error) {
    throw Failure("sandbox-failed",
                  fmt::format("system call filter: {}: {}", what, std::strerror(error)),
                  "close other programs, or raise the limits of open files and memory");
  }
  template <class... Conditions>
  void refuse(const char* name, Conditions... conditions) {
    const int call = seccomp_syscall_resolve_name(name);
    if (call == __NR_SCMP_ERROR) return;
    const int fault = seccomp_rule_add(context_.get(), SCMP_ACT_ERRNO(EPERM), call,
                                       sizeof...(conditions), conditions...);
    if (fault != 0) fail(name, -fault);
  }
  void refuse_as(const char* name, int error) {
    const int call = seccomp_syscall_resolve_name(name);
    if (call == __NR_SCMP_ERROR) return;
    const int fault =
        seccomp_rule_add(context_.get(), SCMP_ACT_ERRNO(static_cast<unsigned>(error)), call, 0);
    if (fault != 0) fail(name, -fault);
  }

  std::unique_ptr<void, void (*)(scmp_filter_ctx)> context_;
};

}  // namespace

Descriptor seccomp_filter() { return Filter().exported(); }

}  // namespace rewardloom
