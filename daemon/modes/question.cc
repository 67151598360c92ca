#include "daemon/modes/question.h"

#include <string>
#include <utility>

#include "daemon/modes/origin.h"
#include "daemon/modes/rendition.h"

namespace tapdeck::modes {

static_assert(BodyKey::kBeginning == kSeenBody);

using exchange::Exchange;

store::KeyBuilder Asking::begin(const Exchange& exchange, const Tape& tape, std::string_view method) {
  std::string storage;
  const OriginName origin = origin_of(exchange, storage);
  store::KeyBuilder builder(tape.hasher, origin.scheme, origin.host, origin.port, method, exchange.request().target);
  add_dimensions(builder, origin, exchange.request());
  return builder;
}

Question Asking::finish() {
  body_key_.finish(builder_);
  Question question;
  const std::string condition = condition_of(exchange_.request());
  if (!condition.empty()) {
    store::KeyBuilder builder = builder_;
    builder.dimension(kConditionDimension, condition);
    question.conditional = builder.key();
  }
  if (exchange_.request().method == "HEAD") question.as_get = begin(exchange_, tape_, "GET").key();
  if (body_key_.holds_cookie()) {
    store::KeyBuilder builder = builder_;
    builder.raw_body();
    question.as_sent = builder.key();
  }
  question.key = builder_.key();
  question.parts = builder_.parts();
  if (keeps_beginning_) question.body_begin = body_key_.take_beginning();
  return question;
}

store::Key Asking::early_key() const {
  store::KeyBuilder builder = begin(exchange_, tape_, exchange_.request().method);
  make_early(builder, exchange_.request());
  return builder.key();
}

store::KeyParts Asking::parts_so_far() const {
  store::KeyBuilder builder = builder_;
  ignore(builder.key(), "the parts are what it makes whole");
  return builder.parts();
}

void make_early(store::KeyBuilder& builder, const http::RequestHead& request) {
  builder.canonical_body({});
  builder.dimension(kEarlyDimension, request.headers.find("content-length").value_or(""));
}

}  // namespace tapdeck::modes
