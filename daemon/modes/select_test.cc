#include "daemon/modes/select.h"

#include <gmock/gmock.h>

#include "daemon/exchange/fake_exchange.h"
#include "daemon/modes/miss.h"
#include "daemon/modes/origin.h"
#include "daemon/modes/runtime_state.h"

namespace tapdeck::modes {
namespace {

using exchange::FakeExchange;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

FakeExchange& request(FakeExchange& exchange, const std::string& authority, const std::string& sni = {}) {
  exchange.head.method = "GET";
  exchange.head.target = "/v1/items?x=1";
  exchange.head.authority = authority;
  exchange.from.destination = *Endpoint::parse("192.0.2.7:8443");
  if (!sni.empty()) {
    exchange.tls_facts.sni = sni;
    exchange.tls_facts.version = "TLSv1.3";
  }
  return exchange;
}

TEST(OriginName, IsTheSniThenTheAuthorityThenTheAddress) {
  std::string storage;
  FakeExchange by_sni, by_authority, by_address, by_v6;
  EXPECT_EQ(origin_of(request(by_sni, "API.test:8443", "api.test"), storage).host, "api.test");
  EXPECT_EQ(origin_of(by_sni, storage).authority, "") << "only case and port differ";
  EXPECT_EQ(origin_of(by_sni, storage).scheme, "https");
  EXPECT_EQ(origin_of(request(by_authority, "api.test:99"), storage).host, "api.test");
  EXPECT_EQ(origin_of(by_authority, storage).port, 8443) << "the port is the connection's, never the header's";
  EXPECT_EQ(origin_of(request(by_address, ""), storage).host, "192.0.2.7");
  EXPECT_EQ(origin_of(request(by_v6, "[2001:db8::1]:80"), storage).host, "2001:db8::1");
}

TEST(OriginName, AHostThatDisagreesWithTheSniIsAFurtherDimension) {
  std::string storage;
  FakeExchange exchange;
  const OriginName origin = origin_of(request(exchange, "evil.test", "api.test"), storage);
  EXPECT_EQ(origin.host, "api.test");
  EXPECT_EQ(origin.authority, "evil.test");
}

TEST(OriginName, ThePooledConnectionIsThatOfTheOriginalDestination) {
  FakeExchange exchange;
  request(exchange, "evil.test", "api.test").tls_facts.upstream_offer = "http/1.1";
  const upstream::Key key = upstream_key_of(exchange);
  EXPECT_EQ(key.address, *Endpoint::parse("192.0.2.7:8443"));
  EXPECT_EQ(key.server_name, "api.test");
  EXPECT_EQ(key.alpn, "http/1.1");
  EXPECT_EQ(key.security, upstream::Security::Tls);
}

TEST(Routes, TheFirstWhoseConditionsAllHoldDecides) {
  FakeExchange exchange;
  request(exchange, "api.test");
  config::Route other_host, prefix, all;
  other_host.host = "*.example.com";
  prefix.path_prefix = "/v1/";
  prefix.method = "GET";
  const std::vector<config::Route> routes = {other_host, prefix, all};
  EXPECT_EQ(route_for(routes, exchange, "t"), &routes[1]);
  exchange.head.method = "POST";
  EXPECT_EQ(route_for(routes, exchange, "t"), &routes[2]);
  EXPECT_EQ(route_for({}, exchange, "t"), nullptr);
}

TEST(Routes, EachConditionCanExclude) {
  FakeExchange exchange;
  request(exchange, "api.test");
  std::vector<config::Route> routes(1);
  config::Route& route = routes[0];
  const auto matches = [&] { return route_for(routes, exchange, "t") != nullptr; };
  EXPECT_TRUE((route.port = 8443, matches()));
  EXPECT_FALSE((route.port = 443, matches()));
  route.port.reset();
  EXPECT_FALSE((route.scheme = config::Scheme::Https, matches()));
  EXPECT_TRUE((route.scheme = config::Scheme::Http, matches()));
  EXPECT_TRUE((route.path = "/v1/items", matches())) << "the query is not the path";
  EXPECT_FALSE((route.path = "/v1", matches()));
  route.path.reset();
  EXPECT_FALSE((route.target = "u", matches()));
  EXPECT_TRUE((route.target = "t", matches()));
}

TEST(MissJson, EscapesWhatClientsChoose) {
  store::Key key;
  store::KeyParts parts;
  parts.scheme = "https";
  parts.host = "api.test";
  parts.port = 443;
  parts.method = "GET";
  parts.path = "/\"\x01";
  Miss miss{"s", "r", &key, &parts, {{7, {{"query", "a=1", "a=2"}}}}, false};
  const std::string json = miss_json(miss);
  EXPECT_NE(json.find("\"request\":{\"method\":\"GET\",\"url\":\"https://api.test/\\\"\\u0001\"}"), std::string::npos)
      << json;
  EXPECT_NE(json.find("\"nearest\":[{\"id\":\"7\",\"differs\":[{\"where\":\"query\",\"recorded\":\"a=1\",\"requested\":"
                      "\"a=2\"}]}]"),
            std::string::npos)
      << json;
  EXPECT_NE(json.find("recording 7 differs only in query"), std::string::npos);
  miss.exhausted = true;
  EXPECT_NE(miss_json(miss).find("used once"), std::string::npos);
  miss.exhausted = false;
  miss.nearest.clear();
  EXPECT_NE(miss_json(miss).find("has nothing like it"), std::string::npos);
}

// Of a miss with one near recording, which differs in `differs`.
std::string hint_for(const store::KeyParts& asked, std::vector<store::Difference> differs) {
  const store::Key key;
  const std::string json =
      miss_json({"s", "r", &key, &asked, {{7, std::move(differs)}}, false, has_placeholder(asked)});
  return json.substr(json.find("\"hint\":"));
}

TEST(MissJson, AnswersAlsoWhereNothingDiffers) {
  store::KeyParts parts{"http", "a.test", 80, "GET", "/", "", {}, 0, {}};
  EXPECT_THAT(hint_for(parts, {}),
              HasSubstr("recording 7 looks the same, so it was most likely recorded under another"));
  EXPECT_THAT(hint_for(parts, {{"path", "/", "/x"}, {"body", "a", "b"}}), HasSubstr("differs only in path, body;"));
  for (const char* query : {"token=[redacted:8bb70e47]&x=1", "token=%5BRedacted%3A8bb70e47%5D"}) {
    parts.query = query;
    EXPECT_THAT(hint_for(parts, {}), HasSubstr("a placeholder ([redacted:...]), which stands for a value"));
  }
}

// Of a miss whose target is of a `run`, or one of `serve`'s.
std::string hint_of(std::string_view target, const config::Route* rule, bool exhausted,
                    std::vector<store::Nearest> nearest) {
  const store::Key key;
  const store::KeyParts parts{"https", "a.test", 443, "GET", "/", "", {}, 0, {}};
  const std::string json = miss_json({"s", "r", &key, &parts, std::move(nearest), exhausted, false, target, rule});
  return json.substr(json.find("\"hint\":"));
}

TEST(MissJson, SaysHowToRecordItWhereverTheClientIs) {
  EXPECT_THAT(hint_of("run", nullptr, false, {}), HasSubstr("record it with --mode hybrid\""));
  EXPECT_THAT(hint_of("web", nullptr, false, {}), HasSubstr("record it with: tapdeck mode set hybrid --target web\""));
  config::Route rule;
  EXPECT_THAT(hint_of("run", &rule, false, {}), HasSubstr("--mode hybrid"));
  rule.mode = Mode::Replay;
  for (const char* target : {"run", "web"}) {
    const std::string hint = hint_of(target, &rule, false, {{7, {{"path", "/a", "/b"}}}});
    EXPECT_THAT(hint, HasSubstr("with mode = \\\"hybrid\\\" in route 'r' of the configuration"));
    EXPECT_EQ(hint.find("--mode"), std::string::npos) << "it changes nothing there";
  }
}

TEST(MissJson, SaysNothingOfRewindingToARun) {
  EXPECT_THAT(hint_of("web", nullptr, true, {}), HasSubstr("rewind the session with: tapdeck session rewind s"));
  const std::string hint = hint_of("run", nullptr, true, {});
  EXPECT_THAT(hint, HasSubstr("was used once: this run asked more often than was recorded"));
  EXPECT_EQ(hint.find("rewind"), std::string::npos) << "each run begins at the first recording";
}

TEST(MissJson, SaysThatAValueMadeAnewNeverMatches) {
  for (const char* where : {"body", "query"}) {
    EXPECT_THAT(hint_of("run", nullptr, false, {{7, {{where, "1", "2"}}}}),
                HasSubstr("A value made anew each time (an id, a time, a multipart boundary) never matches: have"));
  }
  EXPECT_THAT(hint_of("run", nullptr, false, {{7, {{"grpc message 2", "1", "2"}}}}),
              AllOf(HasSubstr("match_fields in [routes.grpc]"), Not(HasSubstr("record again"))));
  EXPECT_THAT(hint_of("run", nullptr, false, {{7, {{"grpc message 1", "1", "2"}}}}),
              HasSubstr("Recordings are found by the rules they were made under: after changing them record again"));
  EXPECT_EQ(hint_of("run", nullptr, false, {{7, {{"path", "1", "2"}}}}).find("made anew"), std::string::npos);
}

TEST(MissJson, SaysSoOfAnIdInThePathToo) {
  const std::string id = "f0669b2ee5cd1e93e0ba3a7c2d9bb0b6", other = "0b1c7a9f3e5d2846a1b2c3d4e5f60718";
  const auto hint = [](const std::string& recorded, const std::string& requested) {
    return hint_of("run", nullptr, false, {{7, {{"path", recorded, requested}}}});
  };
  EXPECT_THAT(hint("/locks/" + other, "/locks/" + id), HasSubstr("A value made anew each time"));
  EXPECT_THAT(hint("/" + id + "/a", "/" + id + "/b"), Not(HasSubstr("made anew"))) << "that one is the same";
}

TEST(MissJson, SaysThatTheTapeMayHaveGivenTheUrlToAnother) {
  store::KeyParts parts{"http", "a.test", 80, "PATCH", "/v2/x/blobs/uploads/550e8400-e29b-41d4-a716-446655440000",
                        "",     {},       0,  {}};
  EXPECT_THAT(hint_for(parts, {{"body", "1", "2"}}),
              AllOf(HasSubstr("recording 7 differs only in body. This URL may have been given out by the tape"),
                    HasSubstr("one after another"), HasSubstr("Else send the same, or record this request too")));
  EXPECT_THAT(hint_for(parts, {{"query", "1", "2"}, {"body", "1", "2"}}), Not(HasSubstr("given out")));
  std::swap(parts.path, parts.query);
  EXPECT_THAT(hint_for(parts, {{"body", "1", "2"}}), HasSubstr("given out by the tape"));
  parts.query = "page=2";
  EXPECT_THAT(hint_for(parts, {{"body", "1", "2"}}), HasSubstr("differs only in body; send the same"));
}

TEST(MissReason, IsWhatCameNearest) {
  const store::Key key;
  const store::KeyParts parts{"https", "a.test", 443, "GET", "/", "", {}, 0, {}};
  Miss miss{"s", "r", &key, &parts, {{24, {{"query", "", "a"}, {"body", "1", "2"}}}}};
  EXPECT_EQ(miss_reason(miss), "nearest 24: differs in query, body");
  miss.nearest = {{24, {}}};
  EXPECT_EQ(miss_reason(miss), "nearest 24: looks the same");
  miss.nearest = {};
  EXPECT_EQ(miss_reason(miss), "nothing like it is recorded");
  miss.exhausted = true;
  EXPECT_EQ(miss_reason(miss), "every recording of it was used once");
}

TEST(MissJson, SaysThatTunnelsThroughAnotherProxyAreNotRecorded) {
  EXPECT_THAT(hint_for({"http", "proxy.test", 3128, "CONNECT", "api.test:443", "", {}, 0, {}}, {}),
              HasSubstr("tunnels through another proxy are passed on and not recorded"));
}

TEST(MissJson, ShowsWhatHasNoPathAsItIs) {
  const auto url_of = [](const std::string& method, const std::string& path) {
    const store::Key key;
    const store::KeyParts parts{"http", "a.test", 9102, method, path, "", {}, 0, {}};
    const std::string json = miss_json({"s", "r", &key, &parts, {}, false, false});
    const size_t begin = json.find("\"url\":\"") + 7;
    return json.substr(begin, json.find('"', begin) - begin);
  };
  EXPECT_EQ(url_of("CONNECT", "x.test:443"), "x.test:443");
  EXPECT_EQ(url_of("OPTIONS", "*"), "http://a.test:9102");
  EXPECT_EQ(url_of("OPTIONS", "/"), "http://a.test:9102/");
  EXPECT_EQ(url_of("CONNECT", "/chat"), "http://a.test:9102/chat") << "an extended one has a path";
}

TEST(RuntimeState, AViewSeesAChangeAndAHeldSnapshotDoesNot) {
  RuntimeState state;
  RuntimeView view(state);
  const auto held = view.share();
  state.update([](RuntimeSnapshot& next) { next.targets[3].session = "other"; });
  EXPECT_EQ(view.get().targets[3].session, "other");
  EXPECT_EQ(view.get().generation, 2U);
  EXPECT_EQ(held->targets[3].session, "default");
}

}  // namespace
}  // namespace tapdeck::modes
