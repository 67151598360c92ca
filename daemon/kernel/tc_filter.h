// TcFilter: one clsact ingress filter that runs our program. Survives the process by itself (that is what keeps a
// closed target closed); what to remove after a crash is in its record. Acts on the calling thread's namespace.
// Thread: control thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>

#include "daemon/base/result.h"

namespace tapdeck::kernel {

struct TcFilter {
  int ifindex = 0;
  uint32_t handle = 0;
  uint32_t priority = 0;
  uint32_t program_id = 0;
  bool made_qdisc = false;  // we added clsact, so we take it away when it is empty
  bool is_closed = true;    // once we are dead it drops; records of older versions do not say so

  // One line of text and back, for the record in the run directory.
  [[nodiscard]] std::string to_record() const;
  [[nodiscard]] static std::optional<TcFilter> from_record(const std::string& text);
};

// Where our filters begin; others may have been there first.
inline constexpr uint32_t kFirstFilterPriority = 100;

// The programs of all filters in places that attach_tc_filter() gives from kFirstFilterPriority on: ours, and those of
// other tapdecks. Empty too where nobody may ask.
[[nodiscard]] std::set<uint32_t> tc_programs_on(int ifindex);

// `made_before`: clsact, if it is there, is ours from before. `first_priority` is tried first, then the ones behind it;
// `record` gets what will be there, before it is there, and may be called again with another priority. What it wrote
// stays when attaching fails. Errors: Permission, Exhausted, those of `record`.
enum class MadeBefore : uint8_t { No, Yes };
using FilterRecorder = std::function<Result<void>(const TcFilter&)>;
[[nodiscard]] Result<TcFilter> attach_tc_filter(int ifindex, uint32_t first_priority, int program_fd,
                                                MadeBefore made_before, const FilterRecorder& record);
// False: it is gone, or another program has its place. What cannot be asked is there.
[[nodiscard]] bool is_attached(const TcFilter& filter);
// Removes the filter if it still runs the program in the record. A filter, clsact or interface that is gone is success.
[[nodiscard]] Result<void> detach_tc_filter(const TcFilter& filter);

}  // namespace tapdeck::kernel
