#include "daemon/app/leftovers.h"

#include <algorithm>
#include <charconv>
#include <fstream>
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

// What its run recorded may lie where no run of ours would make one: in another login session, say.
Result<void> clear_cgroup_of(const fs::path& capture_dir) {
  std::error_code error;
  if (!fs::exists(capture_dir / kCgroupRecord, error) && !error) return {};
  std::ifstream record(capture_dir / kCgroupRecord);
  std::string cgroup;
  // "Cannot read it" is not "it had none".
  if (!record) return fail(Code::Internal, "cannot read " + (capture_dir / kCgroupRecord).string());
  if (!std::getline(record, cgroup) || !cgroup.starts_with('/')) return {};
  return clear_dead_run_cgroup(cgroup);
}

Result<void> clean_dead_run(const fs::path& capture_dir) {
  // Whoever still lives there must not get past the programs.
  TRY_VOID(clear_cgroup_of(capture_dir));
  return kernel::clean_leftovers(capture_dir.string());
}

}  // namespace

void clean_dead_runs(const fs::path& run_dir) {
  std::error_code ignored;
  clear_dead_run_cgroups();
  for (const fs::path& directory : of_the_dead(run_dir, kRunCapturePrefix)) {
    auto cleaned = clean_dead_run(directory);
    if (!cleaned && cleaned.error().code == Code::Busy) continue;  // alive, in another process namespace
    if (!cleaned) {
      log::warn("run.leftovers", cleaned.error().message(), {{"directory", directory.string()}});
      continue;
    }
    fs::remove_all(directory, ignored);
  }
  for (const fs::path& directory : of_the_dead(run_dir, kRunTrustPrefix)) fs::remove_all(directory, ignored);
}

Result<Cleaned> clean_all_leftovers(const fs::path& run_dir) {
  Cleaned out;
  std::error_code error;
  const size_t dead = of_the_dead(run_dir, kRunCapturePrefix).size();
  const bool had_records = fs::exists(run_dir / kernel::kDirectory, error);
  const bool refused = kernel::aftermath_of_the_dead(run_dir.string()) == kernel::Aftermath::Stands;
  clean_dead_runs(run_dir);
  out.runs = dead - std::min(dead, of_the_dead(run_dir, kRunCapturePrefix).size());
  auto unbound = trust::clean_leftovers(run_dir);
  auto cleaned = kernel::clean_leftovers(run_dir.string());
  // A daemon lives: what is there is its own.
  out.lives = !cleaned && cleaned.error().code == Code::Busy;
  if (!cleaned && !out.lives) return std::unexpected(cleaned.error());
  if (!unbound) return std::unexpected(unbound.error());
  out.bindings = *unbound;
  out.records = had_records && !out.lives;
  out.refused = refused && !out.lives;
  return out;
}

std::string to_text(const Cleaned& cleaned, const fs::path& run_dir) {
  std::string what;
  const auto add = [&](const std::string& text) { what += (what.empty() ? "" : ", ") + text; };
  if (cleaned.refused) {
    add("what refused the connections of a dead daemon's closed targets (they pass now)");
  } else if (cleaned.records) {
    add("a dead daemon's records and what they named");
  }
  if (cleaned.bindings > 0) add("trust in targets (" + std::to_string(cleaned.bindings) + ")");
  if (cleaned.runs > 0) add("what runs left (" + std::to_string(cleaned.runs) + ")");
  std::string text = what.empty() ? "nothing was left in " + run_dir.string()
                                  : "removed what was left in " + run_dir.string() + ": " + what;
  if (cleaned.lives) text += "; a daemon lives there, and what is its own stays";
  return text;
}

}  // namespace tapdeck::app
