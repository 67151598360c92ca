// WebSocketPlayer: one replayed connection after its handshake: reads the client's frames, lets the script judge them,
// and writes what is due. When they are not what the script expects it looks for a recording that goes on like that, as
// long as what was said is short enough to be remembered. Owner: play_websocket(). Thread: the worker's.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/modes/websocket_part.h"
#include "daemon/modes/websocket_replay.h"
#include "daemon/modes/websocket_script.h"
#include "daemon/net/deadline.h"
#include "daemon/net/task_group.h"
#include "daemon/ws/handshake.h"
#include "daemon/ws/message_reader.h"

namespace tapdeck::modes {

class WebSocketPlayer {
 public:
  // The exchange is a tunnel already; `agreed` is what the handshake agreed on. Exchange and stage outlive run().
  WebSocketPlayer(exchange::Exchange& exchange, std::unique_ptr<WebSocketPart> part, const WebSocketAgreement& agreed,
                  const WebSocketStage& stage, const asio::any_io_executor& executor);
  net::Task<Result<void>> run();

 private:
  struct Closing {
    uint16_t code = ws::kNoStatus;
    std::string reason;
    bool awaits_answer = true;  // the client's Close, before the connection ends
  };
  net::Task<> read_client();
  net::Task<> take(const ws::Message& message);
  // No recording has what the client said.
  void miss(WebSocketMismatch wrong);
  void remember(WebSocketScript::Spoken spoken);
  // True: another recording, which agrees with all that was said, plays now.
  net::Task<bool> recast(WebSocketCasting::Among among);
  [[nodiscard]] bool must_pause() const;
  // Everything that may be sent now, sent.
  net::Task<Result<void>> send_due();
  void append(const WebSocketScript::Line& line);
  // What ends the connection at this point of the play; nullopt: nothing yet.
  [[nodiscard]] std::optional<Closing> closing() const;
  [[nodiscard]] bool client_answers_close() const;
  [[nodiscard]] bool client_left() const;
  [[nodiscard]] bool is_left_unanswered() const;
  [[nodiscard]] bool ends_without_close() const;
  net::Task<Result<void>> play();
  net::Task<Result<void>> say_close(const Closing& closing);
  void wake_when_due();
  [[nodiscard]] uint64_t now() const;

  exchange::Exchange& exchange_;
  std::unique_ptr<WebSocketPart> part_;
  const WebSocketAgreement agreed_;
  const WebSocketStage& stage_;
  ws::MessageReader reader_;
  std::optional<ws::Deflater> deflater_;
  net::Signal changed_;  // the client said something, or a message became due
  net::Signal sent_;     // room for more
  net::TaskGroup tasks_;
  net::Deadline due_;
  net::Deadline idle_;
  exchange::Clock::time_point began_ = exchange::Clock::now();
  std::string out_;                 // frames on their way
  std::string answers_;             // pongs
  std::optional<Closing> verdict_;  // a message or a frame that cannot be
  std::optional<ws::Message> client_close_;
  std::vector<WebSocketScript::Spoken> spoken_;  // for recast()
  size_t spoken_bytes_ = 0;
  bool recasting_ = false;  // until it is known which recording plays, nothing of it is sent
  bool said_close_ = false;
  bool client_ended_ = false;
  bool breaks_off_ = false;  // all is said, and the origin's reset is next
};

}  // namespace tapdeck::modes
