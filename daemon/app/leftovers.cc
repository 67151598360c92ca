#include "daemon/app/leftovers.h"

#include <charconv>
#include <string>
#include <system_error>
#include <vector>

#include "daemon/app/run_cgroup.h"
#include "daemon/base/log.h"
#include "daemon/base/processes.h"
#include "daemon/kernel/capture.h"
#include "daemon/kernel/run_directory.h"
#include "daemon/trust/bind.h"

namespace tapdeck::app {
namespace {

namespace fs = std::filesystem;

// Directories "PREFIX<pid>" of processes that are dead. One in another process namespace may only seem so by its pid.
std::vector<fs::path> of_the_dead(const fs::path& run_dir, std::string_view prefix) {
  std::vector<fs::path> out;
  std::error_code error;
  for (fs::directory_iterator it(run_dir, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!name.starts_with(prefix)) continue;
    int pid = 0;
    const char* last = name.data() + name.size();
    const auto [rest, failure] = std::from_chars(name.data() + prefix.size(), last, pid);
    if (failure == std::errc() && rest == last && !is_alive(pid) && !is_held(it->path())) out.push_back(it->path());
  }
  return out;
}

}  // namespace

void clean_dead_runs(const fs::path& run_dir) {
  std::error_code ignored;
  for (const fs::path& directory : of_the_dead(run_dir, kRunCapturePrefix)) {
    auto cleaned = kernel::clean_leftovers(directory.string());
    if (!cleaned && cleaned.error().code == Code::Busy) continue;  // alive, in another process namespace
    if (!cleaned) {
      log::warn("run.leftovers", cleaned.error().message(), {{"directory", directory.string()}});
      continue;
    }
    fs::remove_all(directory, ignored);
  }
  for (const fs::path& directory : of_the_dead(run_dir, kRunTrustPrefix)) fs::remove_all(directory, ignored);
  remove_dead_run_cgroups();
}

Result<void> clean_all_leftovers(const fs::path& run_dir) {
  clean_dead_runs(run_dir);
  auto unbound = trust::clean_leftovers(run_dir);
  auto cleaned = kernel::clean_leftovers(run_dir.string());
  // A daemon lives: what is there is its own.
  if (!cleaned && cleaned.error().code != Code::Busy) return cleaned;
  if (!unbound) return std::unexpected(unbound.error());
  return {};
}

}  // namespace tapdeck::app
