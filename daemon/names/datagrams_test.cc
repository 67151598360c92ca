#include "daemon/names/datagrams.h"

#include <gmock/gmock.h>

#include <array>

#include "daemon/base/descriptors.h"
#include "daemon/names/names_rig.h"

namespace tapdeck::names {
namespace {

class DatagramsTest : public testing::Test {
 protected:
  // The wildcard socket is sent to at `address`, and answers from there.
  void is_answered_from(const std::string& wildcard, const std::string& address) {
    LoopbackUdp server(wildcard);
    const bool is_v6 = address.contains(':');
    ASSERT_TRUE(prepare(server.fd(), is_v6 ? Endpoint::Family::V6 : Endpoint::Family::V4));
    std::array<char, 100> buffer;
    EXPECT_FALSE(receive(server.fd(), buffer)) << "does not block";
    LoopbackUdp client(is_v6 ? "::1" : "127.0.0.1");
    client.connect(address, server.port());
    client.say("question");
    const auto datagram = receive(server.fd(), buffer);
    ASSERT_TRUE(datagram);
    EXPECT_EQ(datagram->bytes, "question");
    EXPECT_EQ(datagram->to.ip(), address);
    EXPECT_EQ(datagram->from.port, client.port());
    send(server.fd(), datagram->to, datagram->from, "answer");
    EXPECT_EQ(client.hear(), "answer");
  }
};

TEST_F(DatagramsTest, AnAnswerComesFromTheAddressThatWasAsked) {
  is_answered_from("0.0.0.0", "127.0.0.1");
  is_answered_from("0.0.0.0", "127.84.3.9");
}

TEST_F(DatagramsTest, AnIpv6AnswerToo) {
  if (!LoopbackUdp("::1").is_bound()) GTEST_SKIP() << "no IPv6 on the loopback interface";
  is_answered_from("::", "::1");
}

TEST_F(DatagramsTest, AnIpv6AnswerComesFromAnAddressThatNoInterfaceHas) {
  LoopbackUdp server("::"), client("::1");
  if (!client.is_bound()) GTEST_SKIP() << "no IPv6 on the loopback interface";
  ASSERT_TRUE(prepare(server.fd(), Endpoint::Family::V6));
  send(server.fd(), *Endpoint::parse("2001:db8::5"), *Endpoint::parse("::1", client.port()), "answer");
  EXPECT_EQ(client.hear(), "answer");
}

TEST_F(DatagramsTest, OnlyASocketCanBePrepared) {
  EXPECT_FALSE(prepare(-1, Endpoint::Family::V4));
  EXPECT_FALSE(prepare(LoopbackUdp("127.0.0.1").fd(), Endpoint::Family::V6));
}

TEST_F(DatagramsTest, DescriptorsAreLeftForOthers) {
  const Endpoint to = *Endpoint::parse("127.0.0.1:9");
  EXPECT_TRUE(connected_to(to));
  set_descriptor_bounds({.serving = 1});
  const auto socket = connected_to(to);
  set_descriptor_bounds({});
  ASSERT_FALSE(socket);
  EXPECT_EQ(socket.error().code, Code::Exhausted);
  EXPECT_FALSE(connected_to(Endpoint())) << "no address";
}

}  // namespace
}  // namespace tapdeck::names
