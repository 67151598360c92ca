#include "daemon/trust/bind.h"

#include <dirent.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <iterator>
#include <optional>
#include <sstream>
#include <system_error>

#include "daemon/base/hex.h"
#include "daemon/base/processes.h"
#include "daemon/base/whole_file.h"
#include "daemon/trust/files.h"
#include "daemon/trust/helper_process.h"
#include "daemon/trust/mounts.h"
#include "daemon/trust/overlay.h"

namespace tapdeck::trust {
namespace {

constexpr std::string_view kManifestSuffix = ".manifest";
constexpr std::chrono::milliseconds kUndoDeadline{10000};

// What a later process needs to undo a binding. The mounts themselves are found by their tag.
struct Manifest {
  int owner_pid = 0;
  uint64_t owner_start = 0;  // clock ticks since boot: tells a reused pid
  int target_pid = 0;
  uint64_t namespace_inode = 0;
  std::string id;
};

std::string to_text(const Manifest& manifest) {
  std::ostringstream out;
  out << "tapdeck-trust 1\nowner " << manifest.owner_pid << ' ' << manifest.owner_start << "\ntarget "
      << manifest.target_pid << "\nnamespace " << manifest.namespace_inode << "\nid " << manifest.id << '\n';
  return out.str();
}

std::optional<Manifest> parse_manifest(const std::string& text) {
  std::istringstream in(text);
  Manifest manifest;
  std::string word[5];
  int version = 0;
  in >> word[0] >> version >> word[1] >> manifest.owner_pid >> manifest.owner_start >> word[2] >> manifest.target_pid >>
      word[3] >> manifest.namespace_inode >> word[4] >> manifest.id;
  const bool good = !in.fail() && version == 1 && word[0] == "tapdeck-trust" && word[1] == "owner" &&
                    word[2] == "target" && word[3] == "namespace" && word[4] == "id";
  if (!good) return std::nullopt;
  return manifest;
}

std::optional<uint64_t> namespace_of(const std::string& who) {
  struct stat status{};
  if (::stat(("/proc/" + who + "/ns/mnt").c_str(), &status) != 0) return std::nullopt;
  return status.st_ino;
}

bool is_hosts(uint64_t namespace_inode) {
  return namespace_inode == namespace_of("self") || namespace_inode == namespace_of("1");
}

// A living process in the namespace, `hint` if it still is.
std::optional<int> process_in(uint64_t namespace_inode, int hint) {
  if (namespace_of(std::to_string(hint)) == namespace_inode) return hint;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename().string();
    int pid = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (parsed.ptr != name.data() + name.size() || parsed.ec != std::errc{}) continue;
    if (namespace_of(name) == namespace_inode) return pid;
  }
  return std::nullopt;
}

Result<void> undo_manifest(const std::filesystem::path& path, const Manifest& manifest) {
  const std::optional<int> pid = process_in(manifest.namespace_inode, manifest.target_pid);
  if (pid) {
    const Result<std::string> undone =
        run_in_helper([&] { return unmount_overlays(*pid, manifest.namespace_inode, manifest.id); }, kUndoDeadline);
    // The process may end between the look and the join; with the last one goes the namespace.
    if (!undone && process_in(manifest.namespace_inode, *pid)) return std::unexpected(undone.error());
  }
  std::error_code error;
  std::filesystem::remove(path, error);
  if (error) return fail_errno(error.value(), "remove " + path.string());
  return {};
}

Result<Manifest> read_manifest(const std::filesystem::path& path) {
  TRY(text, read_whole_file(path, 65536));
  const std::optional<Manifest> manifest = parse_manifest(text);
  if (!manifest) return fail(Code::Corrupt, "trust manifest " + path.string());
  return *manifest;
}

Result<std::string> random_id() {
  std::array<uint8_t, 8> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return fail_errno(errno, "getrandom");
  }
  return to_hex(bytes);
}

Result<std::filesystem::path> make_directory(const std::filesystem::path& run_dir) {
  std::filesystem::path directory = run_dir / "trust";
  std::error_code error;
  const bool made = std::filesystem::create_directories(directory, error);
  if (error) return fail_errno(error.value(), "create " + directory.string());
  if (made && ::chmod(directory.c_str(), 0700) != 0) return fail_errno(errno, "chmod " + directory.string());
  return directory;
}

// Says whose files they are.
template <class T>
std::unexpected<Error> ours(Result<T> failed) {
  failed.error().origin = Origin::Store;
  return std::unexpected(std::move(failed.error()));
}

struct Sweep {
  size_t undone = 0;
  std::optional<Error> worst;
};

Sweep sweep_leftovers(const std::filesystem::path& run_dir) {
  Sweep sweep;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(run_dir / "trust", error)) {
    if (entry.path().extension() != kManifestSuffix) continue;
    const Result<Manifest> manifest = read_manifest(entry.path());
    if (!manifest) {
      // Without an id there is nothing to find the mounts by.
      if (manifest.error().code == Code::Corrupt) std::filesystem::remove(entry.path(), error);
      continue;
    }
    if (start_time(manifest->owner_pid) == manifest->owner_start || is_held(entry.path())) continue;
    if (auto undone = undo_manifest(entry.path(), *manifest); undone) {
      ++sweep.undone;
    } else {
      sweep.worst = std::move(undone.error());
    }
  }
  return sweep;
}

}  // namespace

Result<bool> shares_host_mounts(int pid) {
  const std::optional<uint64_t> theirs = namespace_of(std::to_string(pid));
  if (!theirs) return fail_errno(errno, "mount namespace of pid " + std::to_string(pid), Origin::Kernel);
  return is_hosts(*theirs);
}

Result<std::unique_ptr<Binding>> bind_into(int pid, const BindOptions& options) {
  // Asked once: a process may be about to join another namespace, or the host's.
  const std::optional<uint64_t> inode = namespace_of(std::to_string(pid));
  if (!inode) return fail_errno(errno, "mount namespace of pid " + std::to_string(pid), Origin::Kernel);
  if (is_hosts(*inode)) {
    return fail(
        Code::Unsupported,
        "pid " + std::to_string(pid) +
            " uses the host's own file system view, which is left alone; set SSL_CERT_FILE and its like in "
            "its environment, start it with 'tapdeck run', or add what 'tapdeck ca export' prints to the host's store",
        Origin::Kernel);
  }
  auto directory = make_directory(options.run_dir);
  if (!directory) return ours(std::move(directory));
  TRY(id, random_id());

  // Written before the first mount: a crash at any point after leaves something to undo by.
  const Manifest manifest{::getpid(), start_time(::getpid()), pid, *inode, id};
  auto binding = std::unique_ptr<Binding>(new Binding());
  binding->manifest_ = *directory / (id + std::string(kManifestSuffix));
  if (auto written = replace_file(binding->manifest_, to_text(manifest), 0600, Sync::No); !written)
    return ours(std::move(written));
  binding->held_ = hold(binding->manifest_);
  binding->id_ = id;
  binding->namespace_inode_ = *inode;
  binding->options_ = options;
  Result<BindReport> report = binding->mount_for(pid);
  if (!report) {
    ignore(binding->undo(), "the manifest stays for clean_leftovers, and the first error says more");
    return std::unexpected(report.error());
  }
  binding->report_ = std::move(*report);
  return binding;
}

Result<BindReport> Binding::mount_for(int pid) const {
  OverlayJob job{.pid = pid,
                 .namespace_inode = namespace_inode_,
                 .id = id_,
                 .scratch = manifest_.parent_path().string(),
                 .host_roots = read_host_roots().value_or(std::string()),
                 .ca = options_.ca,
                 .scan = options_.scan,
                 .environments = options_.environments};
  Result<std::string> report = run_in_helper([&] { return mount_overlays(job); }, options_.deadline);
  if (!report) {
    report.error().detail = "trust for pid " + std::to_string(pid) + ": " + report.error().detail;
    return std::unexpected(report.error());
  }
  return decode_report(*report);
}

Result<void> Binding::complete(int pid) {
  TRY(more, mount_for(pid));
  std::ranges::move(more.mounted, std::back_inserter(report_.mounted));
  report_.skipped = std::move(more.skipped);
  report_.is_partial = more.is_partial;
  return {};
}

Binding::~Binding() {
  ignore(Binding::undo(), "a destructor cannot report; the manifest stays for clean_leftovers");
}

bool Binding::covers(int pid) const {
  if (namespace_of(std::to_string(pid)) != namespace_inode_) return false;
  // Inode numbers are used again: the mounts themselves tell.
  const Result<std::string> mounts = read_whole_file("/proc/" + std::to_string(pid) + "/mountinfo", kMaxMountinfo);
  if (!mounts) return false;
  return std::ranges::count(parse_mountinfo(*mounts), source_tag(id_), &MountEntry::source) > 0;
}

Result<void> Binding::undo() {
  if (manifest_.empty()) return {};
  TRY(manifest, read_manifest(manifest_));
  TRY_VOID(undo_manifest(manifest_, manifest));
  manifest_.clear();
  return {};
}

void Binding::abandon() {
  std::error_code error;
  if (!manifest_.empty()) std::filesystem::remove(manifest_, error);
  manifest_.clear();
}

Result<size_t> clean_leftovers(const std::filesystem::path& run_dir) {
  size_t count = 0;
  // A binding may lie on another that comes first in the directory: once more as long as it helps.
  for (;;) {
    Sweep sweep = sweep_leftovers(run_dir);
    count += sweep.undone;
    if (sweep.worst && sweep.undone == 0) return std::unexpected(std::move(*sweep.worst));
    if (!sweep.worst) return count;
  }
}

}  // namespace tapdeck::trust
