#include "daemon/kernel/escapes.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "bpf/tapdeck_escape.skel.h"
#include "daemon/base/unique_fd.h"
#include "daemon/kernel/bpf_object.h"

namespace tapdeck::kernel {

Result<std::unique_ptr<Escapes>> Escapes::watch(const BpfMaps& maps) {
  std::unique_ptr<Escapes> out(new Escapes());
  out->skeleton_ = tapdeck_escape__open();
  if (out->skeleton_ == nullptr) return fail_libbpf(errno, "open BPF object");
  TRY_VOID(share_maps(out->skeleton_->obj, [&](const char* name) { return maps.map_fd(name); }, OwnMaps::Yes));
  forget_complaint();
  if (const int error = tapdeck_escape__load(out->skeleton_); error != 0) {
    return fail_libbpf(error, "load the programs that see processes leave a cgroup");
  }
  auto& links = out->skeleton_->links;
  const auto& programs = out->skeleton_->progs;
  links.tapdeck_moved = bpf_program__attach(programs.tapdeck_moved);
  if (links.tapdeck_moved == nullptr) return fail_libbpf(errno, "attach to the tracepoint cgroup_attach_task");
  links.tapdeck_forked = bpf_program__attach(programs.tapdeck_forked);
  if (links.tapdeck_forked == nullptr) return fail_libbpf(errno, "attach to the tracepoint sched_process_fork");
  links.tapdeck_executed = bpf_program__attach(programs.tapdeck_executed);
  if (links.tapdeck_executed == nullptr) return fail_libbpf(errno, "attach to the tracepoint sched_process_exec");
  links.tapdeck_present = bpf_program__attach(programs.tapdeck_present);
  if (links.tapdeck_present == nullptr) return fail_libbpf(errno, "make an iterator over processes");
  return out;
}

Escapes::~Escapes() {
  tapdeck_escape__destroy(skeleton_);
}

Result<void> Escapes::add(uint32_t slot, uint64_t cgroup_id) {
  remove(slot);
  uint64_t& slots = slots_[cgroup_id];
  slots |= 1ULL << slot;
  const int fd = bpf_map__fd(skeleton_->maps.captured_cgroups);
  if (bpf_map_update_elem(fd, &cgroup_id, &slots, BPF_ANY) != 0) {
    return fail_errno(errno, "note a captured cgroup", Origin::Kernel);
  }
  return mark_present();
}

void Escapes::remove(uint32_t slot) {
  const int fd = bpf_map__fd(skeleton_->maps.captured_cgroups);
  for (auto at = slots_.begin(); at != slots_.end();) {
    auto& [cgroup_id, slots] = *at;
    const uint64_t others = slots & ~(1ULL << slot);
    if (others == slots) {
      ++at;
    } else if (others != 0) {
      slots = others;
      bpf_map_update_elem(fd, &cgroup_id, &slots, BPF_ANY);
      ++at;
    } else {
      bpf_map_delete_elem(fd, &cgroup_id);
      at = slots_.erase(at);
    }
  }
}

Result<void> Escapes::mark_present() const {
  const UniqueFd iterator(bpf_iter_create(bpf_link__fd(skeleton_->links.tapdeck_present)));
  if (!iterator) return fail_errno(errno, "walk over processes", Origin::Kernel);
  std::array<char, 256> nothing{};  // reading is what runs the program
  ssize_t n = 0;
  do {
    n = ::read(iterator.get(), nothing.data(), nothing.size());
  } while (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)));
  if (n < 0) return fail_errno(errno, "walk over processes", Origin::Kernel);
  return {};
}

}  // namespace tapdeck::kernel
