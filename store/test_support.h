// What the tests of store/ share: a directory of their own and a quick way to record an exchange. Tests only.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <latch>
#include <memory>
#include <string>
#include <vector>

#include "daemon/base/test_directory.h"
#include "store/exchange_store.h"
#include "store/recording_builder.h"
#include "store/store_writer.h"

namespace tapdeck::store {

// `size` bytes that belong to `id` alone.
inline std::string body_of(uint64_t id, size_t size) {
  std::string body(size, static_cast<char>('a' + id % 26));
  const std::string name = std::to_string(id);
  if (size >= name.size()) body.replace(0, name.size(), name);
  return body;
}

// In all files.
inline uint64_t bytes_below(const std::string& path) {
  uint64_t bytes = 0;
  std::error_code error;  // a file may go while it is looked at
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path, error)) {
    if (const auto size = entry.file_size(error); !error) bytes += size;
  }
  return bytes;
}

inline std::unique_ptr<ExchangeStore> open_store(StoreOptions options, Access access = Access::ReadWrite) {
  auto store = ExchangeStore::open(std::move(options), access);
  EXPECT_TRUE(store.has_value()) << (store ? "" : store.error().message());
  return store ? std::move(*store) : nullptr;
}

inline std::unique_ptr<ExchangeStore> open_store(const std::string& path, Access access = Access::ReadWrite) {
  StoreOptions options;
  options.path = path;
  return open_store(std::move(options), access);
}

// Records GET/POST https://api.example.com<target> into one take, by the shortest way.
class Recorder {
 public:
  Recorder(ExchangeStore& store, const std::string& session, Append append = Append::No)
      : store_(store),
        hasher_(*store.key_secret(session)),
        redactor_({}, store.redaction_secret()),
        take_(*store.open_take(session, append)) {}

  RecordingBuilder begin(const std::string& target, const std::string& request_body = {}) {
    http::RequestHead head;
    head.method = request_body.empty() ? "GET" : "POST";
    head.target = target;
    head.headers.add("Host", "api.example.com");
    RecordingBuilder builder({hasher_, redactor_, take_}, store_.allocate_id(), started_++, "https", "api.example.com",
                             443, head);
    if (!request_body.empty()) builder.body(BodySide::Request, request_body, 0);
    return builder;
  }
  static http::ResponseHead ok() {
    http::ResponseHead head;
    head.status = 200;
    head.reason = "OK";
    return head;
  }
  std::vector<PendingWrite> whole(const std::string& target, const std::string& response_body,
                                  const std::string& request_body = {}, Outcome outcome = {}) {
    auto builder = begin(target, request_body);
    builder.response(ok());
    builder.body(BodySide::Response, response_body, 10);
    builder.finish(std::move(outcome));
    std::vector<PendingWrite> writes;
    builder.take_writes(writes);
    return writes;
  }
  uint64_t record(const std::string& target, const std::string& response_body, const std::string& request_body = {},
                  Outcome outcome = {}) {
    auto writes = whole(target, response_body, request_body, std::move(outcome));
    const auto result = store_.write(writes, Durability::Wal);
    EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().message());
    return writes.back().id;
  }
  [[nodiscard]] Key key(const std::string& target, const std::string& request_body = {}) const {
    KeyBuilder builder(hasher_, "https", "api.example.com", 443, request_body.empty() ? "GET" : "POST", target);
    builder.body(request_body);
    return builder.key();
  }
  [[nodiscard]] const Take& take() const { return take_; }
  void set_started(int64_t unix_us) { started_ = unix_us; }

 private:
  ExchangeStore& store_;
  KeyHasher hasher_;
  Redactor redactor_;
  Take take_;
  int64_t started_ = 1'700'000'000'000'000;
};

// Keeps a writer's thread, which has nothing else to do, from before it was made until it goes: what is handed over
// meanwhile waits.
class HeldWriter final : private Completion {
 public:
  HeldWriter(StoreWriter& writer, Recorder& recorder) : writer_(writer) {
    auto writes = recorder.whole("/held", "x");
    EXPECT_TRUE(writer_.submit(writes, this, 0));
    is_held_.wait();
  }
  ~HeldWriter() {
    goes_on_.count_down();
    writer_.flush();
  }
  HeldWriter(const HeldWriter&) = delete;
  HeldWriter& operator=(const HeldWriter&) = delete;

 private:
  void written(uint64_t /*token*/, const Result<void>& /*result*/) override {
    is_held_.count_down();
    goes_on_.wait();
  }

  StoreWriter& writer_;
  std::latch is_held_{1};
  std::latch goes_on_{1};
};

}  // namespace tapdeck::store
