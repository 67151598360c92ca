// A store that meets a limit or an error of the disk when it has to write something out: it is read on as long as that
// can be, and goes on when the cause is gone, asked for by whoever comes first.
#include <filesystem>
#include <fstream>
#include <functional>

#include "daemon/base/eventually.h"
#include "daemon/base/test_descriptors.h"
#include "store/test_support.h"

namespace tapdeck::store {
namespace {

namespace fs = std::filesystem;

// What is in memory is written out soon.
StoreOptions small(const std::string& path) {
  StoreOptions options;
  options.path = path;
  options.max_bytes = 32 << 20;
  return options;
}

struct Rig {
  TestDirectory dir;
  std::unique_ptr<ExchangeStore> store = open_store(small(dir.path()));
  Recorder recorder{*store, "s"};
  size_t kept = 0;
  uint64_t salt = 0;

  Result<void> record() {
    auto writes = recorder.whole("/x", body_of(salt++, 200'000));
    auto written = store->write(writes, Durability::Wal);
    if (written) ++kept;
    return written;
  }
  // What was acknowledged is there once whatever is in memory could not be written out.
  void record_until_it_fails() {
    for (int i = 0; i < 1000; ++i) {
      if (!record()) return;
    }
    ADD_FAILURE() << "nothing failed";
  }
  size_t listed() {
    const auto page = store->list_recordings({}, 1000);
    EXPECT_TRUE(page) << page.error().message();
    return page ? page->items.size() : 0;
  }
};

TEST(Closed, AStoreWithoutDescriptorsIsReadAndGoesOnWhenThereAreSome) {
  const int first = descriptor_after(0);
  Rig rig;
  {
    const DescriptorLimit none(first);  // nor are there any for it when it is closed: clients wait for those
    rig.record_until_it_fails();
    EXPECT_FALSE(rig.record());
    EXPECT_TRUE(rig.store->check_open());
    EXPECT_EQ(rig.listed(), rig.kept);
  }
  const auto written = rig.record();
  EXPECT_TRUE(written) << written.error().message();
  EXPECT_EQ(rig.listed(), rig.kept);
}

#if !__has_feature(address_sanitizer)  // whose own memory is address space too
// While it lives, the process gets that much address space and no more.
class MemoryLimit {
 public:
  explicit MemoryLimit(uint64_t more) {
    ::getrlimit(RLIMIT_AS, &before_);
    uint64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const rlimit little{pages * static_cast<uint64_t>(::getpagesize()) + more, before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_AS, &little), 0);
  }
  ~MemoryLimit() { ::setrlimit(RLIMIT_AS, &before_); }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

 private:
  rlimit before_{};
};

TEST(Closed, AStoreWithoutMemoryToOpenItIsReadAndGoesOnWhenThereIsSome) {
  const int first = descriptor_after(0);
  Rig rig;
  {
    const DescriptorLimit none(first);
    rig.record_until_it_fails();
  }
  {
    const MemoryLimit little(16 << 20);
    EXPECT_FALSE(rig.record());
    EXPECT_TRUE(rig.store->check_open());
    EXPECT_EQ(rig.listed(), rig.kept);
  }
  const auto written = rig.record();
  EXPECT_TRUE(written) << written.error().message();
  EXPECT_EQ(rig.listed(), rig.kept);
}
#endif

// Neither written nor opened again while something else is where its files were.
class ClosedStore {
 public:
  ClosedStore() {
    EXPECT_TRUE(rig_.record());
    fs::rename(db_, aside_);
    std::ofstream(db_) << "no directory";
    rig_.record_until_it_fails();
    EXPECT_FALSE(store().check_open());
    EXPECT_FALSE(store().list_recordings({}));
  }
  void end_of_cause() const {
    fs::remove(db_);
    fs::rename(aside_, db_);
  }
  [[nodiscard]] ExchangeStore& store() { return *rig_.store; }
  void expect_all_there() {
    EXPECT_TRUE(store().check_open());
    EXPECT_EQ(rig_.listed(), rig_.kept);
    EXPECT_TRUE(rig_.record());
  }

 private:
  Rig rig_;
  const std::string db_ = rig_.dir.path() + "/db", aside_ = rig_.dir.path() + "/aside";
};

TEST(Closed, TheCommandThatOpensAStoreAgainSucceedsItself) {
  const std::function<bool(ExchangeStore&)> commands[] = {
      [](ExchangeStore& store) { return store.create_session("new").has_value(); },
      [](ExchangeStore& store) { return store.activate_session("s").has_value(); },
      [](ExchangeStore& store) { return store.open_take("s", Append::Yes).has_value(); },
      [](ExchangeStore& store) { return store.open_take_of({"web", "record"}, "s", Append::Yes).has_value(); },
  };
  for (const auto& command : commands) {
    ClosedStore closed;
    EXPECT_FALSE(closed.store().create_session("early")) << "as long as it cannot";
    closed.end_of_cause();
    EXPECT_TRUE(command(closed.store()));
    closed.expect_all_there();
  }
}

TEST(Closed, AStoreThatNobodyWritesToIsOpenedAgainByItsWriter) {
  ClosedStore closed;
  const auto writer = *StoreWriter::start(closed.store());
  closed.end_of_cause();
  EXPECT_TRUE(eventually([&] { return closed.store().check_open().has_value(); }));
  closed.expect_all_there();
}

TEST(Closed, PruningTriesOnceASecondToOpenIt) {
  ClosedStore closed;
  constexpr int64_t kSecond = 1'000'000;
  ignore(closed.store().prune(10 * kSecond), "its cause is there");
  closed.end_of_cause();
  ignore(closed.store().prune(10 * kSecond + kSecond / 2), "too early");
  EXPECT_FALSE(closed.store().check_open());
  EXPECT_TRUE(closed.store().prune(11 * kSecond));
  closed.expect_all_there();
}

}  // namespace
}  // namespace tapdeck::store
