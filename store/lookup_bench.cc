// How long a look-up takes when the store is large: fills a store with recordings of distinct requests, opens it again
// as a daemon would, and asks for keys at random. Not a test:
//   lookup_bench RECORDINGS [LOOKUPS] [DIRECTORY]
// Times are the thread's CPU and the clock's; on a machine that does other work the clock's tail is the scheduler's.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>

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

// `absent`: keys that were never recorded.
Result<void> ask(const ExchangeStore& store, uint64_t count, int lookups, bool absent) {
  TRY(secret, store.key_secret("s"));
  const KeyHasher hasher(secret);
  std::mt19937_64 random(1);
  std::vector<double> cpu, wall;
  for (int i = -lookups / 10; i < lookups; ++i) {  // the first tenth warms up
    const uint64_t number = random() % count + (absent ? count : 0);
    KeyBuilder builder(hasher, "https", "api.example.com", 443, "GET", target_of(number));
    const Key key = builder.key();
    const double cpu_start = microseconds(CLOCK_THREAD_CPUTIME_ID), wall_start = microseconds(CLOCK_MONOTONIC);
    TRY(ids, store.lookup("s", key));
    if (ids.empty() != absent) return fail(Code::Internal, "recording " + std::to_string(number));
    if (!absent) TRY_VOID(store.get("s", ids[0]));
    if (i < 0) continue;
    cpu.push_back(microseconds(CLOCK_THREAD_CPUTIME_ID) - cpu_start);
    wall.push_back(microseconds(CLOCK_MONOTONIC) - wall_start);
  }
  print(absent ? "miss, CPU" : "hit and record, CPU", cpu);
  print(absent ? "miss, clock" : "hit and record, clock", wall);
  return {};
}

Result<void> run(const std::string& directory, uint64_t count, int lookups) {
  StoreOptions options;
  options.path = directory;
  const double start = microseconds(CLOCK_MONOTONIC);
  {
    TRY(store, ExchangeStore::open(options, Access::ReadWrite));
    TRY_VOID(fill(*store, count));
  }
  const double filled = microseconds(CLOCK_MONOTONIC);
  TRY(store, ExchangeStore::open(options, Access::ReadWrite));
  std::printf("%llu recordings, filled in %.0f s, opened in %.0f ms\n", static_cast<unsigned long long>(count),
              (filled - start) / 1e6, (microseconds(CLOCK_MONOTONIC) - filled) / 1e3);
  TRY_VOID(ask(*store, count, lookups, false));
  return ask(*store, count, lookups, true);
}

}  // namespace
}  // namespace tapdeck::store

int main(int argc, char** argv) {
  const uint64_t count = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 10000;
  const int lookups = argc > 2 ? std::atoi(argv[2]) : 50000;
  char name[] = "/tmp/tapdeck-lookup-bench-XXXXXX";
  const std::string directory = argc > 3 ? argv[3] : ::mkdtemp(name);
  const auto done = tapdeck::store::run(directory, count, lookups);
  if (!done) std::fprintf(stderr, "lookup_bench: %s\n", done.error().message().c_str());
  std::filesystem::remove_all(directory);
  return done ? 0 : 1;
}
