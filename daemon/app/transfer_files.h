// Files by way of which sessions are exported and imported, and which nobody shall find afterwards: they are as
// sensitive as the traffic. Thread: any.
#pragma once

#include <filesystem>
#include <string>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::app {

// An empty file in `directory`, open for reading and writing, that has no name: it is gone with its descriptor.
[[nodiscard]] Result<UniqueFd> nameless_file(const std::filesystem::path& directory);

// A copy in the state directory, import-PID.tapdeck (0600), for a daemon that sees neither our /tmp nor our home; gone
// with this. What a process that was killed leaves is removed by remove_left_imports().
class StagedImport {
 public:
  // `from` may be what has no end to seek to; errors call it `shown`.
  [[nodiscard]] static Result<StagedImport> copy_of(const std::string& from, const std::string& shown,
                                                    const std::filesystem::path& state_dir);
  StagedImport(StagedImport&& other) noexcept = default;
  StagedImport& operator=(StagedImport&&) = delete;
  ~StagedImport();
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  StagedImport(std::filesystem::path path, UniqueFd held) : path_(std::move(path)), held_(std::move(held)) {}
  std::filesystem::path path_;
  UniqueFd held_;  // locked: it is not left over
};

// Those whose processes are dead and which nobody holds.
void remove_left_imports(const std::filesystem::path& state_dir);

}  // namespace tapdeck::app
