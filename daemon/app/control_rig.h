// The fixture of AppControl's tests: a real store, run-time defaults that are written down, a backend that does
// nothing.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <optional>
#include <vector>

#include "daemon/app/control.h"
#include "daemon/app/json_view.h"
#include "daemon/base/test_directory.h"
#include "store/exchange_store.h"

namespace tapdeck::app {

inline Result<std::unique_ptr<store::ExchangeStore>> open_store(const std::filesystem::path& path) {
  store::StoreOptions options;
  options.path = path.string();
  return store::ExchangeStore::open(options, store::Access::ReadWrite);
}

class FakeRuntime final : public Runtime {
 public:
  Defaults defaults() override { return now; }
  Result<void> set_defaults(const Defaults& defaults) override {
    if (refuse) return fail(Code::NoSpace, "no take can be opened");
    now = defaults;
    return {};
  }
  void rewind(std::optional<uint32_t> target) override { rewound.push_back(target); }
  admin::Readiness readiness() override { return {.ready = true, .reason = ""}; }
  std::optional<TargetStatus> proxy_target() override { return proxy; }
  Result<void> update_proxy_target(const std::function<void(TargetSettings&)>& change) override {
    change(proxy->settings);
    return {};
  }

  Defaults now;
  std::optional<TargetStatus> proxy;
  bool refuse = false;
  std::vector<std::optional<uint32_t>> rewound;
};

class IdleBackend final : public TargetBackend {
 public:
  Result<void> attach(uint32_t, const TargetSettings&, const ResolvedTarget&, Why) override { return {}; }
  Result<void> update(uint32_t, const TargetSettings&) override { return {}; }
  Result<void> detach(uint32_t) override { return {}; }
  std::map<std::string, uint64_t> uncaptured(uint32_t) override { return {}; }
};

// Of a daemon without targets, whose state is in `directory`.
inline std::unique_ptr<AppControl> control_of(store::ExchangeStore& store, FakeRuntime& runtime,
                                              MetricsRegistry& metrics, const std::filesystem::path& directory) {
  return std::make_unique<AppControl>(AppControl::Parts{.store = &store,
                                                        .targets = nullptr,
                                                        .runtime = &runtime,
                                                        .metrics = &metrics,
                                                        .state_dir = directory,
                                                        .targets_file = directory / "targets.json"});
}

class ControlTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto store = open_store(directory_ / "store");
    ASSERT_TRUE(store) << store.error().message();
    store_ = std::move(*store);
    control_ = control_of(*store_, runtime_, metrics_, directory_.path());
  }
  static Json parsed(const Result<admin::Json>& result) {
    EXPECT_TRUE(result) << result.error().message();
    return Json::parse(result.value_or("null"));
  }
  TestDirectory directory_;
  std::unique_ptr<store::ExchangeStore> store_;
  FakeRuntime runtime_;
  MetricsRegistry metrics_;
  std::unique_ptr<AppControl> control_;
};

}  // namespace tapdeck::app
