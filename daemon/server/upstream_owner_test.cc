// Whose an upstream connection is: identities that belong to a connection, and what becomes of it when its client goes.
#include <gmock/gmock.h>

#include <future>

#include "daemon/server/h2_wire.h"
#include "daemon/server/worker_rig.h"

namespace tapdeck::server {
namespace {

using ::testing::HasSubstr;

std::string get(const std::string& path, const std::string& field = {}) {
  return "GET " + path + " HTTP/1.1\r\nHost: api.test\r\n" + field + "\r\n";
}

// Authenticates connections as NTLM does: two legs, and then whatever comes on the connection is its user's.
ScriptedOrigin::End authenticate(Wire& wire) {
  std::string user;
  bool is_challenged = false;
  while (true) {
    const std::string request = wire.read_until("\r\n\r\n");
    if (!request.ends_with("\r\n\r\n")) return ScriptedOrigin::End::Close;
    const size_t named = request.find("NTLM three-");
    if (named != std::string::npos && is_challenged)
      user = request.substr(named + 11, request.find('\r', named) - named - 11);
    is_challenged = request.contains("NTLM one");
    const std::string challenge = is_challenged ? "NTLM two" : "NTLM";
    wire.write(user.empty() ? "HTTP/1.1 401 U\r\nWWW-Authenticate: " + challenge + "\r\nContent-Length: 0\r\n\r\n"
                            : with_length("hello " + user + "!"));
  }
}

// One request, and what came up to its end, which is an empty body or a "!".
std::string ask_on(Wire& wire, const std::string& request) {
  EXPECT_TRUE(wire.write(request));
  const std::string head = wire.read_until("\r\n\r\n");
  return head.contains(" 200 ") ? wire.read_until("!") : head;
}

std::string log_in(Wire& wire, const std::string& user) {
  EXPECT_THAT(ask_on(wire, get("/")), HasSubstr("WWW-Authenticate: NTLM\r\n"));
  EXPECT_THAT(ask_on(wire, get("/", "Authorization: NTLM one\r\n")), HasSubstr("NTLM two"));
  return ask_on(wire, get("/", "Authorization: NTLM three-" + user + "\r\n"));
}

TEST(UpstreamOwner, AnIdentityOfAConnectionIsItsClientsAlone) {
  WorkerRig rig;
  ScriptedOrigin origin(authenticate);
  rig.go_to(origin.endpoint());
  Wire alice = rig.connect();
  Wire bob = rig.connect();
  EXPECT_EQ(log_in(alice, "alice"), "hello alice!");
  EXPECT_THAT(ask_on(bob, get("/secret")), HasSubstr(" 401 "));
  EXPECT_EQ(ask_on(alice, get("/more")), "hello alice!") << "the same connection as before";
  EXPECT_EQ(log_in(bob, "bob"), "hello bob!");
  EXPECT_EQ(ask_on(alice, get("/more")), "hello alice!");
  EXPECT_EQ(ask_on(bob, get("/more")), "hello bob!");
  alice.close();
  bob.close();
  EXPECT_TRUE(eventually([&] { return rig.active() == 0; }));
  for (int i = 0; i < 3; ++i) EXPECT_THAT(rig.ask(get("/secret")), HasSubstr(" 401 ")) << "it went with its client";
}

TEST(UpstreamOwner, TwoHandshakesAtATimeDoNotGetIntoEachOthersConnections) {
  WorkerRig rig;
  ScriptedOrigin origin(authenticate);
  rig.go_to(origin.endpoint());
  std::list<Wire> clients;
  for (int i = 0; i < 4; ++i) clients.push_back(rig.connect());
  for (Wire& wire : clients) EXPECT_THAT(ask_on(wire, get("/", "Authorization: NTLM one\r\n")), HasSubstr("NTLM two"));
  int user = 0;
  for (Wire& wire : clients) {
    const std::string name = "user" + std::to_string(user++);
    EXPECT_EQ(ask_on(wire, get("/", "Authorization: NTLM three-" + name + "\r\n")), "hello " + name + "!");
  }
  for (Wire& wire : clients) wire.close();
}

// Ends its connection without a word on a request with `word`, the first time; challenges all others that bring
// credentials.
ScriptedOrigin::Script ends_once_on(std::string word, std::atomic<int>& asked) {
  return [word = std::move(word), &asked](Wire& wire) {
    while (true) {
      const std::string request = wire.read_until("\r\n\r\n");
      if (!request.ends_with("\r\n\r\n")) return ScriptedOrigin::End::Close;
      if (request.contains(word) && asked++ == 0) return ScriptedOrigin::End::Close;
      wire.write(request.contains("NTLM") ? "HTTP/1.1 401 U\r\nWWW-Authenticate: NTLM two\r\nContent-Length: 0\r\n\r\n"
                                          : with_length("x!"));
    }
  };
}

TEST(UpstreamOwner, AHandshakeThatLosesItsConnectionIsNotContinuedOnAnother) {
  WorkerRig rig;
  std::atomic<int> asked{0};
  ScriptedOrigin origin(ends_once_on("NTLM three", asked));
  rig.go_to(origin.endpoint());
  Wire alice = rig.connect();
  EXPECT_THAT(ask_on(alice, get("/", "Authorization: NTLM one\r\n")), HasSubstr("NTLM two"));
  EXPECT_THAT(ask_on(alice, get("/", "Authorization: NTLM three-alice\r\n")), HasSubstr(" 502 "));
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(origin.connections(), 1U);
  alice.close();
}

TEST(UpstreamOwner, AHandshakeThatLosesTheConnectionItWouldBeginOnBeginsOnAnother) {
  WorkerRig rig;
  std::atomic<int> asked{0};
  ScriptedOrigin origin(ends_once_on("NTLM one", asked));
  rig.go_to(origin.endpoint());
  Wire alice = rig.connect();
  EXPECT_EQ(ask_on(alice, get("/")), "x!");
  EXPECT_THAT(ask_on(alice, get("/", "Authorization: NTLM one\r\n")), HasSubstr("NTLM two"));
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(origin.connections(), 2U);
  alice.close();
}

TEST(UpstreamOwner, AnHttp2ClientOwnsItsIdentityAlike) {
  RigOptions options;
  config::Route route;
  route.upstream_http = config::UpstreamHttp::V1;
  options.config.routes.push_back(std::move(route));
  WorkerRig rig(std::move(options));
  ScriptedOrigin origin(authenticate);
  rig.go_to(origin.endpoint());
  Wire raw = rig.connect();
  H2Wire alice(raw, http::Role::Client);
  const auto ask = [](H2Wire& wire, const std::string& credentials) {
    http::Headers fields;
    if (!credentials.empty()) fields.add("authorization", credentials);
    const http::StreamId stream = wire.request("GET", "/", {}, fields);
    return wire.until("END " + std::to_string(stream));
  };
  EXPECT_THAT(ask(alice, "NTLM one"), HasSubstr("HEAD 1 401"));
  EXPECT_THAT(ask(alice, "NTLM three-alice"), HasSubstr("HEAD 3 200, BODY 3 hello alice"));
  Wire other = rig.connect();
  H2Wire bob(other, http::Role::Client);
  EXPECT_THAT(ask(bob, {}), HasSubstr("HEAD 1 401"));
  EXPECT_THAT(ask(alice, {}), HasSubstr("HEAD 5 200, BODY 5 hello alice"));
  raw.close();
  other.close();
}

// Counts the HTTP/2 connections, and answers with the number of each.
TEST(UpstreamOwner, AnIdentityGetsAnHttp2ConnectionOfItsOwn) {
  WorkerRig rig;
  std::atomic<int> made{0};
  ScriptedOrigin origin([&made](Wire& raw) {
    H2Wire wire(raw, http::Role::Server);
    const std::string number = "connection " + std::to_string(++made);
    while (true) {
      const std::string what = wire.next();
      if (what == "EOF" || what.starts_with("ERROR")) return ScriptedOrigin::End::Close;
      if (what.starts_with("END")) wire.respond(static_cast<http::StreamId>(std::stoul(what.substr(4))), 200, number);
    }
  });
  rig.go_to(origin.endpoint());
  Wire first = rig.connect(), second = rig.connect();
  H2Wire alice(first, http::Role::Client), bob(second, http::Role::Client);
  http::Headers fields;
  fields.add("authorization", "Negotiate YIIJ");
  alice.request("GET", "/");
  EXPECT_THAT(alice.until("END 1"), HasSubstr("connection 1"));
  bob.request("GET", "/");
  EXPECT_THAT(bob.until("END 1"), HasSubstr("connection 1")) << "shared while nobody has a name";
  alice.request("GET", "/", {}, fields);
  EXPECT_THAT(alice.until("END 3"), HasSubstr("connection 2"));
  alice.request("GET", "/");
  EXPECT_THAT(alice.until("END 5"), HasSubstr("connection 2")) << "its own, also without credentials";
  bob.request("GET", "/");
  EXPECT_THAT(bob.until("END 3"), HasSubstr("connection 1"));
  first.close();
  second.close();
}

TEST(UpstreamOwner, AnOfferAloneLeavesAnHttp2ConnectionToAll) {
  WorkerRig rig;
  ScriptedOrigin origin([](Wire& raw) {
    H2Wire wire(raw, http::Role::Server);
    while (true) {
      const std::string what = wire.next();
      if (what == "EOF" || what.starts_with("ERROR")) return ScriptedOrigin::End::Close;
      if (!what.starts_with("END")) continue;
      http::ResponseHead head;
      head.status = 401;
      head.version = http::Version::Http2;
      head.headers.add("www-authenticate", "Negotiate");
      EXPECT_TRUE(wire.codec().send_response(static_cast<http::StreamId>(std::stoul(what.substr(4))), head,
                                             http::EndStream::Yes));
      wire.flush();
    }
  });
  rig.go_to(origin.endpoint());
  Wire first = rig.connect(), second = rig.connect();
  H2Wire alice(first, http::Role::Client), bob(second, http::Role::Client);
  for (const http::StreamId stream : {1U, 3U}) {
    for (H2Wire* wire : {&alice, &bob}) {
      wire->request("GET", "/");
      EXPECT_THAT(wire->until("END"), HasSubstr("HEAD " + std::to_string(stream) + " 401"));
    }
  }
  EXPECT_EQ(origin.connections(), 1U);
  first.close();
  second.close();
}

TEST(UpstreamOwner, AnIdleConnectionEndsSoonAfterItsClient) {
  WorkerRig rig;
  std::promise<void> ended;
  ScriptedOrigin origin([&ended](Wire& wire) {  // as a server that serves one connection at a time
    while (wire.read_until("\r\n\r\n").ends_with("\r\n\r\n")) wire.write(with_length("x!"));
    ended.set_value();
    return ScriptedOrigin::End::Close;
  });
  rig.go_to(origin.endpoint());
  Wire client = rig.connect();
  EXPECT_EQ(ask_on(client, get("/")), "x!");
  auto end = ended.get_future();
  client.close();
  EXPECT_EQ(end.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  EXPECT_EQ(origin.connections(), 1U);
}

}  // namespace
}  // namespace tapdeck::server
