// For tests: a disk that fills up.
#pragma once

#include <gtest/gtest.h>
#include <sys/mount.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "daemon/base/test_directory.h"

namespace tapdeck::store {

// A disk of its own; once it is full, nothing else can be written to it. False where it cannot be mounted.
class SmallDisk {
 public:
  explicit SmallDisk(uint64_t mib) {
    const std::string size = "nr_inodes=500,size=" + std::to_string(mib) + "m";
    mounted_ = ::mount("tapdeck-test", dir_.path().c_str(), "tmpfs", 0, size.c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) EXPECT_EQ(::umount2(dir_.path().c_str(), MNT_DETACH), 0);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  explicit operator bool() const { return mounted_; }
  [[nodiscard]] std::string store() const { return dir_.path() + "/store"; }
  [[nodiscard]] std::string files() const { return dir_.path() + "/files"; }
  void fill() {
    const std::string block(64 << 10, 'f');
    std::ofstream filler(dir_.path() + "/filler", std::ios::app);
    filler.rdbuf()->pubsetbuf(nullptr, 0);
    while (filler.write(block.data(), static_cast<std::streamsize>(block.size()))) continue;
    filler.clear();
    while (filler.put('f')) continue;
  }
  // Room there is, but for no file more.
  void fill_with_files() {
    std::filesystem::create_directory(files());
    for (int i = 0; std::ofstream(files() + "/" + std::to_string(i)); ++i) continue;
  }
  void relieve() { std::filesystem::remove(dir_.path() + "/filler"); }

 private:
  TestDirectory dir_;
  bool mounted_ = false;
};

}  // namespace tapdeck::store
