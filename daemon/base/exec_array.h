// Strings as the system calls that begin a program take them. Thread: any. Pure.
#pragma once

#include <string>
#include <vector>

namespace tapdeck {

// A pointer to each, and a null pointer at the end: what execve(2) and posix_spawn(3) call argv and envp. Valid until
// `strings` or one of them changes.
[[nodiscard]] inline std::vector<char*> exec_array(std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (std::string& text : strings) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

}  // namespace tapdeck
