#include "daemon/http/upgrade_offer.h"

#include <gtest/gtest.h>

namespace tapdeck::http {
namespace {

Headers upgrade(std::initializer_list<std::string_view> values) {
  Headers headers;
  headers.add("Connection", "Upgrade");
  for (const std::string_view value : values) headers.add("Upgrade", value);
  return headers;
}

TEST(UpgradeOffer, IsTakenByWhatNamesOneOfIt) {
  const struct {
    std::initializer_list<std::string_view> offered, answered;
    bool takes;
  } table[] = {
      {{"websocket"}, {"websocket"}, true},
      {{"websocket"}, {"WebSocket"}, true},
      {{"bar"}, {"foo"}, false},
      {{"bar"}, {}, false},
      {{"bar"}, {""}, false},
      {{"bar,"}, {""}, false},
      {{"bar, foo"}, {"foo"}, true},
      {{"bar", "foo"}, {"foo"}, true},
      {{"foobar"}, {"foo"}, false},
      {{"TLS/1.0"}, {"TLS/1.0, HTTP/1.1"}, true},
      {{"TLS/1.2"}, {"TLS/1.0"}, true},
  };
  for (const auto& row : table) {
    const std::string offer = upgrade_offer(upgrade(row.offered));
    EXPECT_EQ(takes_upgrade(upgrade(row.answered), offer), row.takes)
        << offer << " -> " << upgrade_offer(upgrade(row.answered));
  }
}

TEST(UpgradeOffer, IsNotTakenWhereAListIsLongerThanAnybodyNeeds) {
  const auto list = [](size_t names, size_t bytes) {
    std::string text = "websocket";
    for (size_t i = 1; i < names; ++i) text = "x, " + text;
    return std::string(bytes - text.size(), 'x') + text;
  };
  const std::string most = list(16, 1024), more_names = list(17, 1024), more_bytes = list(16, 1025);
  EXPECT_TRUE(takes_upgrade(upgrade({most}), most));
  for (const std::string& longer : {more_names, more_bytes}) {
    EXPECT_FALSE(takes_upgrade(upgrade({longer}), "websocket"));
    EXPECT_FALSE(takes_upgrade(upgrade({"websocket"}), longer));
  }
}

}  // namespace
}  // namespace tapdeck::http
