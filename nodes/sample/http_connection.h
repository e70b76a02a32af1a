// One connection to an HTTP server, whose requests end in time whatever the server does.
#pragma once
#include <chrono>
#include <cstddef>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace rewardloom {

/// The parts of http://host:port/path or https://...
struct Url {
  bool tls = false;
  std::string host;  ///< an IPv6 address without its brackets
  int port = 80;
  std::string path;  ///< "" or "/v1": no slash at the end

  std::string origin() const;  ///< scheme, host and port
};
/// Failure `remote-url` for another scheme, a missing host, a port out of range, or a name and
/// password inside (they would be saved with the graph).
Url parse_url(std::string_view text);

struct HttpSettings {
  std::string bearer;   ///< sent as `Authorization: Bearer`; empty: no such header
  std::string ca_file;  ///< certificates to trust instead of the system's; empty: the system's
  std::size_t body_limit = std::size_t{64} << 20;  ///< bytes of a reply, unpacked
};

/// Why there is no reply.
enum class HttpFault { none, connection, certificate, timeout, broken, too_large };

struct HttpReply {
  HttpFault fault = HttpFault::none;
  std::string error;  ///< the fault in words
  int status = 0;
  std::string body;
  std::optional<double> retry_after;  ///< seconds that the server asks to wait
};

/// Seconds of a Retry-After header: a number, or a date, against `now`. Nothing if it is neither.
std::optional<double> retry_after_seconds(const std::string& header, std::time_t now);

/// Keeps its connection open between requests. One thread posts at a time; `abort` and `abort_late`
/// may be called from any other. A thread that posts must have SIGPIPE blocked or ignored.
class HttpConnection {
 public:
  using Clock = std::chrono::steady_clock;

  /// Connects at the first request. Failure `api-key` for a key that is no header text.
  HttpConnection(const Url& url, const HttpSettings& settings);
  ~HttpConnection();

  /// Posts JSON. Faults of the network come back in the reply; none lasts much beyond `until`
  /// as long as somebody calls abort_late.
  HttpReply post(const std::string& path, const std::string& body, Clock::time_point until);
  /// Ends the request in progress, if there is one.
  void abort();
  /// The same if its time is over.
  void abort_late(Clock::time_point now);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rewardloom
