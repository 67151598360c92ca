// The guard alone: frame headers in, verdicts out. What h2spec cannot see: budgets, and what is remembered of streams.
#include "daemon/http/h2_guard.h"

#include <gtest/gtest.h>

#include "daemon/http/h2_transcript.h"

namespace tapdeck::http {
namespace {

struct Rig {
  FakeClock clock;
  H2Guard guard;
  explicit Rig(Role role = Role::Server, const H2Budgets& budgets = {}) : guard(role, budgets, 100000, &clock) {}

  // "" is a pass.
  std::string judge(uint8_t type, uint8_t flags, StreamId stream, uint32_t length = 1) {
    return text(guard.judge({length, type, flags, stream}));
  }
  std::string request(StreamId stream) { return judge(NGHTTP2_HEADERS, kEndHeadersFlag | kEndStreamFlag, stream); }
  static std::string text(const std::optional<H2Guard::Fault>& fault) {
    if (!fault) return "";
    const std::string code = std::to_string(static_cast<uint32_t>(fault->code));
    return fault->abuse ? code + " abuse " + std::to_string(static_cast<int>(*fault->abuse)) : code;
  }
  // How many frames pass before the first that does not, and how that one is judged.
  std::pair<int, std::string> flood(uint8_t type, uint8_t flags, StreamId stream, uint32_t length) {
    for (int n = 0; n < 100000; ++n) {
      if (auto verdict = judge(type, flags, stream, length); !verdict.empty()) return {n, verdict};
    }
    return {100000, ""};
  }
};

std::string abuse(H2Abuse what) {
  return "11 abuse " + std::to_string(static_cast<int>(what));
}

TEST(H2Guard, AFrameHeaderIsReadInNetworkOrder) {
  const auto header = H2FrameHeader::parse(std::string_view("\x01\x02\x03\x04\x05\xff\x00\x00\x07", 9));
  EXPECT_EQ(header.length, 0x010203u);
  EXPECT_EQ(header.type, 4);
  EXPECT_EQ(header.flags, 5);
  EXPECT_EQ(header.stream, 0x7f000007u);  // the reserved bit is ignored
}

TEST(H2Guard, DataAndHeadersOnAClosedStreamAreStreamClosed) {
  Rig rig;
  EXPECT_EQ(rig.request(1), "");
  EXPECT_EQ(rig.judge(NGHTTP2_DATA, 0, 1), "");  // half closed: nghttp2 says what it is
  rig.guard.closed(1);
  EXPECT_EQ(rig.judge(NGHTTP2_DATA, 0, 1), "5");
  EXPECT_EQ(rig.request(1), "5");
  EXPECT_EQ(rig.judge(NGHTTP2_PRIORITY, 0, 1, 5), "");
  EXPECT_EQ(rig.judge(NGHTTP2_WINDOW_UPDATE, 0, 1, 4), "");
  EXPECT_EQ(rig.judge(NGHTTP2_RST_STREAM, 0, 1, 4), "");
}

TEST(H2Guard, AStreamWeResetMayStillReceiveWhatWasOnItsWay) {
  Rig rig;
  EXPECT_EQ(rig.request(1), "");
  rig.guard.reset(1);
  EXPECT_EQ(rig.judge(NGHTTP2_DATA, 0, 1), "");
  EXPECT_EQ(rig.judge(NGHTTP2_HEADERS, kEndHeadersFlag | kEndStreamFlag, 1), "");
}

TEST(H2Guard, AnIdThatWasPassedOverIsAProtocolError) {
  Rig rig;
  EXPECT_EQ(rig.request(5), "");
  EXPECT_EQ(rig.request(3), "1");
  EXPECT_EQ(rig.judge(NGHTTP2_DATA, 0, 1), "1");
  EXPECT_EQ(rig.request(7), "");
}

TEST(H2Guard, MemoryOfStreamsIsBoundedAndWhatIsForgottenIsClosed) {
  Rig rig;
  for (StreamId id = 1; id < 20001; id += 4) {  // every second id is passed over
    ASSERT_EQ(rig.request(id), "");
    rig.guard.reset(id);
  }
  EXPECT_EQ(rig.judge(NGHTTP2_DATA, 0, 1), "5");     // reset long ago
  EXPECT_EQ(rig.judge(NGHTTP2_DATA, 0, 19997), "");  // reset just now
  EXPECT_EQ(rig.request(19995), "1");                // a gap remembered
  EXPECT_EQ(rig.request(3), "5");                    // a gap forgotten
}

TEST(H2Guard, AClientsStreamsAreItsOwn) {
  Rig rig(Role::Client);
  rig.guard.opened(1);
  EXPECT_EQ(rig.judge(NGHTTP2_HEADERS, kEndHeadersFlag, 1), "");
  rig.guard.closed(1);
  EXPECT_EQ(rig.judge(NGHTTP2_HEADERS, kEndHeadersFlag, 1), "5");
  EXPECT_EQ(rig.judge(NGHTTP2_DATA, 0, 1), "5");
  EXPECT_EQ(rig.judge(NGHTTP2_DATA, 0, 3), "");  // idle: nghttp2 refuses it
}

TEST(H2Guard, AfterAFinalGoawayNewStreamsAreNobodys) {
  Rig rig;
  EXPECT_EQ(rig.request(1), "");
  rig.guard.refuse_above(1);
  EXPECT_EQ(rig.request(3), "");
  EXPECT_EQ(rig.judge(NGHTTP2_DATA, kEndStreamFlag, 3), "");
}

TEST(H2Guard, NothingComesBetweenTheFramesOfAHeaderBlock) {
  Rig rig;
  EXPECT_EQ(rig.judge(NGHTTP2_CONTINUATION, kEndHeadersFlag, 1), "1");
  Rig begun;
  EXPECT_EQ(begun.judge(NGHTTP2_HEADERS, 0, 1), "");
  EXPECT_EQ(begun.judge(NGHTTP2_CONTINUATION, 0, 1), "");
  EXPECT_EQ(begun.judge(NGHTTP2_PING, 0, 0, 8), "1");
  Rig other;
  EXPECT_EQ(other.judge(NGHTTP2_HEADERS, 0, 1), "");
  EXPECT_EQ(other.judge(NGHTTP2_CONTINUATION, kEndHeadersFlag, 3), "1");
}

TEST(H2Guard, FloodsEndAtTheirBudget) {
  EXPECT_EQ(Rig().flood(NGHTTP2_PING, 0, 0, 8), std::pair(500, abuse(H2Abuse::PingFlood)));
  EXPECT_EQ(Rig().flood(NGHTTP2_SETTINGS, 0, 0, 0), std::pair(50, abuse(H2Abuse::SettingsFlood)));
  EXPECT_EQ(Rig().flood(NGHTTP2_RST_STREAM, 0, 1, 4), std::pair(500, abuse(H2Abuse::RapidReset)));
  EXPECT_EQ(Rig().flood(NGHTTP2_WINDOW_UPDATE, 0, 0, 4), std::pair(1000, abuse(H2Abuse::WindowGames)));
  EXPECT_EQ(Rig().flood(NGHTTP2_PRIORITY, 0, 3, 5), std::pair(1000, abuse(H2Abuse::PriorityFlood)));
  EXPECT_EQ(Rig().flood(0xfa, 0, 0, 0), std::pair(1000, abuse(H2Abuse::PriorityFlood)));
  EXPECT_EQ(Rig().flood(NGHTTP2_PING, kAckFlag, 0, 8).second, "");
  Rig empty;
  EXPECT_EQ(empty.request(1), "");
  EXPECT_EQ(empty.flood(NGHTTP2_DATA, 0, 1, 0), std::pair(100, abuse(H2Abuse::EmptyFrames)));
}

TEST(H2Guard, AHeaderBlockEndsSomeTime) {
  Rig many;
  EXPECT_EQ(many.judge(NGHTTP2_HEADERS, 0, 1), "");
  EXPECT_EQ(many.flood(NGHTTP2_CONTINUATION, 0, 1, 1), std::pair(32, abuse(H2Abuse::ContinuationFlood)));
  Rig large;
  EXPECT_EQ(large.judge(NGHTTP2_HEADERS, 0, 1, 16384), "");
  EXPECT_EQ(large.flood(NGHTTP2_CONTINUATION, 0, 1, 16384), std::pair(5, abuse(H2Abuse::ContinuationFlood)));
}

TEST(H2Guard, TimeAndUsefulWorkFillBudgetsAgain) {
  Rig rig;
  EXPECT_EQ(rig.flood(NGHTTP2_PING, 0, 0, 8).first, 500);
  rig.clock.advance(std::chrono::seconds(2));
  EXPECT_EQ(rig.flood(NGHTTP2_PING, 0, 0, 8).first, 100);
  rig.clock.advance(std::chrono::hours(1));
  EXPECT_EQ(rig.flood(NGHTTP2_PING, 0, 0, 8).first, 500);  // never more than the burst

  EXPECT_EQ(rig.flood(NGHTTP2_WINDOW_UPDATE, 0, 0, 4).first, 1000);
  rig.guard.sent_data(1000);
  rig.guard.sent_data(50 * 1024 - 1000);
  EXPECT_EQ(rig.flood(NGHTTP2_WINDOW_UPDATE, 0, 0, 4).first, 50);

  EXPECT_EQ(rig.flood(NGHTTP2_RST_STREAM, 0, 1, 4).first, 500);
  for (int i = 0; i < 7; ++i) rig.guard.exchange_ended();
  EXPECT_EQ(rig.flood(NGHTTP2_RST_STREAM, 0, 1, 4).first, 7);
}

TEST(H2Guard, AFrameAsShortAsItsMessagePaysForTheCreditThatComesBack) {
  Rig rig;
  EXPECT_EQ(rig.flood(NGHTTP2_WINDOW_UPDATE, 0, 0, 4).first, 1000);
  rig.guard.sent_data(50);  // as much as a window had room for
  EXPECT_EQ(rig.flood(NGHTTP2_WINDOW_UPDATE, 0, 0, 4).first, 0);
  rig.guard.sent_data(50);
  rig.guard.sent_all();
  EXPECT_EQ(rig.flood(NGHTTP2_WINDOW_UPDATE, 0, 0, 4).first, 10);
}

TEST(H2Guard, AFrameOfDataPaysForAPingThatMeasuresIt) {
  Rig rig;
  EXPECT_EQ(rig.flood(NGHTTP2_PING, 0, 0, 8).first, 500);
  for (int i = 0; i < 7; ++i) rig.guard.sent_data(1);
  EXPECT_EQ(rig.flood(NGHTTP2_PING, 0, 0, 8).first, 7);
  for (int i = 0; i < 100000; ++i) rig.guard.sent_data(1);
  EXPECT_EQ(rig.flood(NGHTTP2_PING, 0, 0, 8).first, 5000) << "answers that a client may leave unread";
}

TEST(H2Guard, AStreamThatWasGivenTimeIsNoRapidReset) {
  Rig rig;
  for (StreamId id = 1; id <= 2001; id += 2) EXPECT_EQ(rig.request(id), "");
  rig.clock.advance(std::chrono::milliseconds(100));
  for (StreamId id = 1; id <= 1999; id += 2) {
    EXPECT_EQ(rig.judge(NGHTTP2_RST_STREAM, 0, id, 4), "");
    rig.guard.closed(id);
  }
  EXPECT_EQ(rig.judge(NGHTTP2_RST_STREAM, 0, 2001, 4), "");
  EXPECT_EQ(rig.flood(NGHTTP2_RST_STREAM, 0, 2001, 4).first, 500) << "a stream pays once";
}

TEST(H2Guard, AllStreamsResetTenTimesASecondAreTooManyAllTheSame) {
  Rig rig;
  StreamId next = 1;
  // Rounds of 1000 streams, each reset `after` it was opened, before the first that does not pass.
  const auto rounds_of = [&](std::chrono::milliseconds after, int most) {
    for (int round = 0; round < most; ++round) {
      const StreamId first = next;
      for (; next < first + 2000; next += 2) EXPECT_EQ(rig.request(next), "");
      rig.clock.advance(after);
      for (StreamId id = first; id < next; id += 2) {
        const std::string verdict = rig.judge(NGHTTP2_RST_STREAM, 0, id, 4);
        rig.guard.closed(id);
        if (verdict.empty()) continue;
        EXPECT_EQ(verdict, abuse(H2Abuse::RapidReset));
        return round;
      }
    }
    return most;
  };
  EXPECT_EQ(rounds_of(std::chrono::seconds(1), 20), 20) << "each call at its deadline of a second";
  EXPECT_LT(rounds_of(std::chrono::milliseconds(100), 20), 5);
}

TEST(H2Guard, StreamsWeHadToResetCountToo) {
  Rig rig;
  int n = 0;
  while (!rig.guard.made_us_reset()) ++n;
  EXPECT_EQ(n, 100);
  EXPECT_EQ(Rig::text(rig.guard.made_us_reset()), abuse(H2Abuse::ServerReset));
}

}  // namespace
}  // namespace tapdeck::http
