// netlink_message: one rtnetlink request as it is written, and the answers to it. No shell, no libmnl. Acts on the
// calling thread's network namespace. Not for anyone outside kernel/. Thread: any.
#pragma once

#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "daemon/base/result.h"

namespace tapdeck::kernel {

class NetlinkMessage {
 public:
  // NLM_F_REQUEST is added to `flags`.
  NetlinkMessage(uint16_t type, uint16_t flags);

  // The fixed part behind the header, or behind a nested attribute's.
  template <class T>
  void body(const T& value) {
    append(&value, sizeof(value));
  }
  void attribute(uint16_t type, const void* value, size_t size);
  void attribute(uint16_t type, uint32_t value) { attribute(type, &value, sizeof(value)); }
  // What is added until end() is inside this attribute. Returns what end() wants.
  [[nodiscard]] size_t begin(uint16_t type);
  void end(size_t at);

  // The finished bytes, nlmsghdr first; valid until the next change.
  [[nodiscard]] const std::vector<char>& bytes();

 private:
  void append(const void* data, size_t size);  // padded

  std::vector<char> bytes_;
};

// Sends it and hands every answer but acknowledgements to `each`, which may be empty; the request must ask for an
// acknowledgement (NLM_F_ACK) or a dump. Errors carry the errno that the kernel answered; `what` begins their detail.
[[nodiscard]] Result<void> ask_netlink(NetlinkMessage& message, const std::string& what,
                                       const std::function<void(const nlmsghdr*)>& each = {});

}  // namespace tapdeck::kernel
