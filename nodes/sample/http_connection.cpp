#include "nodes/sample/http_connection.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <mutex>

#include "engine/core/problem.h"

// As Debian builds the library: layouts of its classes depend on it.
#ifndef CPPHTTPLIB_OPENSSL_SUPPORT
#define CPPHTTPLIB_OPENSSL_SUPPORT
#endif
#include <httplib.h>

namespace rewardloom {

namespace {

[[noreturn]] void refuse_url(std::string_view text, const char* why) {
  throw Failure("remote-url", fmt::format("\"{}\" {}", text, why),
                "give the server's address as http://host:port/v1 or https://host/v1");
}

int port_of(std::string_view digits, std::string_view whole) {
  int port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size() || port < 1 || port > 65535) {
    refuse_url(whole, "has no port between 1 and 65535");
  }
  return port;
}

void check_key(const std::string& key) {
  const bool plain =
      std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c < 0x7F; });
  if (plain) return;
  throw Failure("api-key", "the key holds characters that cannot stand in a header",
                "look for white space or quotation marks in the environment variable");
}

/// Closes a duplicated socket when its connection goes.
class Descriptor {
 public:
  Descriptor() = default;
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  void duplicate(int socket) {
    close();
    number_ = ::fcntl(socket, F_DUPFD_CLOEXEC, 0);
  }
  void shut_down() const {
    if (number_ >= 0) ::shutdown(number_, SHUT_RDWR);
  }

 private:
  void close() {
    if (number_ >= 0) ::close(number_);
    number_ = -1;
  }
  int number_ = -1;
};

std::string words(httplib::Error error) {
  switch (error) {
    case httplib::Error::Connection:
    case httplib::Error::ConnectionTimeout: return "no connection";
    case httplib::Error::Read: return "the reply is cut off or no HTTP";
    case httplib::Error::Write: return "the connection broke while sending";
    case httplib::Error::SSLConnection: return "the TLS handshake failed";
    case httplib::Error::SSLLoadingCerts: return "the trusted certificates cannot be read";
    case httplib::Error::SSLServerVerification: return "the server's certificate is not trusted";
    default: return "the request failed: " + httplib::to_string(error);
  }
}

HttpFault fault_of(httplib::Error error) {
  switch (error) {
    case httplib::Error::SSLLoadingCerts:
    case httplib::Error::SSLServerVerification: return HttpFault::certificate;
    case httplib::Error::Connection:
    case httplib::Error::ConnectionTimeout:
    case httplib::Error::SSLConnection: return HttpFault::connection;
    default: return HttpFault::broken;
  }
}

}  // namespace

std::string Url::origin() const {
  const bool brackets = host.find(':') != std::string::npos;
  return fmt::format("{}://{}{}{}:{}", tls ? "https" : "http", brackets ? "[" : "", host,
                     brackets ? "]" : "", port);
}

Url parse_url(std::string_view text) {
  Url url;
  std::string_view rest = text;
  if (rest.starts_with("https://")) {
    url.tls = true;
    url.port = 443;
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else {
    refuse_url(text, "begins with neither http:// nor https://");
  }
  // The address is not repeated: what stands before the @ is secret.
  if (rest.find('@') != std::string_view::npos) {
    refuse_url(rest.substr(rest.rfind('@') + 1), "comes with a name or password");
  }
  if (rest.find_first_of(" \t\r\n?#") != std::string_view::npos) {
    refuse_url(text, "holds white space, a query or a fragment");
  }
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  std::string_view authority = rest.substr(0, slash);
  url.path = rest.substr(slash);
  while (url.path.ends_with('/')) url.path.pop_back();
  const std::size_t bracket = authority.starts_with('[') ? authority.find(']') : 0;
  if (bracket == std::string_view::npos) refuse_url(text, "has a bracket that does not close");
  const std::size_t colon = authority.find(':', bracket);
  if (colon != std::string_view::npos) url.port = port_of(authority.substr(colon + 1), text);
  url.host = bracket > 0 ? authority.substr(1, bracket - 1) : authority.substr(0, colon);
  if (url.host.empty()) refuse_url(text, "names no host");
  return url;
}

std::optional<double> retry_after_seconds(const std::string& header, std::time_t now) {
  double seconds = 0;
  const char* const last = header.data() + header.size();
  const auto [end, error] = std::from_chars(header.data(), last, seconds);
  if (error == std::errc() && end == last) {
    return seconds >= 0 ? std::optional(seconds) : std::nullopt;
  }
  std::tm date{};
  if (::strptime(header.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date) == nullptr) {
    return std::nullopt;
  }
  return std::max(0.0, std::difftime(::timegm(&date), now));
}

class HttpConnection::Impl {
 public:
  Impl(const Url& url, const HttpSettings& settings) : settings_(settings), client_(url.origin()) {
    check_key(settings.bearer);
    client_.set_keep_alive(true);
    client_.set_follow_location(false);
    client_.set_tcp_nodelay(true);
    client_.set_socket_options([this](int socket) { adopt(socket); });
    if (!settings.ca_file.empty()) client_.set_ca_cert_path(settings.ca_file);
  }

  HttpReply post(const std::string& path, const std::string& body, Clock::time_point until) {
    {
      const std::lock_guard lock(mutex_);
      until_ = until;
      aborted_ = false;
    }
    const auto left = std::max(until - Clock::now(), Clock::duration(std::chrono::milliseconds(1)));
    // A little longer, so that what ends a request in time is always abort_late.
    const auto timeout = std::chrono::duration_cast<std::chrono::microseconds>(
        left + std::chrono::milliseconds(200));
    client_.set_connection_timeout(timeout);
    client_.set_read_timeout(timeout);
    client_.set_write_timeout(timeout);
    HttpReply reply = exchange(path, body);
    const std::lock_guard lock(mutex_);
    const bool broken = reply.fault == HttpFault::broken || reply.fault == HttpFault::connection;
    // Without a length, a reply that was shut down looks complete.
    if (aborted_ || (broken && Clock::now() >= until)) reply.fault = HttpFault::timeout;
    until_.reset();
    return reply;
  }

  void abort() {
    const std::lock_guard lock(mutex_);
    stop();
  }
  void abort_late(Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    if (until_ && now >= *until_) stop();
  }

 private:
  /// A duplicate of the socket is ours: it cannot become another file behind our back.
  void adopt(int socket) {
    const std::lock_guard lock(mutex_);
    socket_.duplicate(socket);
    if (aborted_) socket_.shut_down();
  }
  void stop() {
    if (!until_) return;
    aborted_ = true;
    socket_.shut_down();
  }

  HttpReply exchange(const std::string& path, const std::string& body) {
    HttpReply reply;
    httplib::Request request;
    request.method = "POST";
    request.path = path;
    request.body = body;
    request.set_header("Content-Type", "application/json");
    request.set_header("Accept", "application/json");
    if (!settings_.bearer.empty()) {
      request.set_header("Authorization", "Bearer " + settings_.bearer);
    }
    bool too_large = false;
    request.content_receiver = [&](const char* data, std::size_t size, std::uint64_t,
                                   std::uint64_t) {
      too_large = reply.body.size() + size > settings_.body_limit;
      if (!too_large) reply.body.append(data, size);
      return !too_large;
    };
    httplib::Response response;
    httplib::Error error = httplib::Error::Success;
    if (!client_.send(request, response, error)) {
      reply.fault = too_large ? HttpFault::too_large : fault_of(error);
      reply.error = too_large
                        ? fmt::format("the reply is longer than {} bytes", settings_.body_limit)
                        : words(error);
      return reply;
    }
    reply.status = response.status;
    reply.retry_after = wait_asked_for(response);
    return reply;
  }

  static std::optional<double> wait_asked_for(const httplib::Response& response) {
    if (const std::string ms = response.get_header_value("retry-after-ms"); !ms.empty()) {
      if (const auto value = retry_after_seconds(ms, 0)) return *value / 1000;
    }
    const std::string header = response.get_header_value("Retry-After");
    return header.empty() ? std::nullopt : retry_after_seconds(header, std::time(nullptr));
  }

  const HttpSettings settings_;
  std::mutex mutex_;
  Descriptor socket_;
  std::optional<Clock::time_point> until_;  ///< of the request in progress
  bool aborted_ = false;
  httplib::Client client_;
};

HttpConnection::HttpConnection(const Url& url, const HttpSettings& settings)
    : impl_(std::make_unique<Impl>(url, settings)) {}
HttpConnection::~HttpConnection() = default;
HttpReply HttpConnection::post(const std::string& path, const std::string& body,
                               Clock::time_point until) {
  return impl_->post(path, body, until);
}
void HttpConnection::abort() { impl_->abort(); }
void HttpConnection::abort_late(Clock::time_point now) { impl_->abort_late(now); }

}  // namespace rewardloom
