// How long a look-up takes when the store is large: fills stores with recordings of distinct requests, opens them again
// as a daemon would, and asks for keys at random. Not a test:
//   lookup_bench RECORDINGS[,RECORDINGS...] [LOOKUPS] [DIRECTORY] [as-left | tables | settled]
// Several stores are asked in turns of a hundred, so that all of them have the machine as it is. A DIRECTORY is kept,
// and a store that is in it already is asked as it is. "tables": what lies in memory is written to tables first;
// "settled": and compactions have ended, as in a daemon that has had some quiet minutes.
// Times are the thread's CPU; on a machine that does other work the clock's tail is the scheduler's.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <thread>

#include "store/store_impl.h"
#include "store/store_repair.h"
#include "store/store_writer.h"

namespace tapdeck::store {
namespace {

double microseconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

std::string target_of(uint64_t number) {
  return "/v1/things/" + std::to_string(number) + "?page=1";
}

Result<void> fill(ExchangeStore& store, uint64_t count) {
  TRY(secret, store.key_secret("s"));
  TRY(take, store.open_take("s", Append::No));
  const KeyHasher hasher(secret);
  const Redactor redactor({}, store.redaction_secret());
  http::RequestHead request;
  request.method = "GET";
  for (const char* name : {"Host", "User-Agent", "Accept"}) request.headers.add(name, "some value of it");
  http::ResponseHead response;
  response.status = 200;
  response.reason = "OK";
  for (const char* name : {"Server", "Date", "Content-Type", "Content-Length"})
    response.headers.add(name, "another value of it");
  TRY(writer, StoreWriter::start(store));
  std::vector<PendingWrite> writes;
  for (uint64_t i = 0; i < count; ++i) {
    request.target = target_of(i);
    RecordingBuilder builder({hasher, redactor, take}, store.allocate_id(), static_cast<int64_t>(i), "https",
                             "api.example.com", 443, request);
    builder.response(response);
    builder.body(BodySide::Response, "{\"thing\":" + std::to_string(i) + "}", 100);
    builder.finish({});
    builder.take_writes(writes);
    if (writes.size() < 64 && i + 1 < count) continue;
    while (!writer->submit(writes, nullptr, 0)) writer->flush();
  }
  writer->flush();
  return {};
}

void print(const char* what, std::vector<double>& times) {
  std::ranges::sort(times);
  const auto at = [&](double share) {
    return times[static_cast<size_t>(share * static_cast<double>(times.size() - 1))];
  };
  std::printf("  %-22s median %7.2f  p90 %7.2f  p99 %7.2f us\n", what, at(0.5), at(0.9), at(0.99));
}

// One store, and what its look-ups took.
struct Asked {
  std::string directory;
  uint64_t count = 0;
  std::unique_ptr<ExchangeStore> store;
  std::mt19937_64 random{1};
  std::vector<double> hits, misses;
};

// `absent`: keys that were never recorded.
Result<void> ask(Asked& asked, int lookups, bool absent, std::vector<double>* times) {
  const ExchangeStore& store = *asked.store;
  TRY(secret, store.key_secret("s"));
  const KeyHasher hasher(secret);
  for (int i = 0; i < lookups; ++i) {
    const uint64_t number = asked.random() % asked.count + (absent ? asked.count : 0);
    KeyBuilder builder(hasher, "https", "api.example.com", 443, "GET", target_of(number));
    const Key key = builder.key();
    const double start = microseconds(CLOCK_THREAD_CPUTIME_ID);
    TRY(ids, store.lookup("s", key));
    if (ids.empty() != absent) return fail(Code::Internal, "recording " + std::to_string(number));
    if (!absent) TRY_VOID(store.get("s", ids[0]));
    if (times != nullptr) times->push_back(microseconds(CLOCK_THREAD_CPUTIME_ID) - start);
  }
  return {};
}

// Without the store around it, which has no use for waiting.
Result<void> settle(const std::string& path, bool compacted) {
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* raw = nullptr;
  const auto opened = rocksdb::DB::Open(database_only_options(), path, describe_families({}, 64 << 20), &handles, &raw);
  if (!opened.ok()) return fail_status(opened, "open " + path);
  const std::unique_ptr<rocksdb::DB> db(raw);
  const auto flushed = db->Flush(rocksdb::FlushOptions(), handles);
  const auto is_busy = [&db](const char* property) {
    uint64_t value = 0;
    return db->GetAggregatedIntProperty(property, &value) && value > 0;
  };
  while (compacted && (is_busy("rocksdb.compaction-pending") || is_busy("rocksdb.num-running-compactions")))
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  for (auto* handle : handles) {
    std::string levels;
    for (int level = 0; level < 7; ++level) {
      std::string files;
      db->GetProperty(handle, "rocksdb.num-files-at-level" + std::to_string(level), &files);
      levels += " " + files;
    }
    std::printf("  %-12s files a level:%s\n", handle->GetName().c_str(), levels.c_str());
  }
  for (auto* handle : handles) db->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  return flushed.ok() ? Result<void>{} : fail_status(flushed, "write tables");
}

unsigned long long resident_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::strtoull(line.c_str() + 6, nullptr, 10);
  }
  return 0;
}

Result<void> prepare(Asked& asked, const std::string& how) {
  StoreOptions options;
  options.path = asked.directory;
  const double start = microseconds(CLOCK_MONOTONIC);
  if (!std::filesystem::exists(options.path + "/db/CURRENT")) {
    TRY(store, ExchangeStore::open(options, Access::ReadWrite));
    TRY_VOID(fill(*store, asked.count));
  }
  const double filled = microseconds(CLOCK_MONOTONIC);
  if (how != "as-left") TRY_VOID(settle(options.path + "/db", how == "settled"));
  const double ready = microseconds(CLOCK_MONOTONIC);
  const auto memory = resident_kib();
  TRY(store, ExchangeStore::open(options, Access::ReadWrite));
  asked.store = std::move(store);
  std::printf("%llu recordings, filled in %.0f s, settled in %.0f s, opened in %.0f ms: %llu KiB more\n",
              static_cast<unsigned long long>(asked.count), (filled - start) / 1e6, (ready - filled) / 1e6,
              (microseconds(CLOCK_MONOTONIC) - ready) / 1e3, resident_kib() - memory);
  return {};
}

Result<void> run(std::vector<Asked>& stores, int lookups, const std::string& how) {
  constexpr int kTurn = 100;
  for (auto& asked : stores) TRY_VOID(prepare(asked, how));
  for (int done = -lookups / 10; done < lookups; done += kTurn) {  // the first tenth warms up
    for (auto& asked : stores) {
      TRY_VOID(ask(asked, kTurn, false, done < 0 ? nullptr : &asked.hits));
      TRY_VOID(ask(asked, kTurn, true, done < 0 ? nullptr : &asked.misses));
    }
  }
  for (auto& asked : stores) {
    std::printf("%llu recordings, CPU\n", static_cast<unsigned long long>(asked.count));
    print("hit and record", asked.hits);
    print("miss", asked.misses);
  }
  std::printf("  afterwards %llu KiB\n", resident_kib());
  return {};
}

}  // namespace
}  // namespace tapdeck::store

int main(int argc, char** argv) {
  char name[] = "/tmp/tapdeck-lookup-bench-XXXXXX";
  const std::string directory = argc > 3 ? argv[3] : ::mkdtemp(name);
  std::vector<tapdeck::store::Asked> stores;
  std::istringstream counts(argc > 1 ? argv[1] : "10000");
  for (std::string count; std::getline(counts, count, ',');) {
    auto& asked = stores.emplace_back();
    asked.count = std::strtoull(count.c_str(), nullptr, 10);
    asked.directory = directory + "/" + count;
  }
  const auto done = tapdeck::store::run(stores, argc > 2 ? std::atoi(argv[2]) : 50000, argc > 4 ? argv[4] : "as-left");
  if (!done) std::fprintf(stderr, "lookup_bench: %s\n", done.error().message().c_str());
  stores.clear();
  if (argc <= 3) std::filesystem::remove_all(directory);
  return done ? 0 : 1;
}
