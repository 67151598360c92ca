// ModeHandler: the Handler every session is given: picks, exchange by exchange, what the target's mode and the routes
// say, and runs it.
//
// Owner: the worker. Thread: its own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemon/config/bypass.h"
#include "daemon/config/config.h"
#include "daemon/exchange/handler.h"
#include "daemon/modes/forward.h"
#include "daemon/modes/record.h"
#include "daemon/modes/replay.h"

namespace tapdeck::modes {

struct ModeOptions {
  std::vector<config::Route> routes;
  size_t body_buffer = 1 << 20;  // request bytes held in hybrid mode before it gives up matching
  uint64_t max_body = 0;         // 0: none
  config::BodyOversize body_oversize = config::BodyOversize::Stream;
  config::BypassRules bypass{};  // of all targets
};

// The first route whose conditions hold; nullptr: none.
[[nodiscard]] const config::Route* route_for(const std::vector<config::Route>& routes,
                                             const exchange::Exchange& exchange, std::string_view target_name);
// The first route that is about whole connections (no path or method in it) and whose conditions hold for this one, in
// TLS (https) or in clear (http).
[[nodiscard]] const config::Route* connection_route(const std::vector<config::Route>& routes, config::Scheme scheme,
                                                    std::string_view host, uint16_t port, std::string_view target_name);
// What a route lets us offer the origin (upstream::Key::alpn); nullopt: it leaves that open.
[[nodiscard]] std::optional<std::string> upstream_offer_of(const config::Route* route, config::Scheme scheme);
// Something of a target in this mode may be answered from the tape: by its mode, or by a route's.
[[nodiscard]] bool may_answer_from_tape(Mode mode, const std::vector<config::Route>& routes);
// What a route is about may go to an origin, though its target replays.
[[nodiscard]] bool forwards(const config::Route& route);
// Something of it may be recorded.
[[nodiscard]] bool may_record(Mode mode, const std::vector<config::Route>& routes);

class ModeHandler final : public exchange::Handler {
 public:
  // `record` and `replay` are null where there is no store (passthrough only).
  ModeHandler(RuntimeView& view, ModeOptions options, ForwardHandler& forward, RecordHandler* record,
              ReplayHandler* replay, Metrics& metrics)
      : view_(view),
        options_(std::move(options)),
        forward_(forward),
        record_(record),
        replay_(replay),
        metrics_(metrics) {}

  exchange::Served serve_now(exchange::Exchange& exchange) override;
  net::Task<Result<void>> serve(exchange::Exchange& exchange) override;

 private:
  net::Task<Result<void>> serve_limited(exchange::Exchange& exchange, const TargetState& target,
                                        const config::Route* route, std::string_view route_name);
  net::Task<Result<void>> serve_mode(exchange::Exchange& exchange, const TargetState& target,
                                     const config::Route* route, std::string_view route_name);
  // From the tape, else from the origin, whose answer is recorded or passed on. With a redaction placeholder in it a
  // request goes nowhere: its miss is explained.
  enum class Missing { Record, PassOn };
  net::Task<Result<void>> serve_or_ask(exchange::Exchange& exchange, const TargetState& target,
                                       const config::Route* route, std::string_view route_name, Missing missing);

  // How much of a request was read.
  enum class Heard { Whole, Answered, Unmatched };
  // Reads the body to look for what answers it. Unmatched: it is too long, or its client pauses inside it and no
  // recording begins so. An error was told to the client.
  net::Task<Result<Heard>> hear(ReplayedRequest& buffered, Asking& asking, const TargetState& target,
                                const config::Route* route);

  // It came in clear, and asks for a host in `bypass`: nothing of it is to be kept. Of TLS the name in its ClientHello
  // has decided.
  [[nodiscard]] bool is_bypassed(const exchange::Exchange& exchange, const TargetState& target) const;
  // In replay, so that nothing can answer it.
  net::Task<Result<void>> miss_bypassed(exchange::Exchange& exchange);
  // The mode needs a tape and there is none (its session could not be opened): loud, and never a silent pass.
  net::Task<Result<void>> refuse_without_session(exchange::Exchange& exchange, const TargetState& target);
  // Forwarded without a look at the tape.
  net::Task<Result<void>> pass_on(exchange::Exchange& exchange);
  // Recorded, since nothing on tape answers it: behind what did before, if found.takes says so.
  net::Task<Result<void>> record_missing(exchange::Exchange& exchange, const TargetState& target,
                                         const config::Route* route, std::string_view route_name, const Found& found);
  // What is not on tape and got no whole answer from its origin either is a miss.
  void note_outcome(exchange::Exchange& exchange, const Result<void>& served);

  // A gRPC call, answered from the store; No: nothing happened, `request` gives it out again.
  net::Task<Result<Answered>> replay_grpc(ReplayedRequest& request, const TargetState& target,
                                          const config::Route* route, std::string_view route_name);

  RuntimeView& view_;
  ModeOptions options_;
  ForwardHandler& forward_;
  RecordHandler* record_;
  ReplayHandler* replay_;
  Metrics& metrics_;
};

}  // namespace tapdeck::modes
