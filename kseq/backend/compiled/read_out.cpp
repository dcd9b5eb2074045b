// Cross-entropy of a linear read-out over few tokens, with its gradients, while a block of rows is
// in the cache:
//
//   logits = h W + b,  nats = ln sum e^logits - logits[target],
//   d_logits = (softmax(logits) - onehot(target)) / N,  d_h = d_logits W^T
//
// h (N, H); W (H, V), whose element (u, v) lies at u * by_unit + v * by_token, so that a transposed
// embedding can be read as it is; targets (N,).  d_logits (N, V) and d_h (N, H) may be null.

#include "products.h"

using namespace kseq;

namespace {

typedef Vec<float> V;
constexpr int W = Simd<float>::W;
constexpr int64_t BLOCK = 64;

float largest(const float* x, int64_t count) {
  float most = x[0];
  for (int64_t i = 1; i < count; i++) most = x[i] > most ? x[i] : most;
  return most;
}

// Turns a row of logits into e^(logits - most); returns the sum.
float exponentials(float* x, int64_t count, float most) {
  float sum = 0;
  for (int64_t i = 0; i < count; i += W) {
    const int some = int(std::min<int64_t>(W, count - i));
    const V e = exponential(load(x + i, some) - most);
    store(x + i, e, some);
    for (int j = 0; j < some; j++) sum += e[j];
  }
  return sum;
}

}  // namespace

extern "C" void linear_cross_entropy(int64_t N, int64_t H, int64_t tokens, int64_t threads,
                                     const float* h, const float* weight, int64_t by_unit,
                                     int64_t by_token, const float* bias, const int64_t* targets,
                                     float* nats, float* d_logits, float* d_h) {
  Panels<float> out(H, tokens, 1, WIDEST), back(tokens, H, 1, WIDEST);
  out.fill(weight, H, by_unit, 0, by_token, int(threads));
  if (d_h) back.fill(weight, tokens, by_token, 0, by_unit, int(threads));
  const int64_t blocks = (N + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) num_threads(int(threads)) if (threads > 1 && blocks > 1)
  for (int64_t block = 0; block < blocks; block++) {
    const int64_t first = block * BLOCK, rows = std::min(BLOCK, N - first);
    std::unique_ptr<float[]> logits(new float[rows * tokens]);
    out.multiply<1, WIDEST>(
        h + first * H, H, rows, [&](int64_t row, int64_t v, int count, const V* p) {
          store(logits.get() + row * tokens + v, p[0] + load(bias + v, count), count);
        });
    for (int64_t row = 0; row < rows; row++) {
      float* x = logits.get() + row * tokens;
      const int64_t target = targets[first + row];
      const float most = largest(x, tokens), wanted = x[target];
      const float sum = exponentials(x, tokens, most);
      nats[first + row] = std::log(sum) + most - wanted;
      if (!d_logits) continue;
      float* d = d_logits + (first + row) * tokens;
      const float scale = 1 / (sum * float(N));
      for (int64_t v = 0; v < tokens; v++) d[v] = x[v] * scale;
      d[target] -= 1 / float(N);
    }
    if (d_h)
      back.multiply<1, WIDEST>(
          d_logits + first * tokens, tokens, rows,
          [&](int64_t row, int64_t u, int count, const V* p) {
            store(d_h + (first + row) * H + u, p[0], count);
          });
  }
}
