#include "daemon/kernel/bpf_object.h"

#include <bpf/libbpf.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "daemon/kernel/kernel_version.h"

namespace tapdeck::kernel {
namespace {

// libbpf explains failures only through its print callback. Kept per thread; the first line names the cause, later ones
// the consequences.
thread_local std::string first_complaint;

int keep_complaint(libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN) return 0;
  char line[512];
  const int length = std::vsnprintf(line, sizeof(line), format, arguments);
  // The verifier's log comes through here too and is huge; its first line is enough.
  if (length > 0 && first_complaint.empty()) first_complaint = std::string(line, strcspn(line, "\n"));
  return 0;
}

}  // namespace

void keep_complaints() {
  libbpf_set_print(&keep_complaint);
  libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
}

void forget_complaint() {
  first_complaint.clear();
}

std::unexpected<Error> fail_libbpf(int error, const std::string& what) {
  error = error < 0 ? -error : error;
  std::string detail = what;
  if (error == EPERM || error == EACCES) detail += " (needs CAP_BPF and CAP_NET_ADMIN, or root)";
  if (!first_complaint.empty()) detail += " [" + first_complaint + "]";
  first_complaint.clear();
  detail += too_old_remark();
  return fail_errno(error, detail, Origin::Kernel);
}

Result<void> share_maps(bpf_object* object, const std::function<int(const char*)>& fd_of, OwnMaps own) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    if (bpf_map__is_internal(map)) continue;
    const int fd = fd_of(bpf_map__name(map));
    if (fd < 0 && own == OwnMaps::Yes) continue;
    if (fd < 0) return fail(Code::Internal, std::string("no shared BPF map ") + bpf_map__name(map), Origin::Kernel);
    if (const int error = bpf_map__reuse_fd(map, fd); error != 0) {
      return fail_libbpf(error, std::string("share BPF map ") + bpf_map__name(map));
    }
  }
  return {};
}

}  // namespace tapdeck::kernel
