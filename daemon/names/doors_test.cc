#include "daemon/names/doors.h"

#include <fcntl.h>
#include <gmock/gmock.h>

#include "daemon/names/names_rig.h"

namespace tapdeck::names {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}

TEST(Doors, ChangeBetweenTurnsAlone) {
  Doors doors;
  LoopbackUdp one("127.0.0.1");
  const int fd = one.fd();
  doors.open(7, one.take());
  EXPECT_EQ(doors.fd_of(7), -1);
  EXPECT_THAT(doors.take_changes(), IsEmpty());
  EXPECT_EQ(doors.fd_of(7), fd);
  std::vector<pollfd> polled;
  doors.add_to(polled);
  ASSERT_EQ(polled.size(), 1u);
  EXPECT_EQ(polled[0].fd, fd);
  doors.close(7);
  EXPECT_TRUE(is_open(fd));
  EXPECT_THAT(doors.take_changes(), ElementsAre(7u));
  EXPECT_FALSE(is_open(fd));
  EXPECT_EQ(doors.fd_of(7), -1);
}

TEST(Doors, ADoorReplacesThatOfItsId) {
  Doors doors;
  LoopbackUdp one("127.0.0.1"), other("127.0.0.1");
  const int before = one.fd(), after = other.fd();
  doors.open(7, one.take());
  EXPECT_THAT(doors.take_changes(), IsEmpty());
  doors.open(7, other.take());
  EXPECT_THAT(doors.take_changes(), ElementsAre(7u));
  EXPECT_EQ(doors.fd_of(7), after);
  EXPECT_FALSE(is_open(before));
}

TEST(Doors, OneThatIsClosedBeforeItsTurnWasNeverThere) {
  Doors doors;
  LoopbackUdp one("127.0.0.1");
  const int fd = one.fd();
  doors.open(7, one.take());
  doors.close(7);
  doors.close(8);
  EXPECT_THAT(doors.take_changes(), ElementsAre(7u));
  EXPECT_THAT(doors.all(), IsEmpty());
  EXPECT_FALSE(is_open(fd));
}

}  // namespace
}  // namespace tapdeck::names
