// Questions for names (UDP, port 53) of a cgroup: they go to our door, and answers from there look like the resolver's;
// or they pass, and are told of.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <set>
#include <string>

#include "daemon/kernel/netns/capture_rig.h"

namespace tapdeck::kernel {
namespace {

constexpr TargetPolicy kAnswered{OnLease::Open, Sealed::No, Names::Answered};
constexpr TargetPolicy kSealedAnswered{OnLease::Closed, Sealed::Yes, Names::Answered};
constexpr TargetPolicy kObserved{OnLease::Open, Sealed::No, Names::Observed};
constexpr std::string_view kQuestion = "a question of more than twelve bytes";
constexpr std::string_view kAnswer = "an answer of more than twelve bytes";

socklen_t name_of(const Endpoint& at, sockaddr_storage& out, int as_family) {
  socklen_t length = at.to_sockaddr(out);
  if (as_family != AF_INET6 || at.family != Endpoint::Family::V4) return length;
  sockaddr_in6 mapped{};
  mapped.sin6_family = AF_INET6;
  mapped.sin6_port = htons(at.port);
  std::array<unsigned char, 16> bytes{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  std::memcpy(bytes.data() + 12, at.address.data(), 4);
  std::memcpy(&mapped.sin6_addr, bytes.data(), bytes.size());
  std::memcpy(&out, &mapped, sizeof(mapped));
  return sizeof(mapped);
}

// Asks, and waits for the answer; report.peer is who sent that, as recvfrom shows it.
struct Asks {
  Endpoint resolver;
  lab::Connected connected = lab::Connected::No;
  int as_family = 0;
  std::string_view question = kQuestion;

  void operator()(Report& report) const {
    sockaddr_storage raw{};
    const socklen_t length = name_of(resolver, raw, as_family);
    const auto* address = reinterpret_cast<sockaddr*>(&raw);
    const int fd = ::socket(raw.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const bool connects = connected == lab::Connected::Yes;
    if (connects && ::connect(fd, address, length) != 0) return fails(report);
    if (::sendto(fd, question.data(), question.size(), 0, connects ? nullptr : address, connects ? 0 : length) < 0) {
      return fails(report);
    }
    pollfd ready{fd, POLLIN, 0};
    std::array<char, 256> buffer{};
    sockaddr_storage from{};
    socklen_t from_length = sizeof(from);
    if (::poll(&ready, 1, 10000) != 1) {
      report.error = ETIMEDOUT;
      return;
    }
    const ssize_t size =
        ::recvfrom(fd, buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &from_length);
    if (size < 0) return fails(report);
    report.count = static_cast<int>(size);
    report.peer = Endpoint::from_sockaddr(reinterpret_cast<sockaddr*>(&from));
  }
  static void fails(Report& report) { report.error = errno; }
};

class Doors : public CgroupCapture {
 protected:
  void answer(const lab::Sink::Question& asked) {
    sockaddr_storage raw{};
    const socklen_t length = asked.client.to_sockaddr(raw);
    ASSERT_EQ(::sendto(asked.fd, kAnswer.data(), kAnswer.size(), 0, reinterpret_cast<sockaddr*>(&raw), length),
              static_cast<ssize_t>(kAnswer.size()));
  }

  void expect_answered(const Asks& asks) {
    Client client(cgroup_.path(), -1, asks);
    const auto asked = sink_.question(asks.resolver.family);
    ASSERT_EQ(asked.bytes, asks.question);
    const auto flow = capture_->resolve_question(asked.netns_cookie, asked.client, asked.door);
    ASSERT_TRUE(flow) << flow.error().message();
    EXPECT_EQ(flow->original_destination, asks.resolver);
    EXPECT_EQ(flow->identity.target, kSlot);
    EXPECT_EQ(flow->identity.pid, static_cast<uint32_t>(client.pid()));
    answer(asked);
    const Report report = client.report();
    EXPECT_EQ(report.error, 0) << std::strerror(report.error);
    EXPECT_EQ(report.count, static_cast<int>(kAnswer.size()));
    EXPECT_EQ(report.peer, asks.resolver) << "recvfrom must not show the door";
  }
};

TEST_F(Doors, QuestionsOfEveryKindOfSocketComeToThemAndAnswersLookLikeTheResolvers) {
  attach(kSealedAnswered);
  for (const char* resolver : {"198.18.0.53:53", "127.0.0.53:53", "[2001:db8::53]:53", "[::1]:53"}) {
    for (const auto connected : {lab::Connected::No, lab::Connected::Yes}) {
      SCOPED_TRACE(resolver + std::string(connected == lab::Connected::Yes ? ", connected" : ""));
      expect_answered({ep(resolver), connected});
    }
  }
  for (const auto connected : {lab::Connected::No, lab::Connected::Yes}) {
    SCOPED_TRACE("v4-mapped");
    expect_answered({ep("198.18.0.54:53"), connected, AF_INET6});
  }
  EXPECT_EQ(uncaptured(Uncaptured::Dns), 0U);
  EXPECT_EQ(target_stats().refused_sealed, 0U);
  EXPECT_TRUE(sink_.refusals().empty());
}

// As musl does: one datagram to each of its resolvers, all with one id, and whoever answers is looked at.
TEST_F(Doors, OneSocketMayAskSeveralResolversAndHearsWhoAnswers) {
  attach(kAnswered);
  for (const char* family : {"198.18.0.", "2001:db8::"}) {
    const bool v6 = family[0] == '2';
    const auto resolver = [&](int number) {
      return ep(v6 ? "[" + std::string(family) + std::to_string(number) + "]:53"
                   : family + std::to_string(number) + ":53");
    };
    const std::array<Endpoint, 3> resolvers{resolver(51), resolver(52), resolver(53)};
    Client client(cgroup_.path(), -1, [resolvers, v6](Report& report) {
      const int fd = ::socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
      for (const Endpoint& to : resolvers) {
        sockaddr_storage raw{};
        const socklen_t length = to.to_sockaddr(raw);
        if (::sendto(fd, kQuestion.data(), kQuestion.size(), 0, reinterpret_cast<sockaddr*>(&raw), length) < 0) {
          return Asks::fails(report);
        }
      }
      pollfd ready{fd, POLLIN, 0};
      std::array<char, 256> buffer{};
      sockaddr_storage from{};
      socklen_t length = sizeof(from);
      if (::poll(&ready, 1, 10000) != 1 ||
          ::recvfrom(fd, buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &length) < 0) {
        return Asks::fails(report);
      }
      report.peer = Endpoint::from_sockaddr(reinterpret_cast<sockaddr*>(&from));
    });
    std::set<Endpoint> asked;
    std::optional<lab::Sink::Question> of_the_second;
    for (size_t i = 0; i < resolvers.size(); ++i) {
      const auto one = sink_.question(resolvers[0].family);
      const auto flow = capture_->resolve_question(one.netns_cookie, one.client, one.door);
      ASSERT_TRUE(flow) << flow.error().message();
      asked.insert(flow->original_destination);
      if (flow->original_destination == resolvers[1]) of_the_second = one;
    }
    EXPECT_EQ(asked, (std::set<Endpoint>{resolvers.begin(), resolvers.end()}));
    ASSERT_TRUE(of_the_second);
    answer(*of_the_second);
    const Report report = client.report();
    EXPECT_EQ(report.error, 0) << std::strerror(report.error);
    EXPECT_EQ(report.peer, resolvers[1]);
  }
}

TEST_F(Doors, WhatIsNoQuestionGoesWhereItIsSentTo) {
  attach(kAnswered);
  Client client(cgroup_.path(), -1, [](Report& report) {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (const char* to : {"198.18.0.53:53", "198.18.0.54:5353"}) {
      sockaddr_storage raw{};
      const socklen_t length = Endpoint::parse(to)->to_sockaddr(raw);
      report.error = ::sendto(fd, "x", 1, 0, reinterpret_cast<sockaddr*>(&raw), length) < 0 ? errno : 0;
    }
  });
  EXPECT_EQ(client.report().error, ENETUNREACH);
}

TEST_F(Doors, AResolverOnTheLinkIsAnsweredForToWhoIsSealedAndConnects) {
  attach(kAnswered);
  Asks asks{ep("[fe80::53]:53"), lab::Connected::Yes};
  asks.resolver.scope_id = 1;
  Client open(cgroup_.path(), -1, asks);
  EXPECT_NE(open.report().error, 0) << "it asks there, where nobody is";
  ASSERT_TRUE(capture_->set_policy(kSlot, kSealedAnswered));
  Client client(cgroup_.path(), -1, asks);
  const auto asked = sink_.question(Endpoint::Family::V6);
  ASSERT_EQ(asked.bytes, kQuestion);
  answer(asked);
  EXPECT_EQ(client.report().error, 0);
  asks.connected = lab::Connected::No;
  Client sends(cgroup_.path(), -1, asks);
  EXPECT_NE(sends.report().error, 0);
  EXPECT_EQ(target_stats().refused_sealed_dns, 1U);
}

// Its questions still come, whatever its target does by now.
TEST_F(Doors, AConnectedSocketIsKnownWhenTheTargetIsSetOtherwise) {
  attach(kAnswered);
  Client client(cgroup_.path(), -1, [](Report& report) {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_storage raw{};
    const socklen_t length = Endpoint::parse("198.18.0.53:53")->to_sockaddr(raw);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&raw), length) != 0) return Asks::fails(report);
    ::raise(SIGSTOP);
    if (::send(fd, kQuestion.data(), kQuestion.size(), 0) < 0) return Asks::fails(report);
  });
  int status = 0;
  ASSERT_EQ(::waitpid(client.pid(), &status, WUNTRACED), client.pid());
  for (const Names names : {Names::Observed, Names::Left}) {
    ASSERT_TRUE(capture_->set_policy(kSlot, {OnLease::Open, Sealed::No, names}));
  }
  ASSERT_EQ(::kill(client.pid(), SIGCONT), 0);
  const auto asked = sink_.question(Endpoint::Family::V4);
  ASSERT_EQ(asked.bytes, kQuestion);
  EXPECT_TRUE(capture_->resolve_question(asked.netns_cookie, asked.client, asked.door));
}

TEST_F(Doors, AConnectedSocketIsShownTheResolver) {
  attach(kAnswered);
  Client client(cgroup_.path(), -1, [](Report& report) {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_storage raw{};
    const socklen_t length = Endpoint::parse("198.18.0.53:53")->to_sockaddr(raw);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&raw), length) != 0) report.error = errno;
    socklen_t size = sizeof(raw);
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&raw), &size) != 0) report.error = errno;
    report.peer = Endpoint::from_sockaddr(reinterpret_cast<sockaddr*>(&raw));
  });
  const Report report = client.report();
  EXPECT_EQ(report.error, 0);
  EXPECT_EQ(report.peer, ep("198.18.0.53:53"));
}

TEST_F(Doors, WhoFindsOneByHimselfIsNobody) {
  attach(kAnswered);
  Client asked(cgroup_.path(), -1, Asks{ep("198.18.0.53:53")});
  const auto first = sink_.question(Endpoint::Family::V4);
  ASSERT_GE(first.fd, 0);
  Client stranger("", -1, lab::sends_udp(first.door, lab::Connected::No));
  const auto second = sink_.question(Endpoint::Family::V4);
  EXPECT_EQ(second.bytes, "x");
  EXPECT_FALSE(capture_->resolve_question(second.netns_cookie, second.client, second.door));
  answer(first);
}

TEST_F(Doors, ConnectedSocketsOfADetachedTargetAreNobodys) {
  attach(kAnswered);
  ASSERT_TRUE(capture_->prepare_netns(kSlot + 1, -1));  // the doors stay
  Client client(cgroup_.path(), -1, [](Report& report) {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_storage raw{};
    const socklen_t length = Endpoint::parse("198.18.0.53:53")->to_sockaddr(raw);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&raw), length) != 0) return Asks::fails(report);
    if (::send(fd, kQuestion.data(), kQuestion.size(), 0) < 0) return Asks::fails(report);
    ::raise(SIGSTOP);
    if (::send(fd, kQuestion.data(), kQuestion.size(), 0) < 0) return Asks::fails(report);
  });
  const auto owner = [&]() -> std::optional<uint32_t> {
    const auto asked = sink_.question(Endpoint::Family::V4);
    const auto flow = capture_->resolve_question(asked.netns_cookie, asked.client, asked.door);
    EXPECT_TRUE(flow && flow->original_destination == ep("198.18.0.53:53"));
    return flow ? std::optional(flow->identity.target) : std::nullopt;
  };
  EXPECT_EQ(owner(), kSlot);
  int status = 0;
  ASSERT_EQ(::waitpid(client.pid(), &status, WUNTRACED), client.pid());
  ASSERT_TRUE(capture_->detach(kSlot));
  ASSERT_EQ(::kill(client.pid(), SIGCONT), 0);
  EXPECT_EQ(owner(), kNoTarget);
}

TEST_F(Doors, PastTheLeaseQuestionsPassOrAreRefusedAsConnectionsAre) {
  options_.lease = std::chrono::milliseconds(1);
  attach(kAnswered);
  ASSERT_TRUE(eventually([&] {
    Client client(cgroup_.path(), -1, Asks{ep("198.18.0.53:53")});
    return client.report().error == ENETUNREACH;
  }));
  EXPECT_GT(uncaptured(Uncaptured::Lease), 0U);
  for (const Sealed sealed : {Sealed::No, Sealed::Yes}) {
    ASSERT_TRUE(capture_->set_policy(kSlot, {OnLease::Closed, sealed, Names::Answered}));
    const uint64_t before = target_stats().refused_lease;
    Client client(cgroup_.path(), -1, Asks{ep("198.18.0.53:53")});
    const int error = client.report().error;
    EXPECT_TRUE(error == ECONNREFUSED || error == EPERM) << std::strerror(error);
    EXPECT_EQ(target_stats().refused_lease, before + 1);
  }
}

TEST_F(Doors, GoWithTheirNamespacesListeners) {
  attach(kAnswered);
  EXPECT_EQ(sink_.doors(), 6U) << "three a family";
  ASSERT_TRUE(capture_->detach(kSlot));
  EXPECT_EQ(sink_.doors(), 0U);
  EXPECT_EQ(cgroup_.attached_programs(), 0);
}

TEST_F(Doors, WhatPassesIsToldBothWays) {
  attach(kObserved);
  const UniqueFd resolver(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage raw{};
  const socklen_t length = ep("127.0.0.53:53").to_sockaddr(raw);
  ASSERT_EQ(::bind(resolver.get(), reinterpret_cast<sockaddr*>(&raw), length), 0);
  Client client(cgroup_.path(), -1, Asks{ep("127.0.0.53:53")});
  std::array<char, 256> buffer{};
  sockaddr_storage from{};
  socklen_t from_length = sizeof(from);
  ASSERT_EQ(
      ::recvfrom(resolver.get(), buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &from_length),
      static_cast<ssize_t>(kQuestion.size()))
      << "it goes to the resolver itself";
  ASSERT_EQ(
      ::sendto(resolver.get(), kAnswer.data(), kAnswer.size(), 0, reinterpret_cast<sockaddr*>(&from), from_length),
      static_cast<ssize_t>(kAnswer.size()));
  const Report report = client.report();
  EXPECT_EQ(report.error, 0) << std::strerror(report.error);
  ASSERT_TRUE(eventually([&] { return sink_.names_seen().size() == 2; }));
  const auto seen = sink_.names_seen();
  EXPECT_EQ(seen[0].bytes, kQuestion);
  EXPECT_EQ(seen[0].sighting.way, NameSighting::Way::Question);
  EXPECT_EQ(seen[1].bytes, kAnswer);
  EXPECT_EQ(seen[1].sighting.way, NameSighting::Way::Answer);
  for (const auto& one : seen) {
    EXPECT_EQ(one.sighting.target, kSlot);
    EXPECT_EQ(one.sighting.netns_cookie, netns_cookie().value_or(0));
    EXPECT_EQ(one.sighting.client, Endpoint::from_sockaddr(reinterpret_cast<sockaddr*>(&from)));
    EXPECT_EQ(one.sighting.resolver, ep("127.0.0.53:53"));
  }
  EXPECT_EQ(uncaptured(Uncaptured::Dns), 0U) << "it is looked after";
}

TEST_F(Doors, OfWhatIsLongTheBeginningIsToldAndHowLongItIs) {
  attach(kObserved);
  for (const size_t size : {20U, 255U, 256U, 1023U, 1024U, 4095U, 4096U, 9000U}) {
    const std::string question(size, 'q');
    Client client(cgroup_.path(), -1, [&question](Report& report) {
      const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
      sockaddr_storage raw{};
      const socklen_t length = Endpoint::parse("127.0.0.53:53")->to_sockaddr(raw);
      if (::sendto(fd, question.data(), question.size(), 0, reinterpret_cast<sockaddr*>(&raw), length) < 0) {
        return Asks::fails(report);
      }
    });
    EXPECT_EQ(client.report().error, 0);
    ASSERT_TRUE(eventually([&] {
      return !sink_.names_seen().empty() && sink_.names_seen().back().sighting.length == size;
    })) << size;
    EXPECT_EQ(sink_.names_seen().back().bytes, question.substr(0, 4095));
  }
  EXPECT_EQ(sink_.names_lost(), 0U);
}

TEST_F(Doors, ASealedTargetThatIsToBeObservedIsRefused) {
  attach({OnLease::Closed, Sealed::Yes, Names::Observed});
  Client client(cgroup_.path(), -1, Asks{ep("127.0.0.53:53")});
  const int error = client.report().error;
  EXPECT_TRUE(error == ECONNREFUSED || error == EPERM) << std::strerror(error);
  EXPECT_EQ(target_stats().refused_sealed_dns, 1U);
}

TEST_F(Doors, ClosedTargetsLeaveNothingBehind) {
  attach({OnLease::Closed, Sealed::No, Names::Answered});
  EXPECT_EQ(cgroup_.attached_programs(), kPrograms + kFilters);
  capture_->keep_closed();
  capture_.reset();
  EXPECT_EQ(cgroup_.attached_programs(), kPrograms + kFilters) << "pinned";
  const auto cleaned = clean_leftovers(options_.run_dir);
  ASSERT_TRUE(cleaned) << cleaned.error().message();
  EXPECT_TRUE(eventually([&] { return cgroup_.attached_programs() == 0; }));
}

}  // namespace
}  // namespace tapdeck::kernel
