#include "daemon/config/routes.h"

#include <gtest/gtest.h>

namespace tapdeck::config {
namespace {

const RouteFacts kAsked = {Scheme::Https, "API.test", 8443, "/v1/items", "GET", "web"};

TEST(Routes, OneWithoutConditionsFitsEverything) {
  EXPECT_TRUE(fits(Route{}, kAsked));
  EXPECT_TRUE(fits(Route{}, RouteFacts{}));
}

TEST(Routes, EachConditionAloneDecides) {
  const struct {
    const char* what;
    void (*fitting)(Route&);
    void (*other)(Route&);
  } table[] = {
      {"host", [](Route& r) { r.host = "api.*"; }, [](Route& r) { r.host = "api"; }},
      {"port", [](Route& r) { r.port = 8443; }, [](Route& r) { r.port = 443; }},
      {"scheme", [](Route& r) { r.scheme = Scheme::Https; }, [](Route& r) { r.scheme = Scheme::Http; }},
      {"path", [](Route& r) { r.path = "/v1/items"; }, [](Route& r) { r.path = "/v1"; }},
      {"path_prefix", [](Route& r) { r.path_prefix = "/v1"; }, [](Route& r) { r.path_prefix = "/v1/items/"; }},
      {"method", [](Route& r) { r.method = "GET"; }, [](Route& r) { r.method = "POST"; }},
      {"target", [](Route& r) { r.target = "web"; }, [](Route& r) { r.target = "we"; }},
  };
  for (const auto& row : table) {
    Route fitting;
    Route other;
    row.fitting(fitting);
    row.other(other);
    EXPECT_TRUE(fits(fitting, kAsked)) << row.what;
    EXPECT_FALSE(fits(other, kAsked)) << row.what;
    for (const auto& further : table) further.fitting(other);
    row.other(other);
    EXPECT_FALSE(fits(other, kAsked)) << row.what << " among conditions that hold";
  }
}

TEST(Routes, AConnectionWithoutARequestFitsNoPathOrMethod) {
  const RouteFacts connection = {Scheme::Https, "api.test", 443, {}, {}, "web"};
  Route by_path;
  Route by_prefix;
  Route by_method;
  by_path.path = "/";
  by_prefix.path_prefix = "/";
  by_method.method = "GET";
  for (const Route* route : {&by_path, &by_prefix, &by_method}) EXPECT_FALSE(fits(*route, connection));
}

// Decision 24: a route sorts what clients send, it does not keep them from anything.
TEST(Routes, APathIsMatchedAsItsBytesAndNeverNormalised) {
  Route by_prefix;
  Route by_path;
  by_prefix.path_prefix = "/admin";
  by_path.path = "/admin/x";
  const auto fits_either = [&](std::string_view path) {
    const RouteFacts facts = {Scheme::Https, "api.test", 443, path, "GET", "web"};
    return fits(by_prefix, facts) || fits(by_path, facts);
  };
  EXPECT_TRUE(fits_either("/admin/x"));
  for (const std::string_view other :
       {"//admin/x", "/%61dmin/x", "/a/../admin/x", "/./admin/x", "/Admin/x", "/admi%6e/x", "/;/admin/x"}) {
    EXPECT_FALSE(fits_either(other)) << other;
  }
  EXPECT_TRUE(fits_either("/admin/../public")) << "nor does it end where its origin may take it to";
}

}  // namespace
}  // namespace tapdeck::config
