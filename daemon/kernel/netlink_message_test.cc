#include "daemon/kernel/netlink_message.h"

#include <gtest/gtest.h>
#include <linux/rtnetlink.h>

#include <cerrno>
#include <cstring>

namespace tapdeck::kernel {
namespace {

uint32_t number_at(const std::vector<char>& bytes, size_t at) {
  uint32_t value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

rtattr attribute_at(const std::vector<char>& bytes, size_t at) {
  rtattr head{};
  std::memcpy(&head, bytes.data() + at, sizeof(head));
  return head;
}

TEST(NetlinkMessage, HeaderBodyAndAttributesFollowEachOtherPadded) {
  NetlinkMessage message(RTM_GETLINK, NLM_F_ACK);
  message.body(ifinfomsg{});
  message.attribute(IFLA_IFNAME, "ab", 3);
  message.attribute(IFLA_MTU, 1500);
  const auto& bytes = message.bytes();
  const size_t first = NLMSG_LENGTH(sizeof(ifinfomsg));
  ASSERT_EQ(bytes.size(), first + 8 + 8);
  EXPECT_EQ(number_at(bytes, 0), bytes.size());
  nlmsghdr header{};
  std::memcpy(&header, bytes.data(), sizeof(header));
  EXPECT_EQ(header.nlmsg_type, RTM_GETLINK);
  EXPECT_EQ(header.nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK);
  EXPECT_EQ(attribute_at(bytes, first).rta_len, 4 + 3) << "without its padding";
  EXPECT_EQ(attribute_at(bytes, first).rta_type, IFLA_IFNAME);
  EXPECT_EQ(attribute_at(bytes, first + 8).rta_len, 4 + 4);
  EXPECT_EQ(number_at(bytes, first + 12), 1500U);
}

TEST(NetlinkMessage, ANestedAttributeIsAsLongAsWhatIsInIt) {
  NetlinkMessage message(RTM_NEWLINK, NLM_F_ACK);
  message.body(ifinfomsg{});
  const size_t outer = message.begin(IFLA_LINKINFO);
  message.attribute(IFLA_INFO_KIND, "veth", 5);
  const size_t inner = message.begin(IFLA_INFO_DATA);
  message.body(uint32_t{7});
  message.end(inner);
  message.end(outer);
  const auto& bytes = message.bytes();
  EXPECT_EQ(attribute_at(bytes, outer).rta_len, 4 + 12 + 8);
  EXPECT_EQ(attribute_at(bytes, outer).rta_type, IFLA_LINKINFO);
  EXPECT_EQ(attribute_at(bytes, inner).rta_len, 8);
  EXPECT_EQ(bytes.size(), outer + 24);
}

TEST(NetlinkMessage, TheLoopbackIsAnsweredAndWhatIsNotThereIsAnErrno) {
  const auto ask = [](int index, const std::function<void(const nlmsghdr*)>& each) {
    NetlinkMessage message(RTM_GETLINK, NLM_F_ACK);
    ifinfomsg link{};
    link.ifi_index = index;
    message.body(link);
    return ask_netlink(message, "look for a link", each);
  };
  int answers = 0;
  EXPECT_TRUE(ask(1, [&](const nlmsghdr* answer) { answers += answer->nlmsg_type == RTM_NEWLINK ? 1 : 0; }));
  EXPECT_EQ(answers, 1);
  const auto missing = ask(2147483646, {});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().sys_errno, ENODEV);
  EXPECT_TRUE(missing.error().detail.starts_with("look for a link"));
}

}  // namespace
}  // namespace tapdeck::kernel
