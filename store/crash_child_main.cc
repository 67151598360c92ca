// The process that crash_test.cc kills: records into a store and says what was acknowledged. A program of its own,
// because RocksDB's threads do not survive a plain fork. Tests only.
//   crash_child record|long-body|withdrawn|withdrawn-begun DIRECTORY FD     eight bytes on FD an acknowledged id
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>

#include "store/store_writer.h"
#include "store/test_support.h"
#include "store/withdrawals.h"

namespace {

std::atomic<bool> disk_stands_still{false};
std::atomic<bool> log_stands_still{false};  // nothing more gets into it
std::atomic<bool> waits_for_disk{false};

bool is_log(int fd) {
  char name[256];
  const auto size = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), name, sizeof name);
  return std::string_view(name, static_cast<size_t>(std::max<ssize_t>(size, 0))).ends_with(".log");
}

}  // namespace

// Both in place of glibc's, for RocksDB as well.
extern "C" ssize_t write(int fd, const void* bytes, size_t size) {
  while (log_stands_still && is_log(fd)) {
    waits_for_disk = true;
    ::pause();
  }
  return static_cast<ssize_t>(::syscall(SYS_write, fd, bytes, size));
}

extern "C" int fdatasync(int fd) {
  while (disk_stands_still) {
    waits_for_disk = true;
    ::pause();
  }
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}

namespace tapdeck::store {
namespace {

// Tells the parent. A pipe nobody reads any more means that the parent is gone: so are we.
void tell(int fd, uint64_t id) {
  if (::write(fd, &id, sizeof id) != static_cast<ssize_t>(sizeof id)) std::_Exit(1);
}

class PipeAnswers final : public Completion {
 public:
  explicit PipeAnswers(int fd) : fd_(fd) {}
  void written(uint64_t token, const Result<void>& result) override {
    if (result) tell(fd_, token);
  }

 private:
  int fd_;
};

void record_until_killed(ExchangeStore& store, int fd) {
  auto writer = *StoreWriter::start(store);
  PipeAnswers answers(fd);
  Recorder recorder(store, "s");
  while (true) {
    auto builder = recorder.begin("/x");
    builder.response(Recorder::ok());
    const uint64_t id = builder.id();
    builder.body(BodySide::Response, body_of(id, 3000), 1);
    builder.finish({});
    std::vector<PendingWrite> writes;
    builder.take_writes(writes);
    while (!writer->submit(writes, &answers, id)) writer->flush();
  }
}

void stop_in_the_middle_of_a_long_body(ExchangeStore& store, int fd) {
  Recorder recorder(store, "s");
  auto builder = recorder.begin("/long", "question");
  builder.response(Recorder::ok());
  builder.body(BodySide::Response, std::string(600'000, 'z'), 1);
  std::vector<PendingWrite> writes;
  builder.take_writes(writes);
  if (!store.write(writes, Durability::Wal)) std::_Exit(1);
  tell(fd, builder.id());
  while (true) ::pause();
}

template <class Condition>
void wait_until(Condition is_so) {
  const auto patience = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!is_so()) {
    if (std::chrono::steady_clock::now() > patience) std::_Exit(1);
    std::this_thread::yield();
  }
}

bool is_noted(const ExchangeStore& store, uint64_t id) {
  return std::ranges::count(Withdrawals::left(store.options().path), id) > 0;
}

void stop_where_the_disk_stands_still(ExchangeStore& store, int fd) {
  auto writer = *StoreWriter::start(store);
  Recorder recorder(store, "s");
  recorder.record("/kept", "x");
  disk_stands_still = true;
  auto writes = recorder.whole("/withdrawn", "y");
  const uint64_t id = writes.back().id;
  if (!writer->submit(writes, nullptr, 0)) std::_Exit(1);
  wait_until([] { return waits_for_disk.load(); });  // it is in the log
  writer->withdraw(id);
  wait_until([&] { return is_noted(store, id); });
  tell(fd, id);
  while (true) ::pause();
}

// A long one, which is withdrawn before its end is written: what was written of it is to go all the same.
void stop_before_a_withdrawn_end_is_written(ExchangeStore& store, int fd) {
  auto writer = *StoreWriter::start(store);
  Recorder recorder(store, "s");
  auto builder = recorder.begin("/withdrawn");
  builder.response(Recorder::ok());
  builder.body(BodySide::Response, body_of(1, 2 * kSegmentBytes), 0);
  std::vector<PendingWrite> writes;
  builder.take_writes(writes);
  if (!writer->submit(writes, nullptr, 0)) std::_Exit(1);
  writer->flush();
  {
    const HeldWriter held(*writer, recorder);
    builder.finish({});
    builder.take_writes(writes);
    if (!writer->submit(writes, nullptr, 0)) std::_Exit(1);
    writer->withdraw(builder.id());
    wait_until([&] { return is_noted(store, builder.id()); });
    log_stands_still = true;
    std::thread([&store, &writer, fd, id = builder.id()] {
      wait_until([] { return waits_for_disk.load(); });
      // Behind whatever is said of the first.
      writer->withdraw(id + 100);
      wait_until([&] { return is_noted(store, id + 100); });
      tell(fd, id);
    }).detach();
  }
  std::_Exit(1);  // the writer came past what it waits for
}

}  // namespace
}  // namespace tapdeck::store

int main(int argc, char** argv) {
  using namespace tapdeck::store;
  if (argc != 4) return 2;
  const std::string_view what = argv[1];
  StoreOptions options;
  options.path = argv[2];
  if (what == "withdrawn") options.durability = Durability::Fsync;
  const auto store = open_store(options);
  if (store == nullptr) return 1;
  const int fd = std::atoi(argv[3]);
  if (what == "record") record_until_killed(*store, fd);
  if (what == "withdrawn") stop_where_the_disk_stands_still(*store, fd);
  if (what == "withdrawn-begun") stop_before_a_withdrawn_end_is_written(*store, fd);
  stop_in_the_middle_of_a_long_body(*store, fd);
}
