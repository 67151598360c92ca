#include "daemon/app/run_summary.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "daemon/app/printable.h"
#include "daemon/base/whole_file.h"

namespace tapdeck::app {

namespace {

// Of a reason that only ever counts.
std::string why(const std::string& reason) {
  if (reason == "lease") return "this run stood still for longer than capture.lease_ms";
  if (reason == "map_full") return "capture.flow_map_entries were reached";
  if (reason == "no_listener") return "a network namespace was not prepared yet";
  return "not captured";
}

}  // namespace

void count_late(RunSummary& summary, uint64_t written) {
  const uint64_t late = std::min(summary.lost, written - std::min(written, summary.recorded));
  summary.recorded += late;
  summary.lost -= late;
}

uint64_t uncaptured_flows(const RunSummary& summary) {
  uint64_t uncaptured = 0;
  for (const auto& [reason, count] : summary.uncaptured) uncaptured += count;
  return uncaptured;
}

namespace {

// Processes, which the line of their own tells.
uint64_t departed(const RunSummary& summary) {
  const auto left = summary.uncaptured.find("left_cgroup");
  return left == summary.uncaptured.end() ? 0 : left->second;
}

}  // namespace

std::string summary_line(const RunSummary& summary) {
  return "tapdeck: session " + summary.session + ": " + std::to_string(summary.recorded) + " recorded, " +
         std::to_string(summary.replayed) + " replayed, " + std::to_string(summary.missed) + " missed, " +
         std::to_string(summary.tunnelled) + " tunnelled, " +
         std::to_string(uncaptured_flows(summary) - departed(summary)) + " not captured";
}

std::string also_line(const RunSummary& summary) {
  std::string out;
  const auto add = [&out](uint64_t count, const char* what) {
    if (count == 0) return;
    out += (out.empty() ? "tapdeck: also: " : ", ") + std::to_string(count) + " " + what;
  };
  add(summary.lost, "LOST");
  add(summary.names_lost, summary.names_lost == 1 ? "answer to a name NOT recorded" : "answers to names NOT recorded");
  add(summary.failed_recorded, "of the recorded failed at the origin");
  add(summary.tunnels_failed, "to be tunnelled failed at the origin");
  add(summary.forwarded, "forwarded");
  add(summary.refused_as_recorded, "refused as recorded");
  add(summary.ca_rejected, "did not trust the CA");
  add(summary.tls_failed, "could not agree on TLS");
  return out.empty() ? out : out + "\n";
}

std::string other_session_line(const RunSummary& summary) {
  if (summary.asked_session.empty() || summary.asked_session == summary.session) return {};
  return "tapdeck: recorded as session " + summary.session + ": session " + summary.asked_session +
         " was imported or made anew meanwhile, with other match secrets\n";
}

namespace {

constexpr size_t kShown = 5;  // lines of a kind

std::string miss_line(const server::MissedRequest& missed) {
  std::string line = missed.method.empty() ? missed.url : missed.method + " " + missed.url;
  if (!missed.reason.empty()) line += " (" + missed.reason + ")";
  if (missed.count > 1) line += ", " + std::to_string(missed.count) + " times";
  return "tapdeck: missed: " + printable(line) + "\n";
}

}  // namespace

std::string miss_lines(const RunSummary& summary) {
  std::string out;
  const size_t kinds = summary.misses.size();
  for (size_t i = 0; i < std::min(kShown, kinds); ++i) out += miss_line(summary.misses[i]);
  if (kinds > kShown) {
    out += "tapdeck: missed: " + std::to_string(kinds - kShown) + " more kinds; --summary FILE lists them\n";
  }
  return out;
}

namespace {

bool asks_dns(const RefusedFlow& flow) {
  return flow.protocol == "udp" && flow.destination.ends_with(":53");
}

}  // namespace

std::string refusal_lines(const RunSummary& summary) {
  std::vector<std::string> seen;
  for (const RefusedFlow& flow : summary.refused) {
    std::string line = "tapdeck: refused: " + flow.protocol;
    if (!flow.destination.empty()) line += " to " + flow.destination;
    if (!flow.name.empty()) line += " for " + flow.name + ", which is not on tape";
    if (!flow.comm.empty()) line += " (" + flow.comm + ")";
    if (std::ranges::find(seen, line) == seen.end()) seen.push_back(std::move(line));
  }
  std::string out;
  for (size_t i = 0; i < std::min(kShown, seen.size()); ++i) out += seen[i] + "\n";
  if (seen.size() > kShown) {
    out += "tapdeck: refused: " + std::to_string(seen.size() - kShown) + " more kinds; --summary FILE lists all\n";
  }
  if (std::ranges::any_of(summary.refused, asks_dns)) {
    out +=
        "tapdeck: refused: udp to port 53 is DNS of a socket bound to a device, to a link-local resolver without "
        "connect(), or while this run stood still: see docs/RUN.md (Sealing)\n";
  }
  for (const auto& [reason, count] : summary.refused_unlisted) {
    if (count == 0) continue;
    out += "tapdeck: refused: " + std::to_string(count) + (count == 1 ? " connection: " : " connections: ") +
           why(reason) + " (" + reason + ")\n";
  }
  return out;
}

std::string departure_line(const RunSummary& summary) {
  const uint64_t left = departed(summary);
  if (left == 0) return {};
  return "tapdeck: warning: " + std::to_string(left) + (left == 1 ? " process" : " processes") +
         " left the cgroup of this run (left_cgroup): what they did was not captured; podman stays in it with "
         "--cgroups=disabled (crun) or --cgroup-parent, see README\n";
}

std::string summary_json(const RunSummary& summary) {
  using Json = nlohmann::ordered_json;
  Json misses = Json::array();
  for (const server::MissedRequest& missed : summary.misses) {
    misses.push_back(
        {{"method", missed.method}, {"url", missed.url}, {"reason", missed.reason}, {"count", missed.count}});
  }
  Json uncaptured = Json::object();
  for (const auto& [reason, count] : summary.uncaptured) {
    if (count != 0) uncaptured[reason] = count;
  }
  Json refused = Json::array();
  for (const RefusedFlow& flow : summary.refused) {
    refused.push_back({{"pid", flow.pid},
                       {"comm", flow.comm},
                       {"protocol", flow.protocol},
                       {"destination", flow.destination},
                       {"name", flow.name}});
  }
  Json json = {{"session", summary.session},
               {"mode", to_string(summary.mode)},
               {"take", summary.take},
               {"recorded", summary.recorded},
               {"failed_recorded", summary.failed_recorded},
               {"replayed", summary.replayed},
               {"missed", summary.missed},
               {"tunnelled", summary.tunnelled},
               {"tunnels_failed", summary.tunnels_failed},
               {"forwarded", summary.forwarded},
               {"lost", summary.lost},
               {"names_lost", summary.names_lost},
               {"refused_as_recorded", summary.refused_as_recorded},
               {"ca_rejected", summary.ca_rejected},
               {"tls_failed", summary.tls_failed},
               {"uncaptured", std::move(uncaptured)},
               {"misses", std::move(misses)},
               {"refused", std::move(refused)},
               {"exit", summary.exit}};
  if (!summary.capture.empty()) json["capture"] = summary.capture;
  if (!summary.error.empty()) json["error"] = summary.error;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

namespace {

// Of those that a shell hands over, one that writes to the regular file `fd` is open on; -1: none.
int handed_over(int fd) {
  struct stat file{}, other{};
  if (::fstat(fd, &file) != 0 || !S_ISREG(file.st_mode)) return -1;
  for (int number = STDOUT_FILENO; number < 10; ++number) {
    if (number == fd || ::fstat(number, &other) != 0) continue;
    const bool writes = (::fcntl(number, F_GETFL) & O_ACCMODE) != O_RDONLY;
    if (writes && other.st_dev == file.st_dev && other.st_ino == file.st_ino) return number;
  }
  return -1;
}

}  // namespace

Result<SummaryFile> SummaryFile::open(const std::string& path) {
  SummaryFile file;
  if (path.empty()) return file;
  int on = path == "-" ? STDOUT_FILENO : -1;
  // O_NONBLOCK: a pipe that nobody reads is an error, not a wait.
  if (on < 0) file.fd_ = UniqueFd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644));
  if (file.fd_) on = handed_over(file.fd_.get());
  if (on >= 0) {
    file.goes_on_ = true;
    file.fd_ = UniqueFd(::fcntl(on, F_DUPFD_CLOEXEC, 0));
  }
  if (!file.fd_) return fail_errno(errno, "open " + path);
  return file;
}

Result<void> SummaryFile::write(std::string_view text) const {
  if (!fd_) return {};
  struct stat status{};
  if (!goes_on_ && ::fstat(fd_.get(), &status) == 0 && S_ISREG(status.st_mode) && ::ftruncate(fd_.get(), 0) != 0) {
    return fail_errno(errno, "truncate the file");
  }
  return write_all(fd_.get(), text);
}

}  // namespace tapdeck::app
