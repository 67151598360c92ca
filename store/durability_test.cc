// What each durability asks of the disk, by counting the system calls: no crash of a process can tell them apart.
#include <gmock/gmock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>

#include "store/store_writer.h"
#include "store/test_support.h"

namespace {

std::atomic<int> log_syncs{0};

void note_sync(int fd) {
  std::error_code failed;
  const auto path = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), failed);
  if (!failed && path.extension() == ".log") ++log_syncs;  // RocksDB's, not of a table or its list of tables
}

}  // namespace

// In place of glibc's, for RocksDB as well.
extern "C" int fdatasync(int fd) {
  note_sync(fd);
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}
extern "C" int fsync(int fd) {
  note_sync(fd);
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

namespace tapdeck::store {
namespace {

std::unique_ptr<ExchangeStore> open_with(const std::string& path, Durability durability) {
  StoreOptions options;
  options.path = path;
  options.durability = durability;
  return open_store(std::move(options));
}

TEST(DurabilityTest, OnlyFsyncWaitsForTheDisk) {
  for (const Durability durability : {Durability::Wal, Durability::Async, Durability::Fsync}) {
    const TestDirectory dir;
    const auto store = open_with(dir.path(), durability);
    Recorder recorder(*store, "s");
    auto writes = recorder.whole("/a", "body");
    log_syncs = 0;
    ASSERT_TRUE(store->write(writes, durability));
    EXPECT_EQ(log_syncs > 0, durability == Durability::Fsync) << static_cast<int>(durability);
  }
}

TEST(DurabilityTest, TheWriterAsksForWhatTheStoreWasOpenedWith) {
  for (const Durability durability : {Durability::Wal, Durability::Async, Durability::Fsync}) {
    const TestDirectory dir;
    const auto store = open_with(dir.path(), durability);
    Recorder recorder(*store, "s");
    const auto writer = *StoreWriter::start(*store);
    auto writes = recorder.whole("/a", "body");
    log_syncs = 0;
    ASSERT_TRUE(writer->submit(writes, nullptr, 0));
    writer->flush();
    ASSERT_EQ(writer->stats().recordings, 1U);
    EXPECT_EQ(log_syncs > 0, durability == Durability::Fsync) << static_cast<int>(durability);
  }
}

}  // namespace
}  // namespace tapdeck::store
