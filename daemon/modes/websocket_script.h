// WebSocketScript: a recorded WebSocket as a part in a play: says which messages of the origin may go out now, and
// whether a message of the client is the recorded one.
//
//   matched        each client message is looked for among those recorded, by the route's rules and in any order; it
//                  brings on the origin's messages that followed it in the recording. A message that came once more
//                  than recorded gets the answers of its last one again.
//   bidirectional  client messages must come as recorded, byte for byte and in order.
//   server-only    the origin's messages go out unasked; what the client says is not looked at.
//
// The end of the connection, by the origin's Close or without one, is due like a message: at the recorded pace as long
// after the client's last message as it was.
//
// Sans-IO: time comes in as microseconds since the connection opened. The origin's pings are sent, its pongs are not:
// they answered other pings. Owner: a WebSocketPlayer. Thread: the worker's.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/modes/json_rules.h"
#include "daemon/modes/websocket_mismatch.h"
#include "store/record.h"

namespace tapdeck::modes {

class WebSocketScript {
 public:
  // What goes out; a Close is not among them.
  struct Line {
    store::Message::Kind kind = store::Message::Kind::Text;
    bool compressed = false;
    std::string payload;
  };
  struct Close {
    uint16_t code = 1005;
    std::string reason;
  };

  // A Text or Binary message that passed on a connection; the origin's as the client got it.
  struct Spoken {
    store::BodySide side = store::BodySide::Request;
    store::Message::Kind kind = store::Message::Kind::Text;
    std::string payload;
    uint64_t at = 0;
  };

  // `recording` and both bodies, whole, outlive the script.
  WebSocketScript(const store::Recording& recording, std::string_view request_body, std::string_view response_body,
                  const config::WebSocket& options);

  // A Text or Binary message of the client. False: it is none that is expected.
  [[nodiscard]] bool received(store::Message::Kind kind, std::string_view payload, uint64_t now);
  // What is wrong with such a one, which was received last.
  [[nodiscard]] WebSocketMismatch mismatch(store::Message::Kind kind, std::string_view payload) const;
  // The same for messages that are the same to the route's rules, in whichever recording.
  [[nodiscard]] uint64_t likeness(store::Message::Kind kind, std::string_view payload) const;
  // Of a fresh script: goes through all that was said on a connection so far, in order, as if it had played it. False:
  // it would have said something else (but for ignored values, which are kept as the client got them), or something
  // was said that it has not; it is of no use then. Pings do not count.
  [[nodiscard]] bool catches_up(const std::vector<Spoken>& spoken);
  // The next message that is due; each is given once.
  [[nodiscard]] std::optional<Line> next(uint64_t now);
  // When the next one will be, or the end; nullopt: not without a further message of the client.
  [[nodiscard]] std::optional<uint64_t> next_due() const;
  // Messages brought on and not yet given.
  [[nodiscard]] size_t backlog() const { return due_.size(); }
  // Everything recorded has been said by both, and the end was due when next() was asked last: the connection ends as
  // it did.
  [[nodiscard]] bool is_over() const { return due_.empty() && over_; }
  // The origin's Close, if it sent one, and whether the client's came before it.
  [[nodiscard]] const std::optional<Close>& close() const { return close_; }
  [[nodiscard]] bool client_closes_first() const { return client_closes_first_; }
  // The client's Close was recorded, before or after the origin's.
  [[nodiscard]] bool client_closes() const { return client_closed_; }

 private:
  struct Asked {
    store::Message::Kind kind;
    std::string_view payload;
    uint64_t microseconds;
    std::vector<size_t> answers;  // indices of the origin's messages that followed it
    bool needed = true;           // before the connection is over
    bool used = false;
  };
  struct Due {
    size_t message;
    uint64_t at;
  };
  [[nodiscard]] std::string_view payload_of(const store::Message& message) const;
  [[nodiscard]] std::string identity_of(store::Message::Kind kind, std::string_view payload) const;
  void read(const store::Message& message, size_t index);
  void await_end(uint64_t now);
  [[nodiscard]] bool passes(const Spoken& sent);
  void bring_on(const std::vector<size_t>& answers, uint64_t since, uint64_t now);
  [[nodiscard]] std::optional<size_t> find(store::Message::Kind kind, std::string_view payload);
  [[nodiscard]] std::vector<WebSocketWords> expected() const;

  const store::Recording& recording_;
  std::string_view bodies_[2];
  config::WebSocketMode mode_;
  config::WebSocketPace pace_;
  JsonRules rules_;
  std::vector<size_t> opening_;  // the origin's messages before the client's first
  std::vector<Asked> asked_;
  std::map<std::string, std::vector<size_t>, std::less<>> by_identity_;  // Matched: the same to the rules
  std::deque<Due> due_;
  Replacements replacements_;
  std::optional<Close> close_;
  bool client_closed_ = false;
  bool client_closes_first_ = false;
  uint64_t opened_;      // when the connection did, on tape
  uint64_t last_asked_;  // when the last client message was recorded that is needed; opened_: there is none
  uint64_t end_ = 0;     // when the connection ended on tape
  std::optional<uint64_t> ends_at_;
  bool over_ = false;
  size_t unmatched_ = 0;  // recorded client messages that have not come
  size_t count_ = 0;      // client messages that came
};

}  // namespace tapdeck::modes
