// TestDirectory: a directory of a test's own below the temporary one, and the few file operations tests need. For tests
// alone. Thread: any.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

namespace tapdeck {

class TestDirectory {
 public:
  TestDirectory() {
    path_ = (std::filesystem::temp_directory_path() / "tapdeck-test-XXXXXX").string();
    if (::mkdtemp(path_.data()) == nullptr) ADD_FAILURE() << "mkdtemp " << path_;
  }
  // Goes with all that is in it; that it cannot, because something is mounted below, is a failure of the test.
  ~TestDirectory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
    EXPECT_FALSE(error) << path_ << ": " << error.message();
  }
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::filesystem::path operator/(const std::filesystem::path& name) const {
    return std::filesystem::path(path_) / name;
  }
  // The file of that name, whole; makes the directories on the way.
  std::filesystem::path write(const std::filesystem::path& name, std::string_view text) const {
    std::filesystem::path file = *this / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
    return file;
  }
  void link(const std::filesystem::path& name, const std::filesystem::path& target) const {
    std::filesystem::create_directories((*this / name).parent_path());
    std::filesystem::create_symlink(target, *this / name);
  }
  [[nodiscard]] std::string read(const std::filesystem::path& name) const { return read_file(*this / name); }
  [[nodiscard]] static std::string read_file(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  std::string path_;
};

}  // namespace tapdeck
