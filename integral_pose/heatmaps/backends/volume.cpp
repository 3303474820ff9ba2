// The loops of the volume operator over the voxels, for CPUs. See fused.py for the mathematics.

#include "softmax.h"

namespace {

// The voxels round each true joint: target = factors_a x factors_b x factors_k from the cell `start` on.
struct Cubes {
  int64_t span_a, span_b, span_k;
  const int64_t* starts;  // (Q, 3)
  const float *factors_a, *factors_b, *factors_k;  // (Q, span) each, the last padded to whole vectors
};

// log(1 - p) for p <= 1/2.
inline Floats log_complement(Floats p) {
  Floats result = -p * (1.0f + p * (0.5f + p * (0.333333333f + p * 0.25f)));
  if (maximum(p) > 0.03125f)
    for (int i = 0; i < kLanes; ++i)
      if (p[i] > 0.03125f) result[i] = std::log1p(-p[i]);
  return result;
}

// Sums over a joint's cube, peak left out: G (log p - log(1 - p)), and G / (1 - p).
template <typename T>
void sum_cubes(const T* volume, const Shape& shape, const Terms& terms, const double* logs,
               const int64_t* peak_offsets, const Cubes& cubes, int64_t num_threads, double* results) {
  const int64_t padded = (cubes.span_k + kLanes - 1) / kLanes * kLanes;
  in_parallel(shape.N * shape.G, num_threads, [&](int64_t q) {
    const int64_t* start = cubes.starts + q * 3;
    const float shift = float(logs[q * 3]), log_sum = float(logs[q * 3 + 1]), log_others = float(logs[q * 3 + 2]);
    double loss = 0, odds = 0;
    for (int64_t a = 0; a < cubes.span_a; ++a) {
      for (int64_t b = 0; b < cubes.span_b; ++b) {
        const float of_row = cubes.factors_a[q * cubes.span_a + a] * cubes.factors_b[q * cubes.span_b + b];
        if (of_row == 0) continue;
        const int64_t row = shape.row(q / shape.G, start[0] + a, start[1] + b, q % shape.G) + start[2];
        for (int64_t k = 0; k < cubes.span_k; k += kLanes) {
          const int64_t peak = peak_offsets[q] - row - k;
          Floats target = of_row * load(cubes.factors_k + q * padded + k);
          if (peak >= 0 && peak < kLanes) target[peak] = 0;
          const int64_t count = cubes.span_k - k < kLanes ? cubes.span_k - k : kLanes;
          Floats x = load_first(volume + row + k, count);
          if (terms.tables)
            x = (x + terms.of_row(shape, q, start[0] + a, start[1] + b)) +
                load_first(terms.along_k(shape, q) + start[2] + k, count);
          const Floats log_p = select(target > 0.0f, ((x - shift) - log_sum) + log_others, fill(-1.0f));
          const Floats p = exp_nonpositive(log_p);
          loss += sum(target * (log_p - log_complement(p)));
          odds += sum(target / (1.0f - p));
        }
      }
    }
    results[q * 2] = loss;
    results[q * 2 + 1] = odds;
  });
}

// Tables of the gradient of each joint; the first fields of fused.GradientTables.
struct Joint {
  float shift, log_sum, others, pull, weight, peak_gradient;
};

template <bool kHeatmap>
inline Floats gradient(Floats x, const Joint& joint, Floats slope, Floats target) {
  const Floats among_others = exp_nonpositive((x - joint.shift) - joint.log_sum);
  const Floats p = among_others * joint.others;
  Floats result = p * slope;
  if (kHeatmap) result += (p * joint.weight - target) / (1.0f - p) - among_others * joint.pull;
  return result;
}

// A row's share of the terms, and where the sums of its gradient go.
struct RowTerms {
  float of_row;
  const float* along_k;
  float *sum, *sums_along_k;  // the sum over the row is written, those along K are added to
};

template <bool kHeatmap, bool kTerms, typename T>
inline void write_row(const T* logits, int64_t size, const Joint& joint, float slope, const float* along_k,
                      float target, const float* target_along_k, int64_t peak, const RowTerms& terms, T* result) {
  const int64_t whole = size / kLanes * kLanes, rest = size - whole;
  Floats row_sum = {};
  const auto gradient_at = [&](Floats x, int64_t k) {
    if constexpr (kTerms) x = (x + terms.of_row) + load(terms.along_k + k);
    return gradient<kHeatmap>(x, joint, slope + load(along_k + k), target * load(target_along_k + k));
  };
  const auto add = [&](Floats value, int64_t k, int64_t count) {
    if (peak >= k && peak < k + count) value[peak - k] = joint.peak_gradient;
    for (int64_t i = count; i < kLanes; ++i) value[i] = 0;
    row_sum += value;
    store(terms.sums_along_k + k, load(terms.sums_along_k + k) + value);
  };
  for (int64_t k = 0; k < whole; k += kLanes) {
    const Floats value = gradient_at(load(logits + k), k);
    store(result + k, value);
    if constexpr (kTerms) add(value, k, kLanes);
  }
  if (rest) {
    const Floats value = gradient_at(load_first(logits + whole, rest), whole);
    store_first(result + whole, value, rest);
    if constexpr (kTerms) add(value, whole, rest);
  }
  if (peak >= 0 && peak < size) store_first(result + peak, fill(joint.peak_gradient), 1);
  if constexpr (kTerms) *terms.sum = sum(row_sum);
}

// Tables along A, B and K, (Q, cells) each, the last padded to whole vectors.
struct Tables {
  const float *a, *b, *k;
};

// With terms also the sums of the gradient along K, (N, A, B, G), and along B, (N, A, G, padded K).
template <typename T, bool kHeatmap, bool kTerms>
void write_gradient(const T* volume, const Shape& shape, const Terms& terms, const Joint* joints,
                    const int64_t* peak_offsets, const Tables& slopes, const Tables& targets, int64_t num_threads,
                    float* row_sums, float* sums_along_k, T* result) {
  in_parallel(shape.N * shape.A, num_threads, [&](int64_t unit) {
    const int64_t n = unit / shape.A, a = unit % shape.A;
    for (int64_t b = 0; b < shape.B; ++b) {
      for (int64_t g = 0; g < shape.G; ++g) {
        const int64_t q = n * shape.G + g, row = shape.row(n, a, b, g);
        const float slope = slopes.a[q * shape.A + a] + slopes.b[q * shape.B + b];
        const float target = kHeatmap ? targets.a[q * shape.A + a] * targets.b[q * shape.B + b] : 0.0f;
        const float* along_k = slopes.k + q * shape.padded_K();
        const float* target_along_k = kHeatmap ? targets.k + q * shape.padded_K() : along_k;
        RowTerms of_row = {};
        if (kTerms)
          of_row = {terms.of_row(shape, q, a, b), terms.along_k(shape, q), row_sums + row / shape.K,
                    sums_along_k + (unit * shape.G + g) * shape.padded_K()};
        write_row<kHeatmap, kTerms>(volume + row, shape.K, joints[q], slope, along_k, target, target_along_k,
                                    peak_offsets[q] - row, of_row, result + row);
      }
    }
  });
}

}  // namespace

#define INSTANTIATE(name, T)                                                                                          \
  extern "C" void read_softmax_##name(const T* volume, const int64_t* shape, const float* terms,                      \
                                      const float* centers_b, const float* centers_k, int64_t with_loss,              \
                                      int64_t num_threads, double* result) {                                          \
    (with_loss ? read_softmax<T, true> : read_softmax<T, false>)(                                                     \
        volume, *(const Shape*)shape, {terms}, centers_b, centers_k, num_threads, (Softmax*)result);                  \
  }                                                                                                                   \
  extern "C" void sum_cubes_##name(const T* volume, const int64_t* shape, const float* terms, const double* logs,     \
                                   const int64_t* peak_offsets, const int64_t* spans, const int64_t* starts,          \
                                   const float* factors_a, const float* factors_b, const float* factors_k,            \
                                   int64_t num_threads, double* results) {                                            \
    const Cubes cubes = {spans[0], spans[1], spans[2], starts, factors_a, factors_b, factors_k};                      \
    sum_cubes<T>(volume, *(const Shape*)shape, {terms}, logs, peak_offsets, cubes, num_threads, results);             \
  }                                                                                                                   \
  extern "C" void write_gradient_##name(                                                                              \
      const T* volume, const int64_t* shape, const float* terms, const float* joints, const int64_t* peak_offsets,    \
      const float* slope_a, const float* slope_b, const float* slope_k, const float* target_a, const float* target_b, \
      const float* target_k, int64_t num_threads, float* row_sums, float* sums_along_k, T* result) {                  \
    const auto with_target = terms ? write_gradient<T, true, true> : write_gradient<T, true, false>;                  \
    const auto without = terms ? write_gradient<T, false, true> : write_gradient<T, false, false>;                    \
    (target_a ? with_target : without)(volume, *(const Shape*)shape, {terms}, (const Joint*)joints, peak_offsets,     \
                                       {slope_a, slope_b, slope_k}, {target_a, target_b, target_k}, num_threads,      \
                                       row_sums, sums_along_k, result);                                               \
  }

INSTANTIATE(float32, float)
INSTANTIATE(bfloat16, uint16_t)
