// GrpcReplay::Playing: one call on its way through grpc_replay.cc (what is said and waited for) and grpc_choose.cc
// (which recording it is). Owner: the replaying coroutine. Thread: the worker's.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "daemon/modes/grpc_bytes.h"
#include "daemon/modes/grpc_call.h"
#include "daemon/modes/grpc_item.h"
#include "daemon/modes/grpc_replay.h"
#include "daemon/modes/question.h"

namespace tapdeck::modes {

struct GrpcReplay::Playing {
  GrpcCall& call;
  const TargetState& target;
  const config::Route* route;
  std::string_view route_name;

  Question question{};
  CursorKey key{};
  std::vector<uint64_t> candidates{};
  size_t usable = 0;                                  // of them, from the front; the others are the last resort
  size_t first = 0;                                   // where in the usable ones this call begins
  std::shared_ptr<const GrpcItem> item = nullptr;     // what plays now
  std::shared_ptr<const GrpcItem> nearest = nullptr;  // no candidate agrees: the one whose turn it was
  std::optional<GrpcPlay> play = std::nullopt;
  bool cached = false;        // the candidates are from memory
  bool server_first = false;  // the candidates are such
  bool exhausted = false;     // Repeat::Once and all were used
  bool last_resort = false;   // none of the candidates is finished
  bool missed = false;
  bool expired = false;  // the client's deadline
  bool done = false;     // the response has ended, as recorded
  GrpcBytes bytes;
  Answers answers = Answers::All;
};

}  // namespace tapdeck::modes
