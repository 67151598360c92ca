// TcFilter: one clsact ingress filter that runs our program. Survives the process by itself (that is what keeps a
// closed target closed); what to remove after a crash is in its record. Acts on the calling thread's namespace.
// Thread: control thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "daemon/base/result.h"

namespace tapdeck::kernel {

struct TcFilter {
  int ifindex = 0;
  uint32_t handle = 0;
  uint32_t priority = 0;
  uint32_t program_id = 0;
  bool made_qdisc = false;  // we added clsact, so we take it away when it is empty

  // One line of text and back, for the record in the run directory.
  [[nodiscard]] std::string to_record() const;
  [[nodiscard]] static std::optional<TcFilter> from_record(const std::string& text);
};

// `first_priority` is tried first, then the ones behind it. Errors: Permission, Exhausted.
[[nodiscard]] Result<TcFilter> attach_tc_filter(int ifindex, uint32_t first_priority, int program_fd);
// Removes the filter if it still runs the program in the record. A filter or interface that is gone is success.
[[nodiscard]] Result<void> detach_tc_filter(const TcFilter& filter);

}  // namespace tapdeck::kernel
