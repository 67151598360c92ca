#include "daemon/kernel/probe.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>

#include "daemon/base/unique_fd.h"
#include "daemon/kernel/capabilities.h"
#include "daemon/kernel/cgroup.h"
#include "daemon/kernel/kernel_version.h"
#include "daemon/kernel/probe_internal.h"

namespace tapdeck::kernel {
namespace probes {
namespace {

Outcome kernel_version() {
  const std::string release = kernel_release();
  if (is_too_old(release)) return fail(Code::Unsupported, "Linux " + release + ", older than 5.15");
  return "Linux " + release;
}

Outcome capabilities() {
  const std::string missing = missing_capabilities();
  if (!may_capture(missing)) return fail(Code::Permission, "missing " + missing);
  return "all that capture needs";
}

Outcome trust_capabilities() {
  const std::string missing = missing_capabilities();
  if (!missing.empty()) return fail(Code::Permission, "missing " + missing);
  return "all that the daemon uses";
}

Outcome cgroup2() {
  return find_cgroup2_mount();
}

Outcome kernel_btf() {
  if (::access("/sys/kernel/btf/vmlinux", R_OK) == 0) return "/sys/kernel/btf/vmlinux";
  return fail(Code::Unsupported, "no /sys/kernel/btf/vmlinux");
}

Outcome bpf_syscall() {
  const UniqueFd fd(bpf_map_create(BPF_MAP_TYPE_ARRAY, "tapdeck_probe", 4, 8, 1, nullptr));
  if (!fd) return fail_errno(errno, "bpf()");
  return "maps can be made";
}

Outcome program_type(bpf_prog_type type, const char* name) {
  const int answer = libbpf_probe_bpf_prog_type(type, nullptr);
  if (answer == 1) return std::string(name) + " programs load";
  if (answer < 0) return fail_errno(-answer, std::string("cannot tell whether ") + name + " programs load");
  return fail(Code::Unsupported, std::string(name) + " programs do not load");
}

Outcome sock_addr() {
  return program_type(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "cgroup/connect");
}
Outcome sock_ops() {
  return program_type(BPF_PROG_TYPE_SOCK_OPS, "sockops");
}
Outcome sched_cls() {
  return program_type(BPF_PROG_TYPE_SCHED_CLS, "tc");
}

Outcome set_retval() {
  if (libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval, nullptr) == 1) {
    return "bpf_set_retval is there";
  }
  return fail(Code::Unsupported, "bpf_set_retval is not there (Linux 5.18)");
}

Outcome pins() {
  struct statfs info{};
  if (::statfs("/sys/fs/bpf", &info) == 0 && info.f_type == BPF_FS_MAGIC) {
    if (::access("/sys/fs/bpf", W_OK) == 0) return "bpffs on /sys/fs/bpf";
    if (errno == EROFS) return fail_errno(errno, "the bpffs on /sys/fs/bpf cannot be written");
  }
  // In a mount namespace of its own: the mount goes with this child.
  if (::unshare(CLONE_NEWNS) != 0) return fail_errno(errno, "unshare(CLONE_NEWNS)");
  ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  if (::mount("bpf", "/mnt", "bpf", 0, nullptr) != 0) return fail_errno(errno, "mount bpffs");
  return "a bpffs can be mounted";
}

Outcome network_namespace() {
  if (::unshare(CLONE_NEWNET) != 0) return fail_errno(errno, "unshare(CLONE_NEWNET)");
  return "can be made";
}

Outcome mount_bind() {
  if (::unshare(CLONE_NEWNS) != 0) return fail_errno(errno, "unshare(CLONE_NEWNS)");
  ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  const UniqueFd tree(
      static_cast<int>(::syscall(SYS_open_tree, AT_FDCWD, "/tmp", 1U /* OPEN_TREE_CLONE */ | O_CLOEXEC)));
  if (!tree) return fail_errno(errno, "open_tree");
  if (::syscall(SYS_move_mount, tree.get(), "", AT_FDCWD, "/mnt", 4U /* MOVE_MOUNT_F_EMPTY_PATH */) != 0) {
    return fail_errno(errno, "move_mount");
  }
  return "open_tree and move_mount work";
}

struct Probe {
  const char* name;
  Outcome (*run)();
  const char* consequence;
  Use use = Use::Now;
};

constexpr Probe kProbes[] = {
    {"kernel", &kernel_version, "no capture by cgroup or interface"},
    {"capabilities", &capabilities, "no capture by cgroup or interface"},
    {"trust_capabilities", &trust_capabilities,
     "trust is not bound into every target (set the CA by hand there), and processes of other users may have no name",
     Use::Partly},
    {"cgroup2", &cgroup2, "no cgroup path: containers, units and `attach --pid` cannot be captured"},
    {"btf", &kernel_btf, "processes that leave a captured cgroup are not seen (cgroup_escapes)"},
    {"bpf", &bpf_syscall, "neither cgroup nor tc path (needs CAP_BPF or root; see kernel.unprivileged_bpf_disabled)"},
    {"bpf_sock_addr", &sock_addr, "no cgroup path"},
    {"bpf_sock_ops", &sock_ops, "no cgroup path"},
    {"bpf_sched_cls", &sched_cls, "no tc path: bridges, veths and VMs cannot be captured"},
    {"bpf_set_retval", &set_retval, "refused connects see EPERM instead of ECONNREFUSED"},
    {"bpffs", &pins, "fail-closed and sealed cgroup targets cannot be attached, or open when tapdeck is killed"},
    {"network_namespace", &network_namespace, "listeners cannot be made in containers"},
    {"cgroup_capture", &cgroup_capture,
     "neither `attach --container`, `--unit`, `--pid`, `--cgroup` nor `tapdeck run --capture cgroup` work here"},
    {"cgroup_escapes", &cgroup_escapes,
     "processes that leave a captured cgroup are not seen: what they do is neither captured nor counted (left_cgroup)"},
    {"tc_capture", &tc_capture, "`attach --interface` does not work here"},
    {"netns_capture", &netns_capture, "`tapdeck run` works for root alone (--capture cgroup)", Use::Partly},
    {"mount_namespace", &mount_bind, "trust cannot be bound into containers; set the CA by hand"},
};

// Child: one byte ok / not ok, then the text.
void report(int channel, const Outcome& outcome) {
  const std::string text = outcome ? "+" + *outcome : "-" + outcome.error().message();
  ignore(::write(channel, text.data(), text.size()), "the parent reads what arrives");
}

std::string read_until(int channel, std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  std::string text;
  std::array<char, 1024> buffer{};
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd one{channel, POLLIN, 0};
    if (left.count() <= 0 || ::poll(&one, 1, static_cast<int>(left.count())) <= 0) return text;
    const ssize_t n = ::read(channel, buffer.data(), buffer.size());
    if (n <= 0) return text;
    text.append(buffer.data(), static_cast<size_t>(n));
  }
}

Finding run_guarded(const Probe& probe) {
  Finding out{probe.name, false, {}, probe.consequence, probe.use};
  int channel[2] = {-1, -1};
  if (::pipe2(channel, O_CLOEXEC) != 0) {
    out.detail = "no descriptors left";
    return out;
  }
  const UniqueFd reading(channel[0]);
  const pid_t child = ::fork();
  if (child == 0) {
    ::setpgid(0, 0);  // its own children are ended with it
    report(channel[1], probe.run());
    ::_exit(0);
  }
  ::close(channel[1]);
  const std::string text = child > 0 ? read_until(reading.get(), kTimeLimit) : "-fork failed";
  if (child > 0) {
    ::kill(-child, SIGKILL);
    ::kill(child, SIGKILL);
    // A program load that hangs in the kernel cannot be killed: then do not wait for it either.
    if (!text.empty())
      ::waitpid(child, nullptr, 0);
    else
      ::waitpid(child, nullptr, WNOHANG);
  }
  out.ok = text.starts_with('+');
  out.detail = text.empty()
                   ? "no answer within " + std::to_string(kTimeLimit / std::chrono::seconds(1)) + " s, or it died"
                   : text.substr(1);
  if (out.ok) out.consequence.clear();
  return out;
}

}  // namespace
}  // namespace probes

std::vector<Finding> probe() {
  libbpf_set_print(nullptr);
  std::vector<Finding> out;
  for (const auto& one : probes::kProbes) out.push_back(probes::run_guarded(one));
  return out;
}

}  // namespace tapdeck::kernel
