#include "daemon/kernel/other_programs.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <thread>

#include "daemon/base/unique_fd.h"
#include "daemon/kernel/cgroup.h"

namespace tapdeck::kernel {
namespace {

constexpr size_t kMaxDirectories = 4096;  // looked at below a target
constexpr int kTries = 10;                // of programs whose process ends just now
// tapdeck_connect4 and 6, as long as the kernel keeps names.
constexpr std::string_view kProgram = "tapdeck_connect";
static_assert(kProgram.size() == BPF_OBJ_NAME_LEN - 1);

// Empty: it is gone, or may not be looked at.
std::string name_of_program(uint32_t program) {
  const UniqueFd fd(bpf_prog_get_fd_by_id(program));
  bpf_prog_info info{};
  __u32 size = sizeof(info);
  return fd && bpf_obj_get_info_by_fd(fd.get(), &info, &size) == 0 ? info.name : "";
}

bool is_tapdecks(uint32_t program) {
  return name_of_program(program) == kProgram;
}

// Those of the directory itself, or, with BPF_F_QUERY_EFFECTIVE, all that run for its processes.
ProgramIds programs_at(int cgroup_fd, bpf_attach_type point, __u32 flags) {
  std::array<__u32, 64> ids{};
  auto count = static_cast<__u32>(ids.size());
  if (bpf_prog_query(cgroup_fd, point, flags, nullptr, ids.data(), &count) != 0) return {};
  const std::span known = std::span(ids).first(std::min<size_t>(count, ids.size()));
  return {known.begin(), known.end()};
}

ProgramIds without(ProgramIds ids, const ProgramIds& ours) {
  std::erase_if(ids, [&](uint32_t id) { return ours.contains(id); });
  return ids;
}

std::string text_of(const std::filesystem::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

bool holds_one_of(const std::filesystem::path& process, const ProgramIds& programs) {
  std::error_code error;
  for (std::filesystem::directory_iterator it(process / "fd", error), end; !error && it != end; it.increment(error)) {
    std::error_code gone;
    const std::string what = std::filesystem::read_symlink(it->path(), gone).string();
    if (!what.starts_with("anon_inode:bpf")) continue;
    const std::string info = text_of(process / "fdinfo" / it->path().filename());
    const size_t at = info.find("prog_id:\t");
    if (at == std::string::npos) continue;
    uint32_t id = 0;
    std::from_chars(info.data() + at + 9, info.data() + info.size(), id);
    if (programs.contains(id)) return true;
  }
  return false;
}

std::string name_of(const ProgramIds& programs) {
  return "another tapdeck, " + holder_of(programs).value_or("of which no process is seen") + ",";
}

ProgramIds programs_on(const std::string& path) {
  const Result<UniqueFd> directory = open_cgroup(path);
  return directory ? connect_programs_on(directory->get()) : ProgramIds{};
}

// Of the first directory below with programs of others.
std::string find_below(const std::string& path, const ProgramIds& ours, size_t& left) {
  const std::unique_ptr<DIR, int (*)(DIR*)> list(::opendir(path.c_str()), &::closedir);
  while (const dirent* entry = list ? ::readdir(list.get()) : nullptr) {
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
    if (left == 0) return {};
    --left;
    const std::string child = path + "/" + entry->d_name;
    if (const ProgramIds others = without(programs_on(child), ours); !others.empty()) {
      return name_of(others) + " captures " + child + ": what runs there is not seen here";
    }
    if (std::string found = find_below(child, ours, left); !found.empty()) return found;
  }
  return {};
}

}  // namespace

std::optional<std::string> holder_of(const ProgramIds& programs) {
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc", error), end; !error && it != end; it.increment(error)) {
    const std::string pid = it->path().filename().string();
    if (pid.find_first_not_of("0123456789") != std::string::npos || !holds_one_of(it->path(), programs)) continue;
    std::string name = text_of(it->path() / "comm");
    if (name.ends_with('\n')) name.pop_back();
    return "pid " + pid + " (" + name + ")";
  }
  return std::nullopt;
}

ProgramIds connect_programs_on(int cgroup_fd) {
  ProgramIds out = programs_at(cgroup_fd, BPF_CGROUP_INET4_CONNECT, 0);
  std::erase_if(out, [](uint32_t id) { return !is_tapdecks(id); });
  return out;
}

std::string filters_on(int cgroup_fd) {
  std::set<std::string> names;
  for (const bpf_attach_type point : {BPF_CGROUP_INET_EGRESS, BPF_CGROUP_INET_INGRESS}) {
    for (const uint32_t id : programs_at(cgroup_fd, point, BPF_F_QUERY_EFFECTIVE)) {
      const std::string name = name_of_program(id);
      if (!name.starts_with("tapdeck_")) names.insert(name.empty() ? std::to_string(id) : name);
    }
  }
  if (names.empty()) return {};
  std::string text = "its packets may be filtered (";
  for (const std::string& name : names) text += (name == *names.begin() ? "" : ", ") + name;
  return text + "): a filter must let it reach 127.0.0.0/8 and ::1, and does not see what tapdeck sends for it";
}

bool is_taken(int cgroup_fd, const ProgramIds& ours) {
  return !without(connect_programs_on(cgroup_fd), ours).empty();
}

Result<void> check_not_taken(const std::string& cgroup_path, int cgroup_fd, const ProgramIds& ours) {
  std::optional<std::string> holder;
  for (int tries = 1;; ++tries) {
    const ProgramIds others = without(connect_programs_on(cgroup_fd), ours);
    if (others.empty()) return {};
    // Every descriptor of every process is looked at: not each time.
    if (tries == 1 || tries == kTries) holder = holder_of(others);
    if (holder || tries == kTries) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  if (holder) {
    return fail(Code::Busy,
                "another tapdeck, " + *holder + ", captures " + cgroup_path +
                    " already, and only the first sees its connections: detach it there",
                Origin::Kernel);
  }
  return fail(Code::Busy,
              "programs of another tapdeck that has ended are on " + cgroup_path +
                  " still: run 'tapdeck clean' with its configuration",
              Origin::Kernel);
}

std::string others_below(const std::string& cgroup_path, const ProgramIds& ours) {
  size_t left = kMaxDirectories;
  return find_below(cgroup_path, ours, left);
}

std::string others_above(const std::string& cgroup_path, const ProgramIds& ours) {
  for (std::filesystem::path above = std::filesystem::path(cgroup_path).parent_path(); above.has_relative_path();
       above = above.parent_path()) {
    const ProgramIds others = without(programs_on(above.string()), ours);
    if (!others.empty())
      return name_of(others) + " captures " + above.string() + " above: it does not see what runs here";
  }
  return {};
}

}  // namespace tapdeck::kernel
