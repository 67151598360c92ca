// DnsSockets: the sockets that c-ares asks name servers through. Made here because c-ares does not tell a process that
// is out of descriptors from name servers that cannot be reached (ARES_ECONNREFUSED for both).
//
// Owner: the resolver. Thread: its own.
#pragma once

#include <ares.h>

namespace tapdeck::upstream {

class DnsSockets {
 public:
  // For all questions asked through it from now on; this object outlives the channel.
  void serve(ares_channel channel);
  // A question begins: what was wanted for those before says nothing about it.
  void begin() { is_exhausted_ = false; }
  // Since then a socket could not be made for lack of descriptors or memory. c-ares does not say for which question: an
  // answer that came (NXDOMAIN) needed a socket, so that only a question without one may have lacked it.
  [[nodiscard]] bool is_exhausted() const { return is_exhausted_; }

 private:
  static ares_socket_t open(int family, int type, int protocol, void* self);

  bool is_exhausted_ = false;
};

}  // namespace tapdeck::upstream
