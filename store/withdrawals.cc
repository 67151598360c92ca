#include "store/withdrawals.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <utility>

#include "daemon/base/threads.h"
#include "daemon/base/unique_fd.h"
#include "daemon/base/whole_file.h"
#include "store/byte_codec.h"

namespace tapdeck::store {
namespace {

constexpr size_t kEntryBytes = sizeof(uint64_t);

std::string file_of(const std::string& store_path) {
  return store_path + "/withdrawn";
}

Result<void> append(const std::string& path, std::string_view bytes) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  struct stat before{};
  if (!file || ::fstat(file.get(), &before) != 0) return fail_errno(errno, "open " + path, Origin::Store);
  auto written = write_all(file.get(), bytes);
  // Half an entry would shift those that follow it.
  if (!written && ::ftruncate(file.get(), before.st_size) != 0) ::unlink(path.c_str());
  return written;
}

}  // namespace

Withdrawals::Withdrawals(const std::string& store_path) : path_(file_of(store_path)) {}

Withdrawals::~Withdrawals() {
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
  }
  work_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Withdrawals::note(uint64_t recording) {
  const std::lock_guard guard(mutex_);
  pending_.push_back(recording);
  start();
}

void Withdrawals::settle() {
  const std::lock_guard guard(mutex_);
  pending_.clear();
  is_settled_ = true;
  start();
}

void Withdrawals::start() {
  if (!thread_.joinable()) {
    auto started = start_thread([this] { run(); });
    if (started) thread_ = std::move(*started);
  }
  work_.notify_one();
}

void Withdrawals::run() {
  std::unique_lock guard(mutex_);
  while (true) {
    work_.wait(guard, [this] { return stopping_ || is_settled_ || !pending_.empty(); });
    if (!is_settled_ && pending_.empty()) return;
    const bool is_settled = std::exchange(is_settled_, false);
    std::string bytes;
    for (const uint64_t recording : std::exchange(pending_, {})) ByteWriter(bytes).u64(recording);
    guard.unlock();
    if (is_settled) ::unlink(path_.c_str());
    if (!bytes.empty()) ignore(append(path_, bytes), "they are taken back all the same, unless we are killed first");
    guard.lock();
  }
}

std::vector<uint64_t> Withdrawals::left(const std::string& store_path) {
  std::ifstream file(file_of(store_path), std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  ByteReader reader(bytes);
  std::vector<uint64_t> recordings(bytes.size() / kEntryBytes);
  for (uint64_t& recording : recordings) recording = reader.u64();
  return recordings;
}

void Withdrawals::forget(const std::string& store_path) {
  ::unlink(file_of(store_path).c_str());
}

}  // namespace tapdeck::store
