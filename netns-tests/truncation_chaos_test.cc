// Chaos: origins that end in the middle. A response cut after any of its bytes, by FIN or by RST, over HTTP/1.1 or
// HTTP/2: the client, of any version, never takes a part for the whole, and the next request succeeds. Clients are
// captured; every byte once, the places where parsers change state chaos_repeats() times.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <map>

#include "netns-tests/captured.h"
#include "netns-tests/chaos.h"
#include "netns-tests/h2_client.h"
#include "netns-tests/h2_frames.h"
#include "netns-tests/scripted_origin.h"

namespace tapdeck::lab {
namespace {

enum class End { Fin, Rst };
enum class Version { Http10, Http11 };  // of the client

struct Seen {
  std::string bytes;
  int read_errno = 0;  // at their end
};

// "/cut/12/rst" -> 12 and Rst; "/whole" -> everything.
struct Cut {
  size_t bytes = SIZE_MAX;
  End end = End::Fin;
};
Cut cut_of(const std::string& target) {
  if (!target.starts_with("/cut/")) return {};
  return {std::stoul(target.substr(5)), target.ends_with("/rst") ? End::Rst : End::Fin};
}
std::string target_of_cut(size_t bytes, End end) {
  return "/cut/" + std::to_string(bytes) + (end == End::Rst ? "/rst" : "/fin");
}

const std::string kLength = "HTTP/1.1 200 OK\r\nX-Odd: y\r\nContent-Length: 10\r\n\r\n0123456789";
const std::string kChunked =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\n01234\r\n5;e=1\r\n56789\r\n0\r\nX-T: "
    "1\r\n\r\n";

class TruncationChaos : public ::testing::TestWithParam<std::string> {
 protected:
  TruncationChaos()
      : origin_(captured_.lab().origin(), 80, std::nullopt, [](Peer& peer) {
          const std::string& whole = GetParam();
          const Cut cut = cut_of(target_of(peer.read_request()));
          if (!peer.stream().send(std::string_view(whole).substr(0, cut.bytes))) return;
          if (cut.end == End::Rst) peer.stream().reset();
        }) {}

  Seen ask(const std::string& target, Version version) {
    Stream client = captured_.connect(kOriginV4, 80);
    client.send(version == Version::Http11 ? get_request(target)
                                           : "GET " + target + " HTTP/1.0\r\nHost: origin.test\r\n\r\n");
    std::string bytes = client.read_to_end();
    return {std::move(bytes), client.read_errno()};
  }
  Seen ask_whole(Version version) {
    Seen whole = ask("/whole", version);
    EXPECT_EQ(parse_raw(whole.bytes).body, "0123456789");
    EXPECT_EQ(whole.read_errno, 0) << whole.bytes;
    return whole;
  }
  void expect_told(size_t bytes, End end, Version version) {
    const Seen answer = ask(target_of_cut(bytes, end), version);
    SCOPED_TRACE(target_of_cut(bytes, end) + (version == Version::Http10 ? " HTTP/1.0: " : ": ") + answer.bytes);
    if (answer.bytes.starts_with("HTTP/1.1 502 ")) {
      const std::string error = end == End::Rst ? "\"upstream_reset\"" : "\"upstream_truncated\"";
      ASSERT_TRUE(parse_raw(answer.bytes).body.contains(error));
      ASSERT_EQ(answer.read_errno, 0) << "this answer is whole";
      return;
    }
    ASSERT_GT(bytes, GetParam().find("\r\n\r\n")) << "no head of the origin came, but one of it went on";
    const std::string& whole = whole_[version].bytes;
    ASSERT_TRUE(whole.starts_with(answer.bytes));
    // Chunks become a body that only the end of the connection ends.
    const bool is_unframed = version == Version::Http10 && GetParam() == kChunked;
    if (end == End::Rst || is_unframed) {
      ASSERT_EQ(answer.read_errno, ECONNRESET);
    } else {
      ASSERT_EQ(answer.read_errno, 0);
      ASSERT_LT(answer.bytes.size(), whole.size());
    }
  }
  void expect_told(size_t bytes) {
    for (const Version version : {Version::Http11, Version::Http10}) {
      expect_told(bytes, End::Fin, version);
      expect_told(bytes, End::Rst, version);
    }
  }

  Captured captured_{CaptureBy::Interface};
  ScriptedOrigin origin_;
  std::map<Version, Seen> whole_;
};

TEST_P(TruncationChaos, NoByteIsTheLastOneUnlessItIs) {
  for (const Version version : {Version::Http11, Version::Http10}) whole_[version] = ask_whole(version);
  for (size_t bytes = 0; bytes < GetParam().size(); ++bytes) {
    expect_told(bytes);
    if (HasFatalFailure()) return;
  }
  const size_t head = GetParam().find("\r\n\r\n") + 4;
  for (int i = 0; i < chaos_repeats(); ++i) {
    for (const size_t bytes : {size_t{0}, size_t{12}, head - 1, head, head + 4, GetParam().size() - 1}) {
      expect_told(bytes);
      if (HasFatalFailure()) return;
    }
    ASSERT_EQ(ask_whole(Version::Http11).bytes, whole_[Version::Http11].bytes);
  }
  expect_no_connection_left(captured_.daemon());
}

INSTANTIATE_TEST_SUITE_P(Framing, TruncationChaos, ::testing::Values(kLength, kChunked),
                         [](const auto& info) { return std::string(info.index == 0 ? "Length" : "Chunked"); });

const std::string kH2Head = h2_greeting() + h2_head(1);
const std::string kH2Response = kH2Head + h2_body(1);

TEST(H2TruncationChaos, NoByteOfAnOriginsFramesIsTheLastOneUnlessItIs) {
  Captured captured(CaptureBy::Interface);
  Cut cut;
  const Script script = [&cut](Peer& peer) {
    if (read_first_h2_request(peer.stream()) == 0) return;
    const Cut now = cut;
    if (!peer.stream().send(std::string_view(kH2Response).substr(0, now.bytes))) return;
    if (now.end == End::Rst) return peer.stream().reset();
    if (now.bytes < kH2Response.size()) return;
    peer.stream().send(h2_goaway(1, 0));  // the next request comes on a connection of its own
    static_cast<void>(peer.stream().read_to_end());
  };
  ScriptedOrigin clear(captured.lab().origin(), 80, std::nullopt, script);
  ScriptedOrigin by_alpn(captured.lab().origin(), 443, captured.lab().leaf(), script, Alpn::H2);
  const TlsContext tls = TlsContext::client(captured.daemon().client_ca(), Alpn::H2);
  std::string scheme = "http";
  const auto ask = [&](size_t bytes, End end) {
    cut = {bytes, end};
    H2Client client(scheme == "http" ? captured.connect(kOriginV4, 80) : captured.connect_tls(kOriginV4, 443, tls),
                    scheme);
    return client.get("origin.test", "/");
  };
  const auto expect_told = [&](size_t bytes, End end) {
    const H2Answer answer = ask(bytes, end);
    if (answer.status == 502) {
      ASSERT_TRUE(answer.complete) << answer;
      return;
    }
    ASSERT_FALSE(answer.complete) << "cut after " << bytes << ": " << answer;
    ASSERT_FALSE(answer.lost) << "one stream failed, not the connection; cut after " << bytes
                              << (end == End::Rst ? " rst " : " fin ") << answer;
    ASSERT_GE(bytes, kH2Head.size()) << answer;
    ASSERT_TRUE(answer.reset) << answer;
  };
  for (size_t bytes = 0; bytes < kH2Response.size(); ++bytes) {
    expect_told(bytes, End::Fin);
    expect_told(bytes, End::Rst);
    if (testing::Test::HasFatalFailure()) return;
  }
  scheme = "https";
  for (int i = 0; i < chaos_repeats(); ++i) {
    for (const size_t bytes :
         {size_t{0}, size_t{9}, kH2Head.size() - 1, kH2Head.size(), kH2Head.size() + 9, kH2Response.size() - 1}) {
      expect_told(bytes, End::Fin);
      expect_told(bytes, End::Rst);
      if (testing::Test::HasFatalFailure()) return;
    }
    const H2Answer whole = ask(SIZE_MAX, End::Fin);
    ASSERT_TRUE(whole.complete && whole.body == kH2Body) << whole;
  }
  clear.stop();
  by_alpn.stop();
  expect_no_connection_left(captured.daemon());
}

}  // namespace
}  // namespace tapdeck::lab
