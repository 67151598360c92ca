#include "store/merge_receipt.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <sstream>

namespace tapdeck::store {
namespace {

std::string path_in(const std::string& pending_directory) {
  return pending_directory + "/receipt";
}

}  // namespace

Result<MergeReceipt> MergeReceipt::place(const std::string& pending_directory) {
  const std::string path = path_in(pending_directory);
  MergeReceipt receipt;
  receipt.file_ = UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!receipt.file_) return fail_errno(errno, "make " + path, Origin::Store);
  return receipt;
}

// Lines of "session, session there, take"; names hold no spaces. A merge that was cut short and went on may have
// written one twice: the last counts.
std::optional<MergedAs> MergeReceipt::of(std::string_view session) const {
  std::string text(1 << 16, '\0');
  const ssize_t n = file_ ? ::pread(file_.get(), text.data(), text.size(), 0) : 0;
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  std::istringstream lines(text);
  std::optional<MergedAs> out;
  std::string name;
  MergedAs merged;
  while (lines >> name >> merged.session >> merged.take) {
    if (name == session) out = merged;
  }
  return out;
}

void MergeReceipt::write(const std::string& pending_directory, std::string_view session, const MergedAs& merged) {
  const UniqueFd file(::open(path_in(pending_directory).c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  if (!file) return;
  const std::string line = std::string(session) + " " + merged.session + " " + std::to_string(merged.take) + "\n";
  ignore(::write(file.get(), line.data(), line.size()), "its reader does without");
}

}  // namespace tapdeck::store
