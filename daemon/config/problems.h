// What is wrong with a configuration, each with its place. Internal to config/. Thread: any.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tapdeck::config {

struct Place {
  size_t line = 0, column = 0;
};

[[nodiscard]] inline std::string at(std::string_view file, Place place, const std::string& what) {
  return std::string(file) + ':' + std::to_string(place.line) + ':' + std::to_string(place.column) + ": " + what;
}

[[nodiscard]] inline std::string in_quotes(std::string_view text) {
  return "'" + std::string(text) + "'";
}

class Problems {
 public:
  explicit Problems(std::string_view file) : file_(file) {}

  void add(Place place, const std::string& what) {
    if (++count_ > kMost) return;
    if (!text_.empty()) text_ += '\n';
    text_ += at(file_, place, what);
  }
  [[nodiscard]] bool none() const { return count_ == 0; }
  [[nodiscard]] std::string text() const {
    if (count_ <= kMost) return text_;
    return text_ + "\n... and " + std::to_string(count_ - kMost) + " more";
  }

 private:
  static constexpr size_t kMost = 20;  // more do not help a reader

  std::string file_;
  std::string text_;
  size_t count_ = 0;
};

}  // namespace tapdeck::config
