#include "daemon/http/h2c_offer.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace tapdeck::http {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

Fields dropped_from(const Fields& fields) {
  Headers headers;
  for (const auto& [name, value] : fields) headers.add(name, value);
  drop_h2c_offer(headers);
  Fields left;
  for (size_t i = 0; i < headers.size(); ++i) left.emplace_back(headers[i].name, headers[i].value);
  return left;
}

TEST(H2cOffer, WhatCurlJavaAndNghttpSendIsGoneAndTheRestAtItsPlace) {
  const Fields curl = {{"Host", "a.test"},
                       {"Accept", "*/*"},
                       {"Connection", "Upgrade, HTTP2-Settings"},
                       {"Upgrade", "h2c"},
                       {"HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"},
                       {"X-Last", "1"}};
  const Fields plain = {{"Host", "a.test"}, {"Accept", "*/*"}, {"X-Last", "1"}};
  EXPECT_EQ(dropped_from(curl), plain);
  const Fields java = {{"Connection", "Upgrade, HTTP2-Settings"},
                       {"Host", "a.test"},
                       {"HTTP2-Settings", "AAEAAEAA"},
                       {"Upgrade", "H2C"},
                       {"Accept", "*/*"},
                       {"X-Last", "1"}};
  EXPECT_EQ(dropped_from(java), plain);
}

TEST(H2cOffer, OtherProtocolsAndConnectionOptionsStay) {
  EXPECT_EQ(dropped_from({{"Connection", "close, upgrade,HTTP2-Settings"},
                          {"Upgrade", "websocket,h2c , irc/1.0"},
                          {"HTTP2-Settings", ""}}),
            (Fields{{"Connection", "close, upgrade"}, {"Upgrade", "websocket, irc/1.0"}}));
  EXPECT_EQ(dropped_from({{"Upgrade", "websocket"},
                          {"Upgrade", "h2c"},
                          {"Connection", "Upgrade"},
                          {"Connection", "http2-settings , Keep-Alive"}}),
            (Fields{{"Upgrade", "websocket"}, {"Connection", "Upgrade"}, {"Connection", "Keep-Alive"}}));
  EXPECT_EQ(dropped_from({{"Connection", "close"}, {"Upgrade", "h2c"}}), (Fields{{"Connection", "close"}}));
}

TEST(H2cOffer, WithoutItNothingChanges) {
  const Fields odd = {{"Connection", "Upgrade ,,close"},
                      {"Upgrade", " websocket,h2cc"},
                      {"HTTP2-Settings", "AAMA"},
                      {"X", "Upgrade: h2c"}};
  EXPECT_EQ(dropped_from(odd), odd);
}

}  // namespace
}  // namespace tapdeck::http
