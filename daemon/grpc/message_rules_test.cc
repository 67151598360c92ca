#include "daemon/grpc/message_rules.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "daemon/base/test_directory.h"

namespace tapdeck::grpc {
namespace {

using namespace std::string_literals;

constexpr std::string_view kShop = R"(syntax = "proto3";
package shop.v1;
import "google/protobuf/timestamp.proto";
message User { string id = 1; string region = 2; }
message Item { string sku = 1; uint32 count = 2; }
message Order {
  User user = 1;
  repeated Item items = 2;
  map<string, int32> labels = 3;
  google.protobuf.Timestamp at = 4;
  optional bool gift = 5;
  double price = 6;
}
message Receipt { string id = 1; }
service Shop { rpc Buy(Order) returns (Receipt); rpc Cancel(Receipt) returns (Receipt); }
)";

class GrpcMessageRules : public ::testing::Test {
 protected:
  std::filesystem::path write(const std::string& name, std::string_view text) const {
    return directory_.write(name, text);
  }
  static std::string canonical(const MessageRules& rules, std::string_view message, size_t index = 0,
                               std::string_view method = "/shop.v1.Shop/Buy") {
    std::string out;
    return rules.append_canonical(method, index, message, out) == Decoded::Yes ? out : "undecoded";
  }
  std::shared_ptr<const MessageRules> shop(const std::vector<std::string>& fields) const {
    auto rules = MessageRules::make({write("shop.proto", kShop)}, fields);
    EXPECT_TRUE(rules) << rules.error().detail;
    return rules ? *rules : nullptr;
  }
  static std::string error_of(const Result<std::shared_ptr<const MessageRules>>& rules) {
    return rules ? "none" : rules.error().detail;
  }

  TestDirectory directory_;
};

// user {id "u1" region "eu"}, items {sku "a" count 1}, items {sku "b"}
const std::string kOrder = "\x0a\x08\x0a\2u1\x12\2eu"s + "\x12\5\x0a\1a\x10\1"s + "\x12\3\x0a\1b"s;

TEST_F(GrpcMessageRules, NumbersNeedNoProtoFile) {
  const auto rules = MessageRules::make({}, {"1.1", "2.1"});
  ASSERT_TRUE(rules);
  EXPECT_EQ(canonical(**rules, kOrder), canonical(**rules, "\x0a\4\x0a\2u1\x12\3\x0a\1a\x12\3\x0a\1b"s));
  EXPECT_NE(canonical(**rules, kOrder), canonical(**rules, "\x0a\4\x0a\2u2\x12\3\x0a\1a\x12\3\x0a\1b"s));
  EXPECT_EQ(canonical(**rules, "\x08"), "undecoded");
}

TEST_F(GrpcMessageRules, NamesChooseByValue) {
  const auto rules = shop({"user.id", "$.items.sku"});
  ASSERT_NE(rules, nullptr);
  EXPECT_EQ(canonical(*rules, kOrder), canonical(*rules, "\x0a\4\x0a\2u1\x12\3\x0a\1a\x12\3\x0a\1b"s));
  EXPECT_NE(canonical(*rules, kOrder), canonical(*rules, "\x0a\4\x0a\2u1\x12\3\x0a\1b\x12\3\x0a\1a"s));
  EXPECT_EQ(canonical(*rules, "\xff"), "undecoded");
  EXPECT_EQ(canonical(*rules, kOrder, 0, "/shop.v1.Shop/Nothing"), "undecoded");
  EXPECT_EQ(canonical(*rules, kOrder, 0, "nonsense"), "undecoded");
}

TEST_F(GrpcMessageRules, AbsentIsTheDefaultUnlessTheFieldHasPresence) {
  const auto plain = shop({"items.count"});
  EXPECT_EQ(canonical(*plain, "\x12\2\x10\0"s), canonical(*plain, "\x12\0"s));
  const auto present = shop({"gift"});
  EXPECT_NE(canonical(*present, "\x28\0"s), canonical(*present, ""));
}

TEST_F(GrpcMessageRules, OneElementOrOneMessageCanBeNamed) {
  const auto second = shop({"items[1].sku"});
  EXPECT_EQ(canonical(*second, kOrder), canonical(*second, "\x12\3\x0a\1z\x12\3\x0a\1b"s));
  const auto first_message = shop({"$[0].user.id"});
  EXPECT_NE(canonical(*first_message, kOrder, 0), "");
  EXPECT_EQ(canonical(*first_message, kOrder, 1), "");
}

TEST_F(GrpcMessageRules, WithoutFieldsTheWholeMessageCountsByValue) {
  const auto rules = shop({});
  const std::string moved = "\x12\5\x0a\1a\x10\1"s + "\x12\3\x0a\1b"s + "\x0a\x08\x12\2eu\x0a\2u1"s;
  EXPECT_EQ(canonical(*rules, kOrder), canonical(*rules, moved));
  // labels {x: 1, y: 2} in both orders; an int32 written with more bytes than needed.
  EXPECT_EQ(canonical(*rules, "\x1a\5\x0a\1x\x10\1\x1a\5\x0a\1y\x10\2"s),
            canonical(*rules, "\x1a\6\x0a\1y\x10\x82\0\x1a\5\x0a\1x\x10\1"s));
  EXPECT_NE(canonical(*rules, kOrder), canonical(*rules, ""));
}

TEST_F(GrpcMessageRules, ANamedMapCountsByItsKeysInAnyOrder) {
  const std::string x1 = "\x1a\5\x0a\1x\x10\1"s, x3 = "\x1a\5\x0a\1x\x10\3"s, y2 = "\x1a\5\x0a\1y\x10\2"s;
  for (const std::string path : {"labels", "labels.key", "labels.value", "labels[0]"}) {
    const auto rules = shop({path});
    ASSERT_NE(rules, nullptr);
    EXPECT_EQ(canonical(*rules, x1 + y2), canonical(*rules, y2 + x1)) << path;
    EXPECT_EQ(canonical(*rules, x1 + y2), canonical(*rules, x3 + y2 + x1)) << path << ": the last of a key counts";
    if (path != "labels.key") EXPECT_NE(canonical(*rules, x1 + y2), canonical(*rules, x3 + y2)) << path;
  }
}

TEST_F(GrpcMessageRules, FieldsOfWellKnownTypesAreFound) {
  const auto rules = shop({"at.seconds", "price"});
  EXPECT_NE(canonical(*rules, "\x22\2\x08\x05"s), canonical(*rules, "\x22\2\x08\x06"s));
}

TEST_F(GrpcMessageRules, SaysWhereAProtoFileIsWrong) {
  const auto broken = write("broken.proto", "syntax = \"proto3\";\nmessage A {\n  strin id = 1;\n}\n");
  EXPECT_NE(error_of(MessageRules::make({broken}, {})).find("broken.proto:3:3: \"strin\" is not defined"),
            std::string::npos)
      << error_of(MessageRules::make({broken}, {}));
  const auto syntax = write("syntax.proto", "syntax = \"proto3\";\nmessage {\n");
  EXPECT_NE(error_of(MessageRules::make({syntax}, {})).find("syntax.proto:2:9: "), std::string::npos);
  const auto missing = error_of(MessageRules::make({directory_ / "no.proto"}, {}));
  EXPECT_NE(missing.find("no.proto: no such file"), std::string::npos) << missing;
  const auto set = error_of(MessageRules::make({write("x.pb", "no descriptor set")}, {}));
  EXPECT_NE(set.find("not a descriptor set"), std::string::npos) << set;
}

TEST_F(GrpcMessageRules, SaysWhichFieldIsNowhere) {
  const auto wrong = error_of(MessageRules::make({write("shop.proto", kShop)}, {"user.idd"}));
  EXPECT_NE(wrong.find("'user.idd'"), std::string::npos) << wrong;
  EXPECT_NE(error_of(MessageRules::make({}, {"user.id"})).find("give proto_files"), std::string::npos);
  const auto none = error_of(MessageRules::make({write("m.proto", "syntax=\"proto3\"; message A {}")}, {"id"}));
  EXPECT_NE(none.find("has no service"), std::string::npos) << none;
}

TEST_F(GrpcMessageRules, ImportsAreFoundFromAFolderAbove) {
  write("proto/common/user.proto", "syntax = \"proto3\"; package c; message User { string id = 1; }");
  const auto api = write("proto/api/api.proto",
                         "syntax = \"proto3\"; package a; import \"common/user.proto\";\n"
                         "message Ask { c.User user = 1; } service S { rpc Do(Ask) returns (Ask); }");
  const auto rules = MessageRules::make({api}, {"user.id"});
  ASSERT_TRUE(rules) << rules.error().detail;
  EXPECT_NE(canonical(**rules, "\x0a\4\x0a\2u1"s, 0, "/a.S/Do"), "undecoded");
}

TEST_F(GrpcMessageRules, DescriptorSetsWorkLikeTheirSources) {
  // FileDescriptorSet { file { name: "s.proto" package: "s" message { name: "M" field id } service { name "S" ... } } }
  const std::string field = "\x0a\2id\x18\1\x20\1\x28\x09"s;  // name, number 1, optional, string
  const std::string message = "\x0a\1M\x12"s + static_cast<char>(field.size()) + field;
  const std::string method = "\x0a\2Do\x12\4.s.M\x1a\4.s.M"s;
  const std::string service = "\x0a\1S\x12"s + static_cast<char>(method.size()) + method;
  const std::string file = "\x0a\7s.proto\x12\1s\x22"s + static_cast<char>(message.size()) + message + "\x32"s +
                           static_cast<char>(service.size()) + service;
  const auto rules = MessageRules::make({write("s.pb", "\x0a"s + static_cast<char>(file.size()) + file)}, {"id"});
  ASSERT_TRUE(rules) << rules.error().detail;
  EXPECT_NE(canonical(**rules, "\x0a\1a"s, 0, "/s.S/Do"), canonical(**rules, "\x0a\1b"s, 0, "/s.S/Do"));
}

}  // namespace
}  // namespace tapdeck::grpc
