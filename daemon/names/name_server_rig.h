// Test support: a NameServer with a client, a resolver that is asked outside, and a small tape. Thread: the test's.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/names/name_server.h"
#include "daemon/names/names_rig.h"

namespace tapdeck::names {

// The client's resolver; it is asked inside at this address, and listens there outside.
inline constexpr const char* kResolver = "127.84.0.53";
inline constexpr uint64_t kDoor = 4, kOtherDoor = 5;
inline constexpr std::chrono::hours kLong{1};

class NameServerTest : public testing::Test {
 protected:
  void start(Ask ask, std::chrono::milliseconds patience = kLong, std::chrono::milliseconds early = kLong) {
    view_->ask = ask;
    NameServerOptions options;
    options.asker_of = [this](uint64_t door, const Datagram& datagram) { return asker_of(door, datagram); };
    options.connect = std::move(connect_);
    options.patience = ask == Ask::TapeOnly ? patience : kLong;
    options.long_patience = ask == Ask::OutsideFirst ? patience : kLong;
    options.early = early;
    auto server = NameServer::start(std::move(options));
    ASSERT_TRUE(server) << server.error().message();
    server_ = std::move(*server);
    LoopbackUdp v4("0.0.0.0");
    client_.connect(kResolver, v4.port());
    ASSERT_TRUE(server_->open({kDoor, v4.take(), Endpoint::Family::V4}));
  }
  // On the server's thread.
  std::optional<Asker> asker_of(uint64_t door, const Datagram& datagram) {
    if (datagram.from.port == stranger_.port()) return std::nullopt;
    Asker asker;
    asker.resolver = *Endpoint::parse(kResolver, resolver_.port());
    asker.pid = static_cast<uint32_t>(door);
    if (door == kDoor) asker.view = view_;
    if (door == kOtherDoor) asker.view = other_view_;
    return asker;
  }
  TapeSources sources() {
    TapeSources out;
    out.recorded = [](std::string_view name, uint16_t type) -> std::optional<Lookup> {
      if (name != "silent.example") return std::nullopt;
      return Lookup{std::string(name), type, LookupEnd::Silent, {}};
    };
    out.addresses = [](std::string_view name) -> std::optional<std::vector<Endpoint>> {
      if (name != "api.example") return std::nullopt;
      return std::vector{*Endpoint::parse("192.0.2.1")};
    };
    out.on_unknown = [this](const Asker& asker, const std::string& name) { note("unknown", asker, name); };
    return out;
  }
  std::shared_ptr<View> view() {
    auto out = std::make_shared<View>(sources());
    out->outside = [this](std::string_view name) { return name == outside_name_ ? outside_ : Outside::No; };
    out->reaches_v6 = false;
    out->on_lookup = [this](const Asker& asker, const Lookup& lookup) {
      const char* how = lookup.end == LookupEnd::Answered ? "answered"
                        : lookup.end == LookupEnd::Silent ? "silent"
                                                          : "unreachable";
      note(how, asker, lookup.name + (lookup.reply.empty() ? "" : " " + lookup.reply));
    };
    return out;
  }
  // What a client was answered after is noted by then.
  void note(const std::string& what, const Asker& asker, const std::string& name) {
    const std::lock_guard lock(mutex_);
    notes_.push_back(std::to_string(asker.pid) + " " + what + " " + name);
  }
  std::vector<std::string> notes() {
    const std::lock_guard lock(mutex_);
    return notes_;
  }
  std::string ask(const std::string& datagram) {
    client_.say(datagram);
    return client_.hear();
  }
  // The resolver's answer is `flags` alone.
  std::string ask_and_reply(const std::string& datagram, unsigned flags) {
    client_.say(datagram);
    resolver_.answer(reply_to(resolver_.hear(), flags));
    return client_.hear();
  }
  static std::string from_tape(const std::string& query) {
    return reply_to(query, 0x8180, 1) + bytes("\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1");
  }

  // A third client, behind a door of its own.
  void open_other(uint64_t id, Ask ask) {
    other_view_->ask = ask;
    LoopbackUdp door("127.0.0.1");
    other_client_.connect("127.0.0.1", door.port());
    ASSERT_TRUE(server_->open({id, door.take(), Endpoint::Family::V4}));
  }

  const std::string known_ = query_of(7, "Api.example", kA);
  const std::string other_ = query_of(8, "other.example", kA);
  LoopbackUdp client_{"127.0.0.1"}, other_client_{"127.0.0.1"}, stranger_{"127.0.0.1"};
  LoopbackUdp resolver_{kResolver};
  std::string outside_name_;
  Outside outside_ = Outside::No;  // of that name
  std::mutex mutex_;
  std::vector<std::string> notes_;
  std::function<Result<UniqueFd>(const Asker&)> connect_ = [](const Asker& asker) {
    return connected_to(asker.resolver);
  };
  std::shared_ptr<View> view_ = view(), other_view_ = view();
  std::unique_ptr<NameServer> server_;
};

}  // namespace tapdeck::names
