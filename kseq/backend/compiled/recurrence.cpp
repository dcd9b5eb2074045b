// Whole recurrent layers, forward and backward: the recurrent product and everything pointwise,
// row by row of the batch.
//
// Rows of a batch never meet in a recurrence, so each thread takes its rows through all steps and
// never waits for another.  Arrays are contiguous and time first; gates are in Keras's order.
//
//   x        (T, B, G H)  the input times its kernel; afterwards the gates, except SimpleRNN's
//   bias     (G H)        of the input; the GRU's (4 H): z, r, the candidate's, its product's
//   states   (T+1, B, H)  the first state, then the outputs
//   h        (B, H)       in: the first state, out: the last, in S whatever is kept
//   R        (H, G H)     the recurrent kernel
//   mask     (T, B)       0 holds the state of that row; null takes every step
//   grad     (T, B, H)    the gradient of the outputs
//   d_h, d_c (B, H)       in: the gradient of the last state, out: of the first
//
// The equations are those of kseq.nn.recurrent; the gradients are theirs, by the chain rule.

#include "products.h"

#ifndef KSEQ_KEPT
#define KSEQ_KEPT float
#endif

using namespace kseq;

namespace {

typedef KSEQ_KEPT P;
typedef Computed<P>::type S;
typedef Vec<S> V;
constexpr int W = Simd<S>::W;

struct Sizes {
  int64_t T, B, H, threads;
};

// A layer with fewer multiplications than this is not worth a second thread.
constexpr int64_t LEAST_WORK = 1 << 18;

// Calls body(begin, end) for each thread's rows.
template <class Body>
void over_rows(const Sizes& n, int gates, Body body) {
  const bool shared = n.T * n.B * n.H * n.H * gates >= LEAST_WORK;
  const int64_t groups = shared ? std::max<int64_t>(1, std::min(n.threads, n.B)) : 1;
#pragma omp parallel for schedule(static) num_threads(int(groups)) if (groups > 1)
  for (int64_t g = 0; g < groups; g++) body(n.B * g / groups, n.B * (g + 1) / groups);
}

// Calls body(row, unit, count) for each vector of units of rows [begin, end).
template <class Body>
inline void over_units(const Sizes& n, int64_t begin, int64_t end, Body body) {
  for (int64_t b = begin; b < end; b++)
    for (int64_t u = 0; u < n.H; u += W) body(b, u, int(std::min<int64_t>(W, n.H - u)));
}

// Gates [first, first + used) of R (H, gates H), for h R.
Panels<P> forward_panels(const Sizes& n, const P* R, int gates, int first, int used, int blocks) {
  Panels<P> panels(n.H, n.H, used, blocks);
  panels.fill(R + first * n.H, n.H, gates * n.H, n.H, 1, int(n.threads));
  return panels;
}

// The same columns transposed, (used H, H), for d R^T.
Panels<P> backward_panels(const Sizes& n, const P* R, int gates, int first, int used) {
  Panels<P> panels(used * n.H, n.H, 1, WIDEST);
  panels.fill(R + first * n.H, used * n.H, 1, 0, gates * n.H, int(n.threads));
  return panels;
}

// Adds d R^T to d_h, for rows [begin, end) of one step; d has `stride` numbers a row.
void add_product(const Panels<P>& panels, const Sizes& n, const P* d, int64_t stride, int64_t begin,
                 int64_t end, S* d_h) {
  panels.multiply<1, WIDEST>(
      d + begin * stride, stride, end - begin, [&](int64_t row, int64_t u, int count, const V* p) {
        S* to = d_h + (begin + row) * n.H + u;
        store(to, load(to, count) + p[0], count);
      });
}

inline bool holds(const uint8_t* mask, int64_t at) { return mask && !mask[at]; }

}  // namespace

extern "C" {

void simple_rnn_forward(Sizes n, const P* x, const P* bias, P* states, S* h, const P* R,
                        const uint8_t* mask) {
  const auto panels = forward_panels(n, R, 1, 0, 1, WIDEST);
  const int64_t BH = n.B * n.H;
  over_rows(n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = 0; t < n.T; t++)
      panels.multiply<1, WIDEST>(
          states + t * BH + begin * n.H, n.H, end - begin,
          [&](int64_t row, int64_t u, int count, const V* p) {
            const int64_t state = (begin + row) * n.H + u, at = t * BH + state;
            if (!holds(mask, t * n.B + begin + row))
              store(h + state, tanh(load(x + at, count) + load(bias + u, count) + p[0]), count);
            store(states + at + BH, load(h + state, count), count);
          });
  });
}

void simple_rnn_backward(Sizes n, const P* states, const P* R, const uint8_t* mask, const P* grad,
                         P* d_x, S* d_h) {
  const auto panels = backward_panels(n, R, 1, 0, 1);
  const int64_t BH = n.B * n.H;
  over_rows(n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = n.T - 1; t >= 0; t--) {
      over_units(n, begin, end, [&](int64_t b, int64_t u, int count) {
        const int64_t state = b * n.H + u, at = t * BH + state;
        const V h = load(states + at + BH, count), none = {};
        const V d = load(grad + at, count) + load(d_h + state, count);
        const bool held = holds(mask, t * n.B + b);
        store(d_x + at, held ? none : d * (1 - h * h), count);
        store(d_h + state, held ? d : none, count);
      });
      add_product(panels, n, d_x + t * BH, n.H, begin, end, d_h);
    }
  });
}

// cells (T+1, B, H): the first c, then c after each step.
void lstm_forward(Sizes n, P* x, const P* bias, P* states, S* h, S* cells, const P* R,
                  const uint8_t* mask) {
  const auto panels = forward_panels(n, R, 4, 0, 4, 1);
  const int64_t BH = n.B * n.H;
  over_rows(n, 4, [&](int64_t begin, int64_t end) {
    for (int64_t t = 0; t < n.T; t++)
      panels.multiply<4, 1>(
          states + t * BH + begin * n.H, n.H, end - begin,
          [&](int64_t row, int64_t u, int count, const V* p) {
            const int64_t state = (begin + row) * n.H + u, at = t * BH + state;
            P* gate = x + (t * n.B + begin + row) * 4 * n.H + u;
            const auto sum = [&](int g) {
              return load(gate + g * n.H, count) + load(bias + g * n.H + u, count) + p[g];
            };
            const V i = sigmoid(sum(0)), f = sigmoid(sum(1)), g = tanh(sum(2)), o = sigmoid(sum(3));
            V cell = load(cells + at, count);
            if (!holds(mask, t * n.B + begin + row)) {
              cell = f * cell + i * g;
              store(h + state, o * tanh(cell), count);
            }
            store(gate, i, count);
            store(gate + n.H, f, count);
            store(gate + 2 * n.H, g, count);
            store(gate + 3 * n.H, o, count);
            store(cells + at + BH, cell, count);
            store(states + at + BH, load(h + state, count), count);
          });
  });
}

void lstm_backward(Sizes n, const P* gates, const S* cells, const P* R, const uint8_t* mask,
                   const P* grad, P* d_x, S* d_h, S* d_c) {
  const auto panels = backward_panels(n, R, 4, 0, 4);
  const int64_t BH = n.B * n.H;
  over_rows(n, 4, [&](int64_t begin, int64_t end) {
    for (int64_t t = n.T - 1; t >= 0; t--) {
      over_units(n, begin, end, [&](int64_t b, int64_t u, int count) {
        const int64_t state = b * n.H + u, at = t * BH + state, step = t * n.B + b;
        const P* gate = gates + step * 4 * n.H + u;
        P* to = d_x + step * 4 * n.H + u;
        const V d_out = load(grad + at, count) + load(d_h + state, count), none = {};
        if (holds(mask, step)) {
          for (int g = 0; g < 4; g++) store(to + g * n.H, none, count);
          store(d_h + state, d_out, count);
          return;
        }
        const V i = load(gate, count), f = load(gate + n.H, count);
        const V g = load(gate + 2 * n.H, count), o = load(gate + 3 * n.H, count);
        const V squashed = tanh(load(cells + at + BH, count));
        const V d_cell = load(d_c + state, count) + d_out * o * (1 - squashed * squashed);
        store(to, d_cell * g * i * (1 - i), count);
        store(to + n.H, d_cell * load(cells + at, count) * f * (1 - f), count);
        store(to + 2 * n.H, d_cell * i * (1 - g * g), count);
        store(to + 3 * n.H, d_out * squashed * o * (1 - o), count);
        store(d_c + state, d_cell * f, count);
        store(d_h + state, none, count);
      });
      add_product(panels, n, d_x + t * BH * 4, 4 * n.H, begin, end, d_h);
    }
  });
}

// The reset gate after the product.  products (T, B, H): h R_n + b_n.
void gru_forward(Sizes n, P* x, const P* bias, P* states, S* h, const P* R, const uint8_t* mask,
                 P* products) {
  const auto panels = forward_panels(n, R, 3, 0, 3, 1);
  const int64_t BH = n.B * n.H;
  over_rows(n, 3, [&](int64_t begin, int64_t end) {
    for (int64_t t = 0; t < n.T; t++)
      panels.multiply<3, 1>(
          states + t * BH + begin * n.H, n.H, end - begin,
          [&](int64_t row, int64_t u, int count, const V* p) {
            const int64_t state = (begin + row) * n.H + u, at = t * BH + state;
            P* gate = x + (t * n.B + begin + row) * 3 * n.H + u;
            const auto sum = [&](int g) {
              return load(gate + g * n.H, count) + load(bias + g * n.H + u, count);
            };
            const V z = sigmoid(sum(0) + p[0]), r = sigmoid(sum(1) + p[1]);
            const V product = p[2] + load(bias + 3 * n.H + u, count);
            const V candidate = tanh(sum(2) + r * product);
            const V old = load(h + state, count);
            if (!holds(mask, t * n.B + begin + row))
              store(h + state, candidate + z * (old - candidate), count);
            store(gate, z, count);
            store(gate + n.H, r, count);
            store(gate + 2 * n.H, candidate, count);
            store(products + at, product, count);
            store(states + at + BH, load(h + state, count), count);
          });
  });
}

// d (T, B, 4 H): the gradients of x_n, x_z, x_r and of the product in the candidate, so that its
// columns [0, 3 H) are those of the projected input and [H, 4 H) those of h R + b.
void gru_backward(Sizes n, const P* gates, const P* products, const P* states, const P* R,
                  const uint8_t* mask, const P* grad, P* d, S* d_h) {
  const auto panels = backward_panels(n, R, 3, 0, 3);
  const int64_t BH = n.B * n.H;
  over_rows(n, 3, [&](int64_t begin, int64_t end) {
    for (int64_t t = n.T - 1; t >= 0; t--) {
      over_units(n, begin, end, [&](int64_t b, int64_t u, int count) {
        const int64_t state = b * n.H + u, at = t * BH + state, step = t * n.B + b;
        const P* gate = gates + step * 3 * n.H + u;
        P* to = d + step * 4 * n.H + u;
        const V d_out = load(grad + at, count) + load(d_h + state, count), none = {};
        if (holds(mask, step)) {
          for (int g = 0; g < 4; g++) store(to + g * n.H, none, count);
          store(d_h + state, d_out, count);
          return;
        }
        const V z = load(gate, count), r = load(gate + n.H, count);
        const V candidate = load(gate + 2 * n.H, count);
        const V d_n = d_out * (1 - z) * (1 - candidate * candidate);
        store(to, d_n, count);
        store(to + n.H, d_out * (load(states + at, count) - candidate) * z * (1 - z), count);
        store(to + 2 * n.H, d_n * load(products + at, count) * r * (1 - r), count);
        store(to + 3 * n.H, d_n * r, count);
        store(d_h + state, d_out * z, count);
      });
      add_product(panels, n, d + t * BH * 4 + n.H, 4 * n.H, begin, end, d_h);
    }
  });
}

// The reset gate before the product.  resets (T, B, H): r h.
void gru_reset_before_forward(Sizes n, P* x, const P* bias, P* states, S* h, const P* R,
                              const uint8_t* mask, P* resets) {
  const auto of_gates = forward_panels(n, R, 3, 0, 2, 2);
  const auto of_candidate = forward_panels(n, R, 3, 2, 1, WIDEST);
  const int64_t BH = n.B * n.H;
  over_rows(n, 3, [&](int64_t begin, int64_t end) {
    for (int64_t t = 0; t < n.T; t++) {
      of_gates.multiply<2, 2>(
          states + t * BH + begin * n.H, n.H, end - begin,
          [&](int64_t row, int64_t u, int count, const V* p) {
            const int64_t state = (begin + row) * n.H + u;
            P* gate = x + (t * n.B + begin + row) * 3 * n.H + u;
            const V z = sigmoid(load(gate, count) + load(bias + u, count) + p[0]);
            const V r = sigmoid(load(gate + n.H, count) + load(bias + n.H + u, count) + p[1]);
            store(gate, z, count);
            store(gate + n.H, r, count);
            store(resets + t * BH + state, r * load(h + state, count), count);
          });
      of_candidate.multiply<1, WIDEST>(
          resets + t * BH + begin * n.H, n.H, end - begin,
          [&](int64_t row, int64_t u, int count, const V* p) {
            const int64_t state = (begin + row) * n.H + u;
            P* gate = x + (t * n.B + begin + row) * 3 * n.H + u;
            const V b = load(bias + 2 * n.H + u, count);
            const V candidate = tanh(load(gate + 2 * n.H, count) + b + p[0]);
            const V old = load(h + state, count);
            if (!holds(mask, t * n.B + begin + row))
              store(h + state, candidate + load(gate, count) * (old - candidate), count);
            store(gate + 2 * n.H, candidate, count);
            store(states + (t + 1) * BH + state, load(h + state, count), count);
          });
    }
  });
}

void gru_reset_before_backward(Sizes n, const P* gates, const P* states, const P* R,
                               const uint8_t* mask, const P* grad, P* d_x, S* d_h) {
  const auto of_gates = backward_panels(n, R, 3, 0, 2);
  const auto of_candidate = backward_panels(n, R, 3, 2, 1);
  const int64_t BH = n.B * n.H;
  over_rows(n, 3, [&](int64_t begin, int64_t end) {
    for (int64_t t = n.T - 1; t >= 0; t--) {
      const P* before = states + t * BH;
      over_units(n, begin, end, [&](int64_t b, int64_t u, int count) {
        const int64_t state = b * n.H + u, step = t * n.B + b;
        const P* gate = gates + step * 3 * n.H + u;
        P* to = d_x + step * 3 * n.H + u;
        const V d_out = load(grad + t * BH + state, count) + load(d_h + state, count), none = {};
        const V z = load(gate, count), candidate = load(gate + 2 * n.H, count);
        const V d_z = d_out * (load(before + state, count) - candidate) * z * (1 - z);
        const V d_n = d_out * (1 - z) * (1 - candidate * candidate);
        const bool held = holds(mask, step);
        store(to, held ? none : d_z, count);
        store(to + 2 * n.H, held ? none : d_n, count);
        store(d_h + state, held ? d_out : d_out * z, count);
      });
      of_candidate.multiply<1, WIDEST>(
          d_x + ((t * n.B + begin) * 3 + 2) * n.H, 3 * n.H, end - begin,
          [&](int64_t row, int64_t u, int count, const V* p) {
            const int64_t state = (begin + row) * n.H + u, step = t * n.B + begin + row;
            const V r = load(gates + (step * 3 + 1) * n.H + u, count);
            const V d_r = p[0] * load(before + state, count) * r * (1 - r);
            store(d_x + (step * 3 + 1) * n.H + u, d_r, count);
            store(d_h + state, load(d_h + state, count) + p[0] * r, count);
          });
      add_product(of_gates, n, d_x + t * BH * 3, 3 * n.H, begin, end, d_h);
    }
  });
}

}  // extern "C"
