// Space kept for getting out of a full disk: a file that holds nothing and is given up when the database can neither be
// opened nor write what removes recordings. It comes back when there is room for it again.
//
// Where the file system cannot set space aside without writing it, there is none. Internal to store/. Thread: whoever
// holds the store's write lock, or opens it.
#pragma once

#include <cstdint>
#include <string>

namespace tapdeck::store {

// Bytes that this process may still write there: root has what is set aside for it. 0: not known.
[[nodiscard]] uint64_t room_at(const std::string& path);

class Reserve {
 public:
  // `bytes` 0: none is kept; one that is there is given up all the same.
  Reserve(std::string path, uint64_t bytes) : path_(std::move(path)), bytes_(bytes) {}
  // Unless it is there, or taking it would leave less free than it is long.
  void keep();
  // False: there was nothing to give up.
  [[nodiscard]] bool give_up();
  [[nodiscard]] bool is_kept() const { return is_kept_; }
  // It was given up and did not come back yet.
  [[nodiscard]] bool is_owed() const { return is_owed_; }

 private:
  std::string path_;
  uint64_t bytes_;
  bool is_kept_ = false;
  bool is_owed_ = false;
};

}  // namespace tapdeck::store
