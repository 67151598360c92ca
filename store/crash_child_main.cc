// The process that crash_test.cc kills: records into a store and says what was acknowledged. A program of its own,
// because RocksDB's threads do not survive a plain fork. Tests only.
//   crash_child record|long-body DIRECTORY FD     eight bytes on FD an acknowledged id
#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "store/store_writer.h"
#include "store/test_support.h"

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

}  // namespace
}  // namespace tapdeck::store

int main(int argc, char** argv) {
  using namespace tapdeck::store;
  if (argc != 4) return 2;
  const auto store = open_store(std::string(argv[2]));
  if (store == nullptr) return 1;
  const int fd = std::atoi(argv[3]);
  if (std::string_view(argv[1]) == "record") record_until_killed(*store, fd);
  stop_in_the_middle_of_a_long_body(*store, fd);
}
