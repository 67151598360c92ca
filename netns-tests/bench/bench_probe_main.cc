#include <signal.h>

#include <cstdlib>
#include <iostream>
#include <span>
#include <string>

#include "netns-tests/bench/bench_probe.h"

int main(int argc, char** argv) {
  using namespace tapdeck::bench;
  ::signal(SIGPIPE, SIG_IGN);  // NOLINT(cert-err33-c): cannot fail for a known signal
  const std::span arguments(argv, static_cast<size_t>(argc));
  const auto text = [&](size_t index) {
    return index < arguments.size() ? std::string(arguments[index]) : std::string();
  };
  const auto number = [&](size_t index) { return std::atoi(text(index).c_str()); };
  const Address address{text(2), static_cast<uint16_t>(number(3))};
  const auto what = text(1);
  if (what == "origin" && argc == 4) return run_origin(address.ip, address.port);
  if (what == "pingpong" && argc == 5) return ping_pong(address, number(4));
  if (what == "bulk" && argc == 5) return bulk(address, std::strtoull(argv[4], nullptr, 10));
  if (what == "firstbyte" && argc == 5) return first_byte(address, number(4));
  if (what == "handshakes" && argc == 9)
    return handshakes(address, text(4), number(5), number(6), number(7), number(8));
  if (what == "idle" && argc == 6) return idle(address, text(4), number(5));
  if (what == "websocket" && argc == 9)
    return websocket(address, number(4), number(5), static_cast<size_t>(number(6)), number(7), number(8));
  if (what == "events" && argc == 6) return events(address, number(4), number(5));
  std::cerr << "usage: bench_probe origin IP BASE_PORT | pingpong IP PORT COUNT | bulk IP PORT BYTES |\n"
               "       firstbyte IP PORT COUNT | handshakes IP PORT NAME COUNT PARALLEL FIRST STATUS |\n"
               "       idle IP PORT NAME COUNT | websocket IP PORT PEERS COUNT SIZE DEPTH SEED |\n"
               "       events IP PORT COUNT PAUSE_US\n";
  return 2;
}
