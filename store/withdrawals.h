// Withdrawals: notes the recordings that are to be taken back although the writer may be writing them this moment, so
// that a process that is killed leaves word of them to the next one. In a file of its own, since whoever writes into
// the database waits behind that very write, and by a thread of its own, since the disk may stand still altogether.
//
// Not the taking back (ExchangeStore::withdraw). Owner: StoreWriter. Thread: any; never waits for the disk.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace tapdeck::store {

class Withdrawals {
 public:
  explicit Withdrawals(const std::string& store_path);
  // Returns when all is noted.
  ~Withdrawals();
  Withdrawals(const Withdrawals&) = delete;
  Withdrawals& operator=(const Withdrawals&) = delete;

  void note(uint64_t recording);
  // All that were noted are gone, and all that were left().
  void settle();

  // What a process before has left there; some may be gone already.
  [[nodiscard]] static std::vector<uint64_t> left(const std::string& store_path);
  static void forget(const std::string& store_path);

 private:
  void start();  // mutex_ held
  void run();

  const std::string path_;
  std::mutex mutex_;  // what follows
  std::condition_variable work_;
  std::vector<uint64_t> pending_;
  bool is_settled_ = false;  // the file is to go, before what is pending
  bool stopping_ = false;
  std::thread thread_;  // from the first of them on
};

}  // namespace tapdeck::store
