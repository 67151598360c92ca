// A message with descriptors over a unix socket (SCM_RIGHTS, unix(7)). Thread: any.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::app {

inline constexpr size_t kMostDescriptors = 128;  // in one message; the kernel takes 253
inline constexpr size_t kLongestMessage = 4096;

struct FdMessage {
  std::string text;  // empty: the other end is closed
  std::vector<UniqueFd> fds;
};

// InvalidArgument: more descriptors than kMostDescriptors, or a text that is empty or too long. Else errno's.
[[nodiscard]] Result<void> send_message(int socket, std::string_view text, std::span<const int> fds = {});
// Those that come are closed on exec. Truncated: more came than fits. Timeout: SO_RCVTIMEO.
[[nodiscard]] Result<FdMessage> receive_message(int socket);

}  // namespace tapdeck::app
