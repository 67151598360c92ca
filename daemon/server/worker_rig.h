// Test support: a whole Worker in this process: a listener on loopback, flows that all go to one scripted origin, a
// store in a directory of its own and CAs in memory.
#pragma once

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <new>
#include <numeric>
#include <optional>

#include "daemon/base/eventually.h"
#include "daemon/base/test_directory.h"
#include "daemon/server/wire.h"
#include "daemon/server/worker.h"
#include "daemon/tls/cert_mint.h"
#include "daemon/tls/test_support.h"

namespace tapdeck::server {

inline constexpr TargetSlot kSlot = 1;
inline constexpr TargetSlot kLabel = 5;  // of that target in metrics
inline constexpr std::string_view kHost = "api.test";

class FakeFlows final : public FlowSource {
 public:
  std::mutex mutex;                     // held by a test: the worker hangs in its next lookup
  std::atomic<int> asked{0};            // lookups begun
  std::atomic<bool> is_broken{false};   // they throw
  std::optional<Endpoint> destination;  // none: nobody captured it
  Result<exchange::CapturedFlow> resolve(const ListenerTag& tag, const Endpoint& client, const Endpoint&) override {
    ++asked;
    if (is_broken) throw std::bad_alloc();
    const std::scoped_lock lock(mutex);
    if (!destination) return fail(Code::NotFound, "no such flow", Origin::Kernel);
    exchange::CapturedFlow flow;
    flow.client = client;
    flow.destination = *destination;
    flow.identity.target = kSlot;
    flow.path = tag.path;
    return flow;
  }
};

class PlainSockets final : public upstream::SocketSource {
 public:
  std::atomic<int> made{0};
  std::atomic<bool> is_broken{false};  // throws
  Result<UniqueFd> upstream_socket(uint64_t, int family) override {
    if (is_broken) throw std::bad_alloc();
    ++made;
    UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) return fail_errno(errno, "socket");
    return fd;
  }
};

// "HTTP/1.1 ..." answers by request (head and body together). "<RST>" or "<FIN>" at the end says how the origin ends.
using Answers = std::function<std::string(const std::string& request)>;

inline ScriptedOrigin::Script http_origin(Answers answers) {
  return [answers = std::move(answers)](Wire& wire) {
    while (true) {
      std::string request = wire.read_until("\r\n\r\n");
      if (!request.ends_with("\r\n\r\n")) return ScriptedOrigin::End::Close;
      const size_t length = request.find("Content-Length: ");
      if (length != std::string::npos) request += wire.read_n(std::stoul(request.substr(length + 16)));
      if (request.contains("Transfer-Encoding: chunked")) request += wire.read_until("0\r\n\r\n");
      std::string answer = answers(request);
      const std::string end = answer.size() >= 5 ? answer.substr(answer.size() - 5) : "";
      if (end == "<RST>" || end == "<FIN>") answer.resize(answer.size() - 5);
      if (!wire.write(answer) || end == "<FIN>") return ScriptedOrigin::End::Close;
      if (end == "<RST>") return ScriptedOrigin::End::Reset;
    }
  };
}

inline std::string with_length(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// A server context that shows `leaf`, signed by `issuer`, and picks http/1.1 where the client offers it.
inline SslContext origin_context(const tls::CertificateAuthority& issuer, const tls::LeafSpec& leaf) {
  tls::Leaf made = tls::testing::must(tls::mint(issuer, leaf));
  SslContext context(SSL_CTX_new(TLS_server_method()));
  SSL_CTX_use_certificate(context.get(), made.certificate.get());
  SSL_CTX_use_PrivateKey(context.get(), made.key.get());
  SSL_CTX_set_alpn_select_cb(
      context.get(),
      [](SSL*, const unsigned char** out, unsigned char* size, const unsigned char* in, unsigned in_size, void*) {
        static const unsigned char kWanted[] = "\x08http/1.1";
        auto* chosen = const_cast<unsigned char*>(*out);
        const int verdict = SSL_select_next_proto(&chosen, size, kWanted, sizeof kWanted - 1, in, in_size);
        *out = chosen;
        return verdict == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
      },
      nullptr);
  return context;
}

struct RigOptions {
  config::Config config{};
  Mode mode = Mode::Record;
  std::vector<std::string> bypass{};
  upstream::Resolver* resolver = nullptr;
  const upstream::OwnAddresses* own = nullptr;
  store::WriterOptions writer{};
};

class WorkerRig {
 public:
  using Options = RigOptions;
  explicit WorkerRig(Options options = {}) : config_(std::move(options.config)) {
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
    store::StoreOptions store_options;
    store_options.path = folder_.path() + "/store";
    store = tls::testing::must(store::ExchangeStore::open(store_options, store::Access::ReadWrite));
    writer_ = tls::testing::must(store::StoreWriter::start(*store, options.writer));
    redactor_.emplace(store::RedactOptions{config_.redact.headers, config_.redact.query}, store->redaction_secret());
    trust_ = tls::testing::must(tls::UpstreamTrust::create(
        tls::SystemRoots::Ignore, {folder_.write("origin-ca.pem", origin_ca->certificate_pem())}));
    set_mode(options.mode, std::move(options.bypass));
    SharedParts parts;
    parts.config = &config_;
    parts.flows = &flows;
    parts.sockets = &sockets;
    parts.trust = trust_.get();
    parts.server_tls = server_tls_.get();
    parts.leaves = &leaves_;
    parts.store = store.get();
    parts.writer = writer_.get();
    parts.redactor = &*redactor_;
    parts.runtime = &runtime_;
    parts.cursors = &cursors_;
    parts.misses = &misses;
    parts.judgements = &judgements;
    parts.metrics = &registry_;
    parts.connections = &connections;
    parts.resolver = options.resolver;
    parts.own = options.own;
    worker = std::make_unique<Worker>(0, parts);
    UniqueFd listener = listen_on_loopback();
    listening_ = local_endpoint(listener.get());
    worker->start();
    worker->add_listener(std::move(listener), {CapturePath::Cgroup, 1, 0, kSlot});
  }
  ~WorkerRig() {
    // Those inside others are no client's.
    EXPECT_TRUE(eventually([this] { return active() == 0 && connections == 0; }))
        << active() << " of " << connections << " connections were left behind";
    worker->stop();
  }

  // A mode change: a new tape, and in the modes that record a new take.
  void set_mode(Mode mode, std::vector<std::string> bypass = {}, modes::Strict strict = modes::Strict::No) {
    std::shared_ptr<const modes::Tape> tape;
    if (mode != Mode::Passthrough) {
      store::Take take;
      if (mode == Mode::Replay) {
        if (auto info = store->session("default")) take = {info->name, info->number, 0};
      } else {
        take = tls::testing::must(store->open_take("default", store::Append::No));
      }
      const auto secret = tls::testing::must(store->key_secret("default"));
      tape = std::make_shared<const modes::Tape>(
          modes::Tape{take, store::KeyHasher(secret), ++tapes_, store->key_filter(take.session_number)});
    }
    runtime_.update([&](modes::RuntimeSnapshot& snapshot) {
      modes::TargetState& state = snapshot.targets[kSlot];
      state.name = "test";
      state.label = kLabel;
      state.mode = mode;
      state.session = "default";
      state.tape = tape;
      state.strict = strict;
      state.bypass = config::BypassRules(bypass);
    });
  }
  // As after a start at which the session was gone.
  void lose_session() {
    runtime_.update([](modes::RuntimeSnapshot& snapshot) { snapshot.targets[kSlot].tape = nullptr; });
  }
  // As the daemon does; set_mode() is then another target in the same slot.
  void detach() {
    runtime_.update([](modes::RuntimeSnapshot& snapshot) { modes::vacate(snapshot.targets[kSlot]); });
    worker->let_go(kSlot);
  }
  // How many recordings would be there if the daemon died now.
  [[nodiscard]] uint64_t recordings_after_crash() const {
    const TestDirectory folder;
    const std::string copy = folder.path() + "/store";
    std::filesystem::copy(store->options().path, copy, std::filesystem::copy_options::recursive);
    store::StoreOptions options;
    options.path = copy;
    return tls::testing::must(store::ExchangeStore::open(options, store::Access::ReadWrite))->stored_recordings();
  }
  void go_to(const Endpoint& destination) {
    const std::scoped_lock lock(flows.mutex);
    flows.destination = destination;
  }

  [[nodiscard]] Wire connect() const { return Wire::connect(listening_); }
  [[nodiscard]] const Endpoint& listening() const { return listening_; }
  // A client's TLS. Without trust no certificate verifies.
  enum class Trust { OurCa, Nobody };
  [[nodiscard]] SslOwned client_ssl(Trust trust, std::string_view alpn = "\x08http/1.1",
                                    std::string_view name = kHost) {
    if (client_context_ == nullptr) client_context_.reset(SSL_CTX_new(TLS_client_method()));
    X509_STORE* roots = X509_STORE_new();
    if (trust == Trust::OurCa) {
      X509_STORE_load_locations(roots, folder_.write("ca.pem", ca->certificate_pem()).c_str(), nullptr);
    }
    SslOwned ssl(SSL_new(client_context_.get()));
    SSL_set0_verify_cert_store(ssl.get(), roots);
    SSL_set_verify(ssl.get(), SSL_VERIFY_PEER, nullptr);
    SSL_set1_host(ssl.get(), std::string(name).c_str());
    SSL_set_tlsext_host_name(ssl.get(), std::string(name).c_str());
    if (!alpn.empty()) {
      SSL_set_alpn_protos(ssl.get(), reinterpret_cast<const unsigned char*>(alpn.data()),
                          static_cast<unsigned>(alpn.size()));
    }
    SSL_set_connect_state(ssl.get());
    return ssl;
  }
  [[nodiscard]] Wire connect_tls() {
    Wire wire = connect();
    EXPECT_TRUE(wire.start_tls(client_ssl(Trust::OurCa)));
    return wire;
  }
  // One request on a connection of its own, half-closed behind it; all that comes back.
  std::string ask(const std::string& request, bool over_tls = false) {
    Wire wire = over_tls ? connect_tls() : connect();
    EXPECT_TRUE(wire.write(request));
    wire.half_close();
    return wire.rest();
  }

  [[nodiscard]] uint64_t count(Counter counter) { return registry_.snapshot().value(counter); }
  // Of the rig's target alone.
  [[nodiscard]] uint64_t count_of_target(Counter counter) {
    return registry_.snapshot().by_target[Metrics::target_index(kLabel, counter)];
  }
  // Those whose duration was observed.
  [[nodiscard]] uint64_t timed(Mode mode, Outcome outcome) {
    const MetricsSnapshot snapshot = registry_.snapshot();
    const auto& counts =
        snapshot.request_durations[static_cast<size_t>(mode) * kOutcomeCount + static_cast<size_t>(outcome)].counts;
    return std::accumulate(counts.begin(), counts.end(), uint64_t{0});
  }
  [[nodiscard]] double timed_seconds(Mode mode, Outcome outcome) {
    const size_t index = static_cast<size_t>(mode) * kOutcomeCount + static_cast<size_t>(outcome);
    return registry_.snapshot().request_durations[index].sum_seconds;
  }
  [[nodiscard]] uint64_t outcomes(Mode mode, Outcome outcome) {
    const MetricsSnapshot snapshot = registry_.snapshot();
    uint64_t sum = 0;
    for (size_t slot = 0; slot < kTargetSlots; ++slot) {
      for (size_t code = 0; code < kCodeClasses; ++code) {
        sum += snapshot.requests[Metrics::request_index(static_cast<TargetSlot>(slot), mode, outcome, code)];
      }
    }
    return sum;
  }
  struct Observed {
    uint64_t count = 0;
    double seconds = 0;
  };
  [[nodiscard]] Observed observed(Histogram histogram) {
    const HistogramSnapshot seen = registry_.snapshot().histograms[static_cast<size_t>(histogram)];
    return {std::accumulate(seen.counts.begin(), seen.counts.end(), uint64_t{0}), seen.sum_seconds};
  }
  // Client connections that came so far and whose protocol is known, or that ended before.
  [[nodiscard]] uint64_t counted_connections() {
    const MetricsSnapshot snapshot = registry_.snapshot();
    return std::accumulate(snapshot.connections.begin(), snapshot.connections.end(), uint64_t{0});
  }
  [[nodiscard]] double listeners() { return registry_.snapshot().value(Gauge::Listeners); }
  [[nodiscard]] double active() {
    const MetricsSnapshot snapshot = registry_.snapshot();
    return snapshot.value(Gauge::ActiveCgroup) + snapshot.value(Gauge::ActiveExplicit);
  }

 private:
  TestDirectory folder_;
  config::Config config_;
  MetricsRegistry registry_;
  modes::RuntimeState runtime_;
  modes::Cursors cursors_;
  std::unique_ptr<tls::CertificateAuthority> untrusted_ca_ =
      tls::testing::must(tls::CertificateAuthority::create_untrusted());
  std::unique_ptr<tls::ServerContext> server_tls_ = tls::testing::must(tls::ServerContext::create());

 public:
  Misses misses;
  Judgements judgements;
  std::unique_ptr<tls::CertificateAuthority> ca = tls::testing::must(tls::CertificateAuthority::create_in_memory({}));
  std::unique_ptr<tls::CertificateAuthority> origin_ca =
      tls::testing::must(tls::CertificateAuthority::create_in_memory({}));
  std::unique_ptr<store::ExchangeStore> store;
  FakeFlows flows;
  PlainSockets sockets;
  std::atomic<uint64_t> connections{0};

 private:
  tls::LeafCache leaves_{*ca, *untrusted_ca_};
  std::unique_ptr<tls::UpstreamTrust> trust_;
  std::unique_ptr<store::StoreWriter> writer_;
  std::optional<store::Redactor> redactor_;
  SslContext client_context_;
  uint64_t tapes_ = 0;
  Endpoint listening_;

 public:
  std::unique_ptr<Worker> worker;  // dies first
};

}  // namespace tapdeck::server
