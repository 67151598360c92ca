// The process_* metrics every Prometheus dashboard expects, read from /proc/self. Names and meaning are those of the
// Prometheus client library guidelines. Thread: any.
#pragma once

#include <string_view>
#include <vector>

namespace tapdeck::admin {

struct ProcessStat {
  std::string_view name;
  std::string_view help;
  bool is_counter;
  double value;
};

// What /proc tells; a figure that cannot be read is left out.
[[nodiscard]] std::vector<ProcessStat> read_process_stats();

}  // namespace tapdeck::admin
