// GrpcScript: a recorded gRPC exchange as what replay does: send this, wait for that client message, send the next.
// GrpcPlay: how far one replay of it has come.
//
// Sans-IO. A script is immutable and shared by exchanges; a play belongs to one. Thread: any, one at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "store/record.h"

namespace tapdeck::modes {

struct GrpcStep {
  enum class Kind : uint8_t {
    ClientMessage,  // wait for it
    ClientEnd,      // wait until the client has ended its side
    Head,           // send the response head
    Bytes,          // send `length` bytes of the response body from `offset`
    Finish,         // trailers, or however the recording ended
  };
  Kind kind = Kind::Finish;
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t microseconds = 0;  // when it happened, since the exchange began
  friend bool operator==(const GrpcStep&, const GrpcStep&) = default;
};

struct GrpcScript {
  std::vector<GrpcStep> steps;        // the last one is Finish
  std::vector<store::Digest> client;  // of each client message, in order
  bool client_ended = false;          // there is a ClientEnd
};

// `client` are the digests of the recording's request messages. A response that was not indexed to its end (not gRPC,
// too many messages) is sent after the last step that was.
[[nodiscard]] GrpcScript make_script(const store::Recording& recording, std::vector<store::Digest> client);

// What the client has said and been sent so far: what another script must agree with to take over.
struct GrpcSaid {
  std::vector<store::Digest> client;
  bool client_ended = false;
  bool head_sent = false;
  uint64_t bytes_sent = 0;
};

// The client said nothing that the script does not have at this place.
[[nodiscard]] bool agrees(const GrpcScript& script, const GrpcSaid& said);

class GrpcPlay {
 public:
  explicit GrpcPlay(const GrpcScript& script) : script_(&script) {}
  // The first step that `said` has not done yet. The same until `said` moves on; never behind Finish.
  [[nodiscard]] const GrpcStep& next(const GrpcSaid& said);

 private:
  const GrpcScript* script_;
  size_t position_ = 0;
  size_t client_passed_ = 0;  // ClientMessage steps before position_
};

}  // namespace tapdeck::modes
