// llama.cpp's side of tests/bench/llama_cpp.py. No part of the build: compile it where libllama is
// installed (Debian: libllama-dev, libggml-dev), with
//   g++ -O2 -o llama_peer llama_peer.cpp -lllama -lggml -lggml-base
// `llama_peer MODEL.gguf THREADS ROWS CONTEXT f16|f32` (the type of the key-value cache) reads
// commands from standard input and answers each with a line of JSON:
//   decode ANSWER IDS;IDS;...   greedy continuations of prompts of token ids with commas between
//   logits IDS                  of the token behind one prompt
#include <ggml-backend.h>
#include <llama.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

namespace {

using Ids = std::vector<llama_token>;

std::vector<Ids> parse(const std::string& text) {
  std::vector<Ids> rows;
  std::istringstream list(text);
  for (std::string part; std::getline(list, part, ';');) {
    Ids& row = rows.emplace_back();
    std::istringstream ids(part);
    for (std::string id; std::getline(ids, id, ',');) row.push_back(std::stoi(id));
  }
  return rows;
}

class Peer {
 public:
  Peer(const char* file, int threads, int rows, int context, bool half) {
    llama_model_params of_model = llama_model_default_params();
    model_ = llama_model_load_from_file(file, of_model);
    if (model_ == nullptr) fail("no model");
    llama_context_params p = llama_context_default_params();
    p.n_ctx = static_cast<uint32_t>(rows * context);
    p.n_batch = p.n_ubatch = static_cast<uint32_t>(std::max(512, rows));
    p.n_seq_max = static_cast<uint32_t>(rows);
    p.n_threads = p.n_threads_batch = threads;
    p.type_k = p.type_v = half ? GGML_TYPE_F16 : GGML_TYPE_F32;
    // Its flash attention rounds to half precision on the way.
    if (!half) p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    p.no_perf = true;
    context_ = llama_init_from_model(model_, p);
    if (context_ == nullptr) fail("no context");
    vocabulary_ = llama_vocab_n_tokens(llama_model_get_vocab(model_));
    batch_ = llama_batch_init(static_cast<int32_t>(rows * context), 0, 1);
  }

  std::string decode(int answer, const std::vector<Ids>& prompts) {
    llama_memory_clear(llama_get_memory(context_), true);
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t processor = std::clock();
    std::vector<int> at = prefill(prompts);
    std::vector<Ids> written(prompts.size());
    for (int t = 0;; ++t) {
      for (std::size_t i = 0; i < prompts.size(); ++i) written[i].push_back(best(at[i]));
      if (t + 1 == answer) break;
      batch_.n_tokens = 0;
      for (std::size_t i = 0; i < prompts.size(); ++i) {
        at[i] = batch_.n_tokens;
        add(written[i].back(), static_cast<int>(prompts[i].size()) + t, i, true);
      }
      run();
    }
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
    std::ostringstream out;
    out << "{\"processor\": " << static_cast<double>(std::clock() - processor) / CLOCKS_PER_SEC
        << ", \"wall\": " << wall.count() << ", \"tokens\": " << prompts.size() * answer
        << ", \"ids\": [";
    for (std::size_t i = 0; i < written.size(); ++i) {
      out << (i > 0 ? ", [" : "[");
      for (std::size_t t = 0; t < written[i].size(); ++t)
        out << (t > 0 ? ", " : "") << written[i][t];
      out << "]";
    }
    out << "]}";
    return out.str();
  }

  std::string logits(const std::vector<Ids>& prompts) {
    llama_memory_clear(llama_get_memory(context_), true);
    const float* row = llama_get_logits_ith(context_, prefill(prompts)[0]);
    std::ostringstream out;
    out.precision(9);
    out << "{\"logits\": [";
    for (int v = 0; v < vocabulary_; ++v) out << (v > 0 ? ", " : "") << row[v];
    out << "]}";
    return out.str();
  }

 private:
  [[noreturn]] static void fail(const char* text) {
    std::fprintf(stderr, "llama_peer: %s\n", text);
    std::exit(1);
  }
  void add(llama_token token, int position, std::size_t sequence, bool wanted) {
    const int i = batch_.n_tokens++;
    batch_.token[i] = token;
    batch_.pos[i] = position;
    batch_.n_seq_id[i] = 1;
    batch_.seq_id[i][0] = static_cast<llama_seq_id>(sequence);
    batch_.logits[i] = wanted;
  }
  /// Where each prompt's last logits lie.
  std::vector<int> prefill(const std::vector<Ids>& prompts) {
    std::vector<int> at;
    batch_.n_tokens = 0;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      for (std::size_t t = 0; t < prompts[i].size(); ++t) {
        add(prompts[i][t], static_cast<int>(t), i, t + 1 == prompts[i].size());
      }
      at.push_back(batch_.n_tokens - 1);
    }
    run();
    return at;
  }
  void run() {
    if (llama_decode(context_, batch_) != 0) fail("llama_decode failed");
  }
  llama_token best(int at) const {
    const float* row = llama_get_logits_ith(context_, at);
    return static_cast<llama_token>(std::max_element(row, row + vocabulary_) - row);
  }

  llama_model* model_ = nullptr;
  llama_context* context_ = nullptr;
  llama_batch batch_{};
  int vocabulary_ = 0;
};

}  // namespace

int main(int count, char** given) {
  if (count != 6) {
    std::fprintf(stderr, "usage: llama_peer MODEL.gguf THREADS ROWS CONTEXT f16|f32\n");
    return 2;
  }
  llama_log_set(
      [](ggml_log_level level, const char* text, void*) {
        if (level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
      },
      nullptr);
  ggml_backend_load_all();
  Peer peer(given[1], std::atoi(given[2]), std::atoi(given[3]), std::atoi(given[4]),
            std::string(given[5]) == "f16");
  std::printf("{\"ready\": true}\n");
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command, rows;
    int answer = 0;
    words >> command;
    if (command == "decode") words >> answer;
    words >> rows;
    const std::string out =
        command == "decode" ? peer.decode(answer, parse(rows)) : peer.logits(parse(rows));
    std::printf("%s\n", out.c_str());
    std::fflush(stdout);
  }
}
