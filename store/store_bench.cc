// How many recordings a second one thread builds and the writer stores, and what of it a core pays. Not a test:
//   store_bench [recordings] [distinct bodies] [distinct requests]
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "store/store_writer.h"

namespace {

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}
double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

int main(int argc, char** argv) {
  using namespace tapdeck;
  using namespace tapdeck::store;
  const int count = argc > 1 ? std::atoi(argv[1]) : 200000;
  const int distinct = argc > 2 ? std::atoi(argv[2]) : 1;
  const int requests = argc > 3 ? std::atoi(argv[3]) : 1;
  char directory[] = "/tmp/tapdeck-store-bench-XXXXXX";
  StoreOptions options;
  options.path = ::mkdtemp(directory);
  double start = now();
  auto opened = ExchangeStore::open(options, Access::ReadWrite);
  if (!opened) return std::fprintf(stderr, "%s\n", opened.error().message().c_str()), 1;
  std::printf("create %.1f ms\n", (now() - start) * 1e3);
  auto& store = **opened;
  const KeyHasher hasher(*store.key_secret("s"));
  const Redactor redactor({}, store.redaction_secret());
  const BuilderContext context{hasher, redactor, *store.open_take("s", Append::No)};
  http::RequestHead request;
  request.method = "GET";
  request.target = "/index.html?some=query";
  for (const char* name : {"Host", "User-Agent", "Accept", "Accept-Encoding"})
    request.headers.add(name, "some value of it");
  http::ResponseHead response;
  response.status = 200;
  response.reason = "OK";
  for (const char* name : {"Server", "Date", "Content-Type", "Content-Length", "Last-Modified", "ETag"})
    response.headers.add(name, "another value of it");
  std::string body(2048, 'b');

  start = now();
  const double key_cpu = cpu_seconds();
  for (int i = 0; i < count; ++i) {
    KeyBuilder key(hasher, "https", "api.example.com", 443, "GET", request.target);
    if (key.key().bytes[0] == 1 && key.parts().port == 1) return 2;
  }
  std::printf("key    %.3f us\n", (cpu_seconds() - key_cpu) / count * 1e6);

  double build_cpu = 0;
  const double all_cpu = cpu_seconds();
  start = now();
  {
    auto writer = *StoreWriter::start(store);
    std::vector<PendingWrite> writes;
    for (int i = 0; i < count;) {
      // A loop turn of a worker finishes about 16 exchanges.
      const double turn = now();
      for (int n = 0; n < 16; ++n, ++i) {
        if (requests > 1) request.target = "/index.html?some=" + std::to_string(i % requests);
        RecordingBuilder builder(context, store.allocate_id(), i, "https", "api.example.com", 443, request);
        builder.response(response);
        const std::string number = std::to_string(i % distinct);
        body.replace(0, number.size(), number);
        builder.body(BodySide::Response, body, 100);
        builder.provenance().upstream_alpn = "http/1.1";
        builder.finish({});
        builder.take_writes(writes);
      }
      build_cpu += now() - turn;
      while (!writer->submit(writes, nullptr, 0)) writer->flush();
    }
    writer->flush();
    const auto stats = writer->stats();
    std::printf("batches of %.1f\n", static_cast<double>(stats.recordings) / static_cast<double>(stats.batches));
  }
  const double cpu = cpu_seconds() - all_cpu;
  std::printf("stored %d in %.2f s: %.0f/s, %.2f us CPU each (builder about %.2f); 25,000/s is %.0f %% of a core\n",
              count, now() - start, count / (now() - start), cpu / count * 1e6, build_cpu / count * 1e6,
              cpu / count * 25000 * 100);
  start = now();
  opened->reset();
  std::printf("close  %.1f ms\n", (now() - start) * 1e3);
  start = now();
  opened = ExchangeStore::open(options, Access::ReadWrite);
  std::printf("reopen %.1f ms\n", (now() - start) * 1e3);
  opened->reset();
  std::filesystem::remove_all(options.path);
  return 0;
}
