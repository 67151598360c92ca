#include "daemon/transport/transport.h"

#include <utility>

namespace tapdeck::transport {

namespace {

// One turn decrypts or encrypts at most four records, so that one connection cannot starve the others of a worker and
// a slow reader holds no more than this in ciphertext.
constexpr size_t kTurnBytes = 65536;

}  // namespace

Transport::Transport(std::unique_ptr<net::Stream> stream) : stream_(std::move(stream)), written_(stream_->executor()) {}

void Transport::start_tls(std::unique_ptr<tls::TlsSession> session, ByteQueue received) {
  session_ = std::move(session);
  session_->cipher_in().append(std::move(received));
}

net::Task<Result<void>> Transport::handshake() {
  ByteQueue early;  // a client may send data right behind its Finished; it stays in cipher_in (limit 0 reads nothing)
  while (true) {
    auto advanced = session_->advance(early, 0);
    if (!session_->cipher_out().empty()) {
      auto sent = co_await stream_->write_all(session_->cipher_out());
      if (advanced && !sent) co_return std::unexpected(sent.error());
    }
    if (!advanced) co_return std::unexpected(advanced.error());
    if (!session_->is_handshaking()) {
      more_decryptable_ = true;
      co_return Result<void>{};
    }
    auto n = co_await stream_->read_some(session_->cipher_in());
    if (!n) co_return std::unexpected(n.error());
    if (*n == 0) {
      auto ended = session_->end_of_input();
      if (!ended) co_return std::unexpected(ended.error());
    }
  }
}

net::Task<Result<size_t>> Transport::read_some(ByteQueue& plain) {
  if (session_ == nullptr) {
    if (late_failure_) co_return std::unexpected(*std::exchange(late_failure_, std::nullopt));
    auto n = co_await stream_->read_some(landing_);
    if (n && *n == ByteQueue::kChunkBytes) *n += read_on();
    plain.append(std::move(landing_));
    co_return n;
  }
  while (true) {
    if (more_decryptable_ || !session_->cipher_in().empty()) {
      const size_t before = plain.size();
      CO_TRY(more, session_->advance(plain, kTurnBytes));
      more_decryptable_ = more;
      if (!session_->cipher_out().empty() && !writing_) {
        auto sent = stream_->try_write(session_->cipher_out());  // tickets, key updates
        if (!sent) co_return std::unexpected(sent.error());
      }
      if (plain.size() > before) co_return plain.size() - before;
    }
    const auto state = session_->state();
    if (state == tls::TlsSession::State::PeerClosed || state == tls::TlsSession::State::Closed) co_return size_t{0};
    auto n = co_await stream_->read_some(session_->cipher_in());
    if (!n) co_return std::unexpected(n.error());
    if (*n == 0) {
      ended_without_notice_ = !session_->end_of_input().has_value();
      co_return size_t{0};
    }
  }
}

// A full chunk is seldom all that is there: as much in clear as TLS gives at a time.
size_t Transport::read_on() {
  const size_t before = landing_.size();
  size_t last = ByteQueue::kChunkBytes;
  while (last == ByteQueue::kChunkBytes && landing_.size() < kTurnBytes) {
    const auto more = stream_->try_read(landing_);
    if (!more) late_failure_ = more.error();  // the kernel says it once
    last = more ? more->value_or(0) : 0;
  }
  return landing_.size() - before;
}

Result<void> Transport::encrypt_some(ByteQueue& plain) {
  while (!plain.empty() && session_->cipher_out().size() < kTurnBytes) {
    TRY(taken, session_->encrypt(plain, kTurnBytes));
    if (taken == 0) break;
  }
  return {};
}

Result<bool> Transport::try_flush(ByteQueue& plain) {
  if (writing_) return false;
  if (session_ == nullptr) return stream_->try_write(plain);
  while (true) {
    TRY_VOID(encrypt_some(plain));
    TRY(done, stream_->try_write(session_->cipher_out()));
    if (!done) return false;
    if (plain.empty()) return true;
  }
}

net::Task<Result<void>> Transport::write_out(ByteQueue& plain) {
  while (true) {
    if (session_ != nullptr) {
      CO_TRY_VOID(encrypt_some(plain));
      auto sent = co_await stream_->write_all(session_->cipher_out());
      if (!sent) co_return sent;
    } else {
      auto sent = co_await stream_->write_all(plain);
      if (!sent) co_return sent;
    }
    if (plain.empty() && unsent() == 0) co_return Result<void>{};
  }
}

net::Task<Result<void>> Transport::flush(ByteQueue& plain) {
  while (writing_) {
    co_await written_.wait();
    const bool wanted = co_await net::is_wanted();
    if (!wanted) co_return fail(Code::Cancelled, "write was cancelled", Origin::Internal);
  }
  CO_TRY(done, try_flush(plain));
  if (done) co_return Result<void>{};
  writing_ = true;
  auto result = co_await write_out(plain);
  writing_ = false;
  written_.notify();
  co_return result;
}

size_t Transport::unsent() const {
  return session_ == nullptr ? 0 : session_->cipher_out().size();
}

void Transport::end_output() {
  if (session_ != nullptr && !writing_) {
    session_->close_notify();
    ignore(stream_->try_write(session_->cipher_out()), "the FIN follows either way");
    session_->cipher_out().clear();  // a write behind the FIN would be answered by a reset
  }
  stream_->shutdown_send();
}

void Transport::close() {
  stream_->close();
}
void Transport::abort() {
  stream_->abort();
}

bool Transport::is_quiet() {
  if (session_ == nullptr) return stream_->is_quiet();
  ByteQueue plain;
  while (true) {
    auto n = stream_->try_read(session_->cipher_in());
    if (!n || *n == 0U) return false;
    const bool waiting = !n->has_value();
    auto more = session_->advance(plain, kTurnBytes);
    if (!more || !plain.empty() || session_->state() != tls::TlsSession::State::Open) return false;
    if (waiting) return session_->cipher_in().empty();
  }
}

}  // namespace tapdeck::transport
