// The header fields that say what a request asks for where its URL does not: the operation of an RPC over one URL, the
// source or destination of a copy, the method that another stands for. They are part of the match key; all other
// fields are not. Pure. Thread: any.
#pragma once

#include "daemon/http/message.h"
#include "store/match_key.h"

namespace tapdeck::modes {

// Adds those among `headers`, sorted by name and value.
void add_operation_fields(store::KeyBuilder& key, const http::Headers& headers);

}  // namespace tapdeck::modes
