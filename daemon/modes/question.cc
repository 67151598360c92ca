#include "daemon/modes/question.h"

#include <string>

#include "daemon/modes/origin.h"

namespace tapdeck::modes {

using exchange::Exchange;

store::KeyBuilder Asking::begin(const Exchange& exchange, const Tape& tape) {
  std::string storage;
  const OriginName origin = origin_of(exchange, storage);
  store::KeyBuilder builder(tape.hasher, origin.scheme, origin.host, origin.port, exchange.request().method,
                            exchange.request().target);
  if (!origin.authority.empty()) builder.dimension("authority", origin.authority);
  return builder;
}

Question Asking::finish() {
  body_key_.finish(builder_);
  Question question{builder_.key(), {}};
  question.parts = builder_.parts();
  return question;
}

}  // namespace tapdeck::modes
