#include "daemon/admin/process_stats.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>

namespace tapdeck::admin {
namespace {

// Field `number` (from 1, as in proc(5)) of /proc/self/stat. The command name may hold blanks and brackets.
std::optional<double> stat_field(const std::string& stat, int number) {
  const size_t end = stat.rfind(')');
  if (end == std::string::npos) return std::nullopt;
  std::istringstream rest(stat.substr(end + 1));
  std::string word;
  for (int field = 3; rest >> word; ++field) {
    if (field == number) return std::stod(word);
  }
  return std::nullopt;
}

// Seconds since the epoch at which the machine booted.
std::optional<double> boot_time() {
  std::ifstream in("/proc/stat");
  for (std::string word; in >> word;) {
    double value = 0;
    if (word == "btime" && in >> value) return value;
  }
  return std::nullopt;
}

std::optional<double> open_descriptors() {
  std::error_code error;
  const auto all = std::filesystem::directory_iterator("/proc/self/fd", error);
  if (error) return std::nullopt;
  return static_cast<double>(std::distance(begin(all), end(all)));
}

}  // namespace

std::vector<ProcessStat> read_process_stats() {
  std::vector<ProcessStat> out;
  std::ifstream in("/proc/self/stat");
  const std::string stat((std::istreambuf_iterator<char>(in)), {});
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  const auto page = static_cast<double>(::sysconf(_SC_PAGESIZE));
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) == 0) {
    const auto seconds = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    out.push_back({"process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", true,
                   seconds(usage.ru_utime) + seconds(usage.ru_stime)});
  }
  if (const auto size = stat_field(stat, 23)) {
    out.push_back({"process_virtual_memory_bytes", "Virtual memory size in bytes.", false, *size});
  }
  if (const auto pages = stat_field(stat, 24)) {
    out.push_back({"process_resident_memory_bytes", "Resident memory size in bytes.", false, *pages * page});
  }
  if (const auto count = open_descriptors()) {
    out.push_back({"process_open_fds", "Number of open file descriptors.", false, *count});
  }
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    out.push_back(
        {"process_max_fds", "Maximum number of open file descriptors.", false, static_cast<double>(files.rlim_cur)});
  }
  const auto started = stat_field(stat, 22);
  const auto boot = boot_time();
  if (started && boot) {
    out.push_back({"process_start_time_seconds", "Start time of the process since unix epoch in seconds.", false,
                   *boot + *started / ticks});
  }
  return out;
}

}  // namespace tapdeck::admin
