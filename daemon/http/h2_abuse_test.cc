// Each kind of abuse against a server codec that answers: where it ends, with which word, and what it cost us.
#include <gtest/gtest.h>

#include "daemon/http/h2_loopback.h"

namespace tapdeck::http {
namespace {

// A server that answers every request at once, and a peer that sends whatever it likes.
struct Victim {
  FakeClock clock;
  std::vector<H2Abuse> seen;
  std::vector<std::string> too_large;
  std::unique_ptr<Codec> codec;
  std::unique_ptr<H2Log> log;
  size_t sent = 0, written = 0, most_unread = 0;
  bool reads = true;

  // `begin`: what the peer says first. Without an acknowledgement the limit of streams is not yet agreed.
  explicit Victim(const std::string& begin = settings() + settings_ack(), H2Options options = {}) {
    options.clock = &clock;
    options.on_abuse = [this](H2Abuse what) { seen.push_back(what); };
    options.on_too_large = [this](const Error& what) { too_large.push_back(what.detail); };
    codec = make_h2_codec(Role::Server, {}, "https", options);
    log = std::make_unique<H2Log>(*codec, Role::Server);
    feed(std::string(kH2Preface) + begin);
  }
  // False once the connection is broken.
  bool feed(const std::string& bytes) {
    sent += bytes.size();
    codec->input().append(bytes);
    log->drive();
    for (const StreamId stream : std::exchange(log->complete, {})) {
      ignore(codec->send_response(stream, h2_response(200), EndStream::Yes), "the stream may be gone");
    }
    most_unread = std::max(most_unread, codec->output().size());
    if (reads) {
      written += codec->output().size();
      codec->output().clear();
    }
    return !log->error();
  }
  // How often `bytes(n)` is taken before the connection ends.
  template <class Make>
  int flood(Make bytes, int most = 100000) {
    for (int n = 0; n < most; ++n) {
      if (!feed(bytes(n))) return n;
    }
    return most;
  }
  [[nodiscard]] bool told(H2Abuse what) const { return seen == std::vector{what}; }
};

TEST(H2Abuse, RapidResetEndsAfterFiveHundred) {
  Victim victim;
  EXPECT_EQ(victim.flood([](int n) {
    const auto id = static_cast<StreamId>(2 * n + 1);
    return headers(id, get(), kEndHeadersFlag) + rst_stream(id, ResetCode::Cancel);
  }),
            500);
  EXPECT_TRUE(victim.told(H2Abuse::RapidReset));
  EXPECT_EQ(victim.log->error()->code, Code::Protocol) << "told as what its peer did, not as what we lack";
  EXPECT_TRUE(victim.codec->must_close());
}

TEST(H2Abuse, ResetsOfClientsThatFinishMostRequestsAreFine) {
  Victim victim;
  EXPECT_EQ(victim.flood(
                [](int n) {
                  const auto id = static_cast<StreamId>(4 * n + 1);
                  return headers(id, get()) + headers(id + 2, get(), kEndHeadersFlag) +
                         rst_stream(id + 2, ResetCode::Cancel);
                },
                5000),
            5000);
  EXPECT_TRUE(victim.seen.empty());
}

TEST(H2Abuse, MadeYouResetEndsAfterAHundred) {
  Victim victim;  // CVE-2025-8671: a proper request, then a frame that makes us reset its stream
  EXPECT_EQ(victim.flood([](int n) {
    const auto id = static_cast<StreamId>(2 * n + 1);
    return headers(id, get(), kEndHeadersFlag) + window_update(id, 0x7fffffff);
  }),
            100);
  EXPECT_TRUE(victim.told(H2Abuse::ServerReset));
}

TEST(H2Abuse, MalformedRequestsWithoutEndCountAsWell) {
  Victim victim;
  EXPECT_EQ(victim.flood([](int n) { return headers(static_cast<StreamId>(2 * n + 1), {{"a", "b"}}); }), 100);
  EXPECT_TRUE(victim.told(H2Abuse::ServerReset));
}

TEST(H2Abuse, AContinuationFloodEndsAfterThirtyTwoFrames) {
  Victim victim;
  ASSERT_TRUE(victim.feed(headers(1, get(), 0)));
  EXPECT_EQ(victim.flood([](int) { return frame(NGHTTP2_CONTINUATION, 0, 1, block({{"a", "b"}})); }), 32);
  EXPECT_TRUE(victim.told(H2Abuse::ContinuationFlood));
}

TEST(H2Abuse, SettingsAndPingFloodsEndAndNeverPileUp) {
  Victim settings_victim;
  settings_victim.reads = false;
  EXPECT_EQ(settings_victim.flood([](int) { return settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 9}}); }), 49);
  EXPECT_TRUE(settings_victim.told(H2Abuse::SettingsFlood));
  Victim ping_victim;
  ping_victim.reads = false;
  EXPECT_EQ(ping_victim.flood([](int) { return ping(); }), 500);
  EXPECT_TRUE(ping_victim.told(H2Abuse::PingFlood));
  EXPECT_LT(ping_victim.most_unread, 500 * 17 + 200u);
}

TEST(H2Abuse, KeepalivePingsOfALongConnectionAreFine) {
  Victim victim;
  EXPECT_EQ(victim.flood(
                [&](int) {
                  victim.clock.advance(std::chrono::seconds(10));
                  return ping();
                },
                20000),
            20000);
}

TEST(H2Abuse, AnHpackBombIsAnsweredWithoutBeingUnpacked) {
  Victim victim;
  // One entry of 3,900 bytes in the dynamic table, then a byte for each repetition: 16 MiB out of 4 KiB.
  const std::string big = std::string("\x40\x01") + "x" + hpack_length(3900) + std::string(3900, 'y');
  const std::string bomb = block(get()) + big + std::string(4200, '\xbe');
  EXPECT_TRUE(victim.feed(frame(NGHTTP2_HEADERS, kEndHeadersFlag | kEndStreamFlag, 1, bomb)));
  EXPECT_TRUE(victim.told(H2Abuse::Hpack));
  EXPECT_EQ(victim.too_large, std::vector{head_limit(Origin::Downstream).detail});
  EXPECT_EQ(victim.log->take(), "");  // never shown
  EXPECT_LT(victim.written, 1000u);
  EXPECT_TRUE(victim.feed(headers(3, get())));  // the connection goes on
  EXPECT_EQ(victim.log->take(), "head 3 GET / https a.test end\ncomplete 3\n");
}

TEST(H2Abuse, TooManyFieldsAreToldApart) {
  Victim victim;
  FieldList many = get();
  for (int i = 0; i < 300; ++i) many.emplace_back("a", "");
  EXPECT_TRUE(victim.feed(headers(1, many)));
  EXPECT_EQ(victim.too_large, std::vector{field_limit(Origin::Downstream).detail});
  EXPECT_TRUE(victim.seen.empty()) << "that alone is no abuse";
  for (int i = 0; i < 800; ++i) many.emplace_back("a", "");
  EXPECT_TRUE(victim.feed(headers(3, many)));
  EXPECT_EQ(victim.too_large.size(), 2U);
  EXPECT_TRUE(victim.told(H2Abuse::HeaderCount));
}

TEST(H2Abuse, EmptyFramesEndAfterAHundred) {
  Victim victim;
  ASSERT_TRUE(victim.feed(headers(1, get(), kEndHeadersFlag)));
  EXPECT_EQ(victim.flood([](int) { return data(1, ""); }), 100);
  EXPECT_TRUE(victim.told(H2Abuse::EmptyFrames));
  Victim padded;  // padding alone is no payload either, but it is paid for with window
  ASSERT_TRUE(padded.feed(headers(1, get(), kEndHeadersFlag)));
  EXPECT_EQ(padded.flood([](int) { return data(1, std::string(1, '\0'), kPaddedFlag); }, 1000), 1000);
}

TEST(H2Abuse, PriorityAndUnknownFramesEndAfterAThousand) {
  Victim victim;
  EXPECT_EQ(victim.flood([](int n) {
    return frame(NGHTTP2_PRIORITY, 0, static_cast<StreamId>(2 * n + 1), big_endian(0) + "\x01");
  }),
            1000);
  EXPECT_TRUE(victim.told(H2Abuse::PriorityFlood));
}

TEST(H2Abuse, AWindowOpenedByteByByteEndsAfterAThousand) {
  Victim victim;
  ASSERT_TRUE(victim.feed(settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}}) + headers(1, get(), kEndHeadersFlag)));
  ASSERT_TRUE(victim.codec->send_response(1, h2_response(200), EndStream::No));
  ASSERT_TRUE(victim.codec->send_body(1, std::string(50000, 'x')));
  EXPECT_EQ(victim.flood([](int) { return window_update(1, 1); }), 1000);
  EXPECT_TRUE(victim.told(H2Abuse::WindowGames));
}

TEST(H2Abuse, AClientThatOpensItsWindowAsItReadsIsFine) {
  Victim victim;
  ASSERT_TRUE(victim.feed(headers(1, get(), kEndHeadersFlag)));
  ASSERT_TRUE(victim.codec->send_response(1, h2_response(200), EndStream::No));
  const std::string piece(4096, 'x');
  EXPECT_EQ(victim.flood(
                [&](int) {
                  EXPECT_EQ(*victim.codec->send_body(1, piece), piece.size());
                  return window_update(0, 4096) + window_update(1, 4096);
                },
                20000),
            20000);
}

TEST(H2Abuse, CreditGivenBackForEachSmallFrameIsFine) {
  Victim victim;
  ASSERT_TRUE(victim.feed(headers(1, get(), kEndHeadersFlag)));
  ASSERT_TRUE(victim.codec->send_response(1, h2_response(200), EndStream::No));
  const std::string message(50, 'x');
  EXPECT_EQ(victim.flood(
                [&](int) {
                  EXPECT_EQ(*victim.codec->send_body(1, message), message.size());
                  victim.feed({});
                  return window_update(0, 50) + window_update(1, 50);
                },
                20000),
            20000);
  EXPECT_TRUE(victim.seen.empty());
}

// gRPC measures the round trip with a PING for what it reads, one at a time.
TEST(H2Abuse, APingForEachMessageIsFine) {
  Victim victim;
  ASSERT_TRUE(victim.feed(headers(1, get(), kEndHeadersFlag)));
  ASSERT_TRUE(victim.codec->send_response(1, h2_response(200), EndStream::No));
  const std::string message(50, 'x');
  EXPECT_EQ(victim.flood(
                [&](int) {
                  EXPECT_EQ(*victim.codec->send_body(1, message), message.size());
                  victim.feed({});
                  return window_update(0, 50) + window_update(1, 50) + ping();
                },
                20000),
            20000);
}

TEST(H2Abuse, CallsThatPassTheirDeadlinesAreFine) {
  Victim victim;
  StreamId next = 1;
  EXPECT_EQ(victim.flood(
                [&](int) {
                  const StreamId first = next;
                  for (; next < first + 100; next += 2) victim.feed(headers(next, get(), kEndHeadersFlag));
                  victim.clock.advance(std::chrono::milliseconds(100));
                  std::string resets;
                  for (StreamId id = first; id < next; id += 2) resets += rst_stream(id, ResetCode::Cancel);
                  return resets;
                },
                1000),
            1000);
  EXPECT_TRUE(victim.seen.empty());
}

TEST(H2Abuse, AnEmptyFrameInEachRequestIsFine) {
  Victim victim;
  EXPECT_EQ(victim.flood(
                [](int n) {
                  const auto id = static_cast<StreamId>(2 * n + 1);
                  return headers(id, get(), kEndHeadersFlag) + data(id, "") + data(id, "a") + data(id, "") +
                         data(id, "", kEndStreamFlag);
                },
                5000),
            5000);
  EXPECT_TRUE(victim.seen.empty());
}

TEST(H2Abuse, AClientThatReadsNothingCostsAQueueAStream) {
  Victim victim;
  victim.reads = false;
  ASSERT_TRUE(victim.feed(settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x7fffffff}})));
  const std::string much(1 << 20, 'x');
  size_t accepted = 0;
  for (int n = 0; n < 100; ++n) {
    const auto id = static_cast<StreamId>(2 * n + 1);
    ASSERT_TRUE(victim.feed(headers(id, get(), kEndHeadersFlag)));
    ASSERT_TRUE(victim.codec->send_response(id, h2_response(200), EndStream::No));
    accepted += *victim.codec->send_body(id, much);
  }
  EXPECT_LE(accepted, 100 * H2Codec::kStreamQueue + 65535);  // the connection's window is still the first
}

TEST(H2Abuse, MoreStreamsThanAllowedAreRefusedAndThenCounted) {
  Victim victim(settings());
  for (int n = 0; n < 100; ++n) {
    ASSERT_TRUE(victim.feed(headers(static_cast<StreamId>(2 * n + 1), get(), kEndHeadersFlag)));
  }
  victim.log->take();
  EXPECT_EQ(victim.flood([](int n) { return headers(static_cast<StreamId>(2 * n + 201), get()); }), 500);
  EXPECT_EQ(victim.log->take(), "error protocol\n");  // none of them was shown
  EXPECT_TRUE(victim.told(H2Abuse::RapidReset));
}

// RFC 9113 5.1.2: an error of the stream, also once the limit is agreed; the others go on.
TEST(H2Abuse, OneStreamOverTheAgreedLimitIsRefusedAlone) {
  Victim victim;
  for (int n = 0; n < 100; ++n) {
    ASSERT_TRUE(victim.feed(headers(static_cast<StreamId>(2 * n + 1), get(), kEndHeadersFlag)));
  }
  victim.log->take();
  victim.reads = false;
  EXPECT_TRUE(victim.feed(headers(201, get())));
  EXPECT_EQ(victim.log->take(), "");
  EXPECT_EQ(frames_of(victim.codec->output().to_string()), "RST_STREAM 201 7\n");
  victim.codec->output().clear();
  victim.reads = true;
  EXPECT_TRUE(victim.feed(data(1, "", kEndStreamFlag)));  // one ends, and makes room for one
  EXPECT_TRUE(victim.feed(headers(203, get())));
  EXPECT_EQ(victim.log->take(), "complete 1\nhead 203 GET / https a.test end\ncomplete 203\n");
  EXPECT_TRUE(victim.feed(headers(205, get(), kEndHeadersFlag)));
  EXPECT_EQ(victim.flood([](int n) { return headers(static_cast<StreamId>(2 * n + 207), get()); }), 501);
  EXPECT_TRUE(victim.told(H2Abuse::RapidReset));
}

TEST(H2Abuse, ManyStreamsThatNobodyReadsShareWhatAHundredMayHold) {
  H2Options options;
  options.max_streams = 1000;
  Victim victim(settings() + settings_ack(), options);
  victim.reads = false;
  ASSERT_TRUE(victim.feed(settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}})));
  const std::string much(1 << 20, 'x');
  size_t accepted = 0, least = SIZE_MAX;
  for (int n = 0; n < 1000; ++n) {
    const auto id = static_cast<StreamId>(2 * n + 1);
    ASSERT_TRUE(victim.feed(headers(id, get(), kEndHeadersFlag)));
    ASSERT_TRUE(victim.codec->send_response(id, h2_response(200), EndStream::No));
    const size_t taken = *victim.codec->send_body(id, much);
    accepted += taken;
    least = std::min(least, taken);
  }
  EXPECT_EQ(least, H2Codec::kStreamQueue / 10);
  EXPECT_LE(accepted, 331 * H2Codec::kStreamQueue);  // 100 + 100 ln 10
}

}  // namespace
}  // namespace tapdeck::http
