// AtEnd: runs a function when its scope is left, by an exception too. A coroutine leaves its scopes also when its frame
// is destroyed. The function must not throw. Thread: its scope's.
#pragma once

#include <utility>

namespace tapdeck {

template <class Function>
class AtEnd {
 public:
  explicit AtEnd(Function function) : function_(std::move(function)) {}
  AtEnd(const AtEnd&) = delete;
  AtEnd& operator=(const AtEnd&) = delete;
  ~AtEnd() { function_(); }

 private:
  Function function_;
};

}  // namespace tapdeck
