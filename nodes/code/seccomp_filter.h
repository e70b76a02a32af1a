// The system calls that a sandboxed program may not make.
#pragma once
#include "nodes/code/child_process.h"

namespace rewardloom {

/// A memory file that holds the compiled filter, for `bwrap --seccomp`. What it refuses fails with
/// EPERM: tracing and reading other processes, namespaces and mounts, sockets (socketpair of
/// AF_UNIX is left, event loops need it), keys, BPF, performance events, io_uring, memory that no
/// limit counts (memory files, System V), limits and priorities of other processes, the clock, the
/// kernel's modules and its reboot. Failure `sandbox-failed`.
Descriptor seccomp_filter();

}  // namespace rewardloom
