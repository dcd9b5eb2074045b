// One token of a language model for B rows: every layer and the logits in one call.
//
// The weights are reordered into panels once and then only read, so that a decoder may be used by
// several threads.  Many rows are divided over the threads, each of which takes its own through all
// layers; for few rows the threads share the panels of every product and meet after it.
// Everything is float32.
//
// The equations are those of kseq.nn.recurrent, as in recurrence.cpp.

#include <vector>

#include "products.h"
#if defined(_OPENMP)
#include <omp.h>
#endif

using namespace kseq;

namespace {

typedef float S;
typedef Vec<S> V;
constexpr int W = Simd<S>::W;

enum Kind : int64_t { SIMPLE_RNN, GRU, GRU_RESET_BEFORE, LSTM };
constexpr int GATE_COUNTS[] = {1, 3, 3, 4};

// A step with fewer multiplications, some 70 us, is not worth a second thread: it would save a
// third where the cores are free, and wait for milliseconds at every meeting where they are not.
constexpr int64_t LEAST_WORK = 1 << 20;

struct LayerWeights {
  int64_t kind, D, H;
  const S *kernel, *recurrent, *bias;  // (D, G H) or null, (H, G H); (G H), of the GRU (4 H)
};

struct EndWeights {
  int64_t V, D;
  const S* table;    // (V, G H): the first layer's product with every token, or null
  const S* vectors;  // (V, D): what the first layer's kernel is multiplied with, without a table
  const S* read_out;
  int64_t by_unit, by_token;  // strides of read_out
  const S* bias;              // (V)
};

// The threads that work on the same rows.
struct Team {
  int64_t rank, size;

  void meet() const {
    if (size == 1) return;
#pragma omp barrier
  }
};

// From so many rows a thread on, tiles are high enough to read all weights in each thread.
constexpr int64_t ROWS_EACH = 4;

// As Panels::multiply, of which this thread takes its share.
template <int GATES, int BLOCKS, class Use>
void multiply(const Panels<S>& panels, const S* a, int64_t rows, Team team, Use use) {
  const int64_t blocks = panels.units() / W, count = (blocks + BLOCKS - 1) / BLOCKS;
  const int64_t last = count * (team.rank + 1) / team.size;
  for (int64_t p = count * team.rank / team.size; p < last; p++) {
    const auto take = [&](auto wide) {
      constexpr int N = decltype(wide)::value;
      const S* panel = panels.data + p * BLOCKS * W * GATES * panels.depth;
      multiply_panel<GATES * N>(
          a, panels.depth, rows, panel, panels.depth,
          [&](int64_t row, const V* sums) {
            for (int n = 0; n < N; n++) {
              const int64_t unit = (p * BLOCKS + n) * W;
              use(row, unit, int(std::min<int64_t>(W, panels.H - unit)), sums + n * GATES);
            }
          });
    };
    const int64_t wide = blocks - p * BLOCKS;
    if (wide >= BLOCKS)
      take(std::integral_constant<int, BLOCKS>());
    else if (BLOCKS > 3 && wide == 3)
      take(std::integral_constant<int, std::min(3, BLOCKS)>());
    else if (BLOCKS > 2 && wide == 2)
      take(std::integral_constant<int, std::min(2, BLOCKS)>());
    else
      take(std::integral_constant<int, 1>());
  }
}

// What one layer is given: where a row's projected input is, its states, and where they go.
struct Given {
  int64_t B;
  const S* x;           // (B, G H) or, by ids, (V, G H)
  const int32_t* ids;   // null where x has a row for each of the batch
  const S *h, *c;       // (B, H)
  S *h_after, *c_after, *resets;
};

struct Layer {
  int64_t kind, D, H, gates;
  std::vector<S> bias;
  std::unique_ptr<Panels<S>> kernel, recurrent, candidate;

  Layer(const LayerWeights& w, int threads)
      : kind(w.kind), D(w.D), H(w.H), gates(GATE_COUNTS[w.kind]),
        bias(w.bias, w.bias + (w.kind == GRU ? 4 : gates) * w.H) {
    if (w.kernel) kernel = pack(w.kernel, D, 0, int(gates), gates == 1 ? WIDEST : 1, threads);
    if (kind == GRU_RESET_BEFORE) {
      recurrent = pack(w.recurrent, H, 0, 2, 2, threads);
      candidate = pack(w.recurrent, H, 2, 1, WIDEST, threads);
    } else {
      recurrent = pack(w.recurrent, H, 0, int(gates), gates == 1 ? WIDEST : 1, threads);
    }
  }

  std::unique_ptr<Panels<S>> pack(const S* from, int64_t K, int first, int used, int blocks,
                                  int threads) const {
    auto panels = std::make_unique<Panels<S>>(K, H, used, blocks);
    panels->fill(from + first * H, K, gates * H, H, 1, threads);
    return panels;
  }

  int64_t work() const { return ((kernel ? D : 0) + H) * gates * H; }

  // x (B, G H) = input (B, D) times the kernel
  void project(const S* input, int64_t B, S* x, Team team) const {
    const auto keep = [&](int64_t row, int64_t u, int count, const V* p) {
      for (int g = 0; g < gates; g++) store(x + (row * gates + g) * H + u, p[g], count);
    };
    if (gates == 1) multiply<1, WIDEST>(*kernel, input, B, team, keep);
    if (gates == 3) multiply<3, 1>(*kernel, input, B, team, keep);
    if (gates == 4) multiply<4, 1>(*kernel, input, B, team, keep);
    team.meet();
  }

  void advance(const Given& n, Team team) const {
    if (kind == SIMPLE_RNN) simple_rnn(n, team);
    if (kind == GRU) gru(n, team);
    if (kind == GRU_RESET_BEFORE) gru_reset_before(n, team);
    if (kind == LSTM) lstm(n, team);
    team.meet();
  }

  // Gate g of the projected input with its bias.
  V input(const Given& n, int64_t row, int g, int64_t u, int count) const {
    const int64_t at = n.ids ? n.ids[row] : row;
    return load(n.x + (at * gates + g) * H + u, count) + load(&bias[g * H + u], count);
  }

  void simple_rnn(const Given& n, Team team) const {
    multiply<1, WIDEST>(*recurrent, n.h, n.B, team,
                        [&](int64_t row, int64_t u, int count, const V* p) {
                          const V x = input(n, row, 0, u, count);
                          store(n.h_after + row * H + u, tanh(x + p[0]), count);
                        });
  }

  void lstm(const Given& n, Team team) const {
    multiply<4, 1>(*recurrent, n.h, n.B, team,
                   [&](int64_t row, int64_t u, int count, const V* p) {
                     const auto sum = [&](int g) { return input(n, row, g, u, count) + p[g]; };
                     const int64_t state = row * H + u;
                     const V c = sigmoid(sum(1)) * load(n.c + state, count) +
                                 sigmoid(sum(0)) * tanh(sum(2));
                     store(n.c_after + state, c, count);
                     store(n.h_after + state, sigmoid(sum(3)) * tanh(c), count);
                   });
  }

  // The reset gate after the product, which has a bias of its own.
  void gru(const Given& n, Team team) const {
    multiply<3, 1>(*recurrent, n.h, n.B, team,
                   [&](int64_t row, int64_t u, int count, const V* p) {
                     const auto x = [&](int g) { return input(n, row, g, u, count); };
                     const int64_t state = row * H + u;
                     const V z = sigmoid(x(0) + p[0]), r = sigmoid(x(1) + p[1]);
                     const V candidate = tanh(x(2) + r * (p[2] + load(&bias[3 * H + u], count)));
                     const V old = load(n.h + state, count);
                     store(n.h_after + state, candidate + z * (old - candidate), count);
                   });
  }

  // The reset gate before the product.  h_after holds z in between, resets (B, H) r h.
  void gru_reset_before(const Given& n, Team team) const {
    multiply<2, 2>(*recurrent, n.h, n.B, team,
                   [&](int64_t row, int64_t u, int count, const V* p) {
                     const int64_t state = row * H + u;
                     const V r = sigmoid(input(n, row, 1, u, count) + p[1]);
                     const V z = sigmoid(input(n, row, 0, u, count) + p[0]);
                     store(n.h_after + state, z, count);
                     store(n.resets + state, r * load(n.h + state, count), count);
                   });
    team.meet();
    multiply<1, WIDEST>(*candidate, n.resets, n.B, team,
                        [&](int64_t row, int64_t u, int count, const V* p) {
                          const int64_t state = row * H + u;
                          const V candidate = tanh(input(n, row, 2, u, count) + p[0]);
                          const V z = load(n.h_after + state, count);
                          const V old = load(n.h + state, count);
                          store(n.h_after + state, candidate + z * (old - candidate), count);
                        });
  }
};

struct Decoder {
  EndWeights ends;  // whose table and vectors stay the caller's
  std::vector<Layer> layers;
  std::vector<S> bias;
  Panels<S> read_out;

  Decoder(const EndWeights& ends, const LayerWeights* weights, int64_t count, int threads)
      : ends(ends), bias(ends.bias, ends.bias + ends.V),
        read_out(weights[count - 1].H, ends.V, 1, WIDEST) {
    for (int64_t i = 0; i < count; i++) layers.emplace_back(weights[i], threads);
    read_out.fill(ends.read_out, weights[count - 1].H, ends.by_unit, 0, ends.by_token, threads);
  }

  int64_t work() const {
    int64_t sum = layers.back().H * ends.V;
    for (const Layer& layer : layers) sum += layer.work();
    return sum;
  }

  // What a step needs for a row: projected inputs, r h, a token's vector.
  int64_t widest() const {
    int64_t most = 0;
    for (const Layer& layer : layers) most = std::max(most, (layer.gates + 1) * layer.H);
    return most + ends.D;
  }

  // Takes rows [begin, begin + B).
  void step(int64_t begin, int64_t B, const int32_t* ids, const S* const* before, S* const* after,
            S* logits, S* scratch, Team team) const {
    ids += begin;
    logits += begin * ends.V;
    S* vectors = scratch + begin * widest();
    S* x = vectors + B * ends.D;
    const S* below = vectors;
    if (!ends.table) gather(B, ids, vectors, team);
    for (const Layer& layer : layers) {
      const bool looked_up = !layer.kernel;
      if (!looked_up) layer.project(below, B, x, team);
      const bool has_cell = layer.kind == LSTM;
      const int64_t at = begin * layer.H;
      layer.advance({B, looked_up ? ends.table : x, looked_up ? ids : nullptr, before[0] + at,
                     has_cell ? before[1] + at : nullptr, after[0] + at,
                     has_cell ? after[1] + at : nullptr, x + B * layer.gates * layer.H},
                    team);
      below = after[0] + at;
      before += 1 + has_cell;
      after += 1 + has_cell;
    }
    multiply<1, WIDEST>(read_out, below, B, team,
                        [&](int64_t row, int64_t u, int count, const V* p) {
                          store(logits + row * ends.V + u, p[0] + load(&bias[u], count), count);
                        });
  }

  void gather(int64_t B, const int32_t* ids, S* to, Team team) const {
    if (team.rank == 0)
      for (int64_t b = 0; b < B; b++)
        std::memcpy(to + b * ends.D, ends.vectors + ids[b] * ends.D, ends.D * sizeof(S));
    team.meet();
  }
};

}  // namespace

extern "C" {

void* decoder_new(const EndWeights* ends, const LayerWeights* layers, int64_t count,
                  int64_t threads) {
  return new Decoder(*ends, layers, count, int(threads));
}

void decoder_free(void* decoder) { delete static_cast<Decoder*>(decoder); }

// ids (B); before and after: h, and of an LSTM c, of each layer (B, H); logits (B, V).  Returns 0,
// or 1 for an id that is no token: nothing is written then.
int decoder_step(const void* decoder, int64_t B, int64_t threads, const int32_t* ids,
                 const S* const* before, S* const* after, S* logits) {
  const Decoder& d = *static_cast<const Decoder*>(decoder);
  for (int64_t b = 0; b < B; b++)
    if (ids[b] < 0 || ids[b] >= d.ends.V) return 1;
  const std::unique_ptr<S[]> scratch(new S[B * d.widest()]);
  if (B * d.work() < LEAST_WORK) threads = 1;
  const bool by_rows = B >= ROWS_EACH * threads;
#pragma omp parallel num_threads(int(threads)) if (threads > 1)
  {
    Team team = {0, 1};
#if defined(_OPENMP)
    team = {omp_get_thread_num(), omp_get_num_threads()};
#endif
    const int64_t begin = by_rows ? B * team.rank / team.size : 0;
    const int64_t end = by_rows ? B * (team.rank + 1) / team.size : B;
    if (by_rows) team = {0, 1};
    d.step(begin, end - begin, ids, before, after, logits, scratch.get(), team);
  }
  return 0;
}

}  // extern "C"
