// The loops of the volume operator over the voxels, for CPUs. See fused.py for the mathematics.
//
// A volume lies in memory as (N, A, B, G, K), contiguous; joint q is volume (n, g) with q = n * G + g.
// A "plane" is the B x K voxels of one joint at one place on axis A: small enough for the L1 cache.

#include <cmath>

#include "vectors.h"

namespace {

struct Shape {
  int64_t N, A, B, G, K;
  int64_t padded_K() const { return (K + kLanes - 1) / kLanes * kLanes; }
  int64_t row(int64_t n, int64_t a, int64_t b, int64_t g) const { return (((n * A + a) * B + b) * G + g) * K; }
};

// What is kept of a plane: its largest logit, and sums of e = exp(x - top), e^2, e^3, e^4.
struct PlaneSums {
  float top, sum_1, moment_b, moment_k, sum_2, sum_3, sum_4;
};

// The plane as float32 rows padded with -inf to whole vectors; returns its largest logit, NaN if any is not finite.
template <typename T>
float read_plane(const T* volume, const Shape& shape, int64_t n, int64_t a, int64_t g, float* plane) {
  Floats top = fill(-kInfinity), zero_if_finite = {};
  const int64_t whole = shape.K / kLanes * kLanes, rest = shape.K - whole;
  for (int64_t b = 0; b < shape.B; ++b) {
    const T* row = volume + shape.row(n, a, b, g);
    float* packed = plane + b * shape.padded_K();
    for (int64_t k = 0; k < whole; k += kLanes) {
      const Floats x = load(row + k);
      zero_if_finite += x * 0.0f;
      top = select(x > top, x, top);
      store(packed + k, x);
    }
    if (rest) {
      const Floats x = load_first(row + whole, rest);
      zero_if_finite += x * 0.0f;
      Floats padded = x;
      for (int64_t i = rest; i < kLanes; ++i) padded[i] = -kInfinity;
      top = select(padded > top, padded, top);
      store(packed + whole, padded);
    }
  }
  return maximum(top) + sum(zero_if_finite);
}

template <bool kPowers>
PlaneSums sum_plane(const float* plane, float top, const Shape& shape, const float* centers_b, const float* centers_k) {
  Floats sum_1 = {}, moment_b = {}, moment_k = {}, sum_2 = {}, sum_3 = {}, sum_4 = {};
  for (int64_t b = 0; b < shape.B; ++b) {
    const float* row = plane + b * shape.padded_K();
    Floats row_sum = {};
    for (int64_t k = 0; k < shape.padded_K(); k += kLanes) {
      const Floats e = exp_nonpositive(load(row + k) - top);
      row_sum += e;
      moment_k += e * load(centers_k + k);
      if (kPowers) {
        const Floats e_2 = e * e;
        sum_2 += e_2;
        sum_3 += e_2 * e;
        sum_4 += e_2 * e_2;
      }
    }
    sum_1 += row_sum;
    moment_b += row_sum * centers_b[b];
  }
  return {top, sum(sum_1), sum(moment_b), sum(moment_k), sum(sum_2), sum(sum_3), sum(sum_4)};
}

// The sums of a plane over every voxel but its largest, whose index in it is written.
template <bool kPowers>
PlaneSums sum_plane_without_peak(float* plane, float top, const Shape& shape, const float* centers_b,
                                 const float* centers_k, int64_t* peak_index) {
  const int64_t size = shape.B * shape.padded_K();
  int64_t peak = 0;
  while (peak < size && plane[peak] != top) ++peak;
  if (peak == size) peak = 0;  // top is NaN, and so will every result be
  *peak_index = peak / shape.padded_K() * shape.K + peak % shape.padded_K();
  plane[peak] = -kInfinity;
  float top_of_others = -kInfinity;
  for (int64_t i = 0; i < size; ++i) top_of_others = plane[i] > top_of_others ? plane[i] : top_of_others;
  if (top_of_others == -kInfinity) return {top_of_others, 0, 0, 0, 0, 0, 0};
  return sum_plane<kPowers>(plane, top_of_others, shape, centers_b, centers_k);
}

// The softmax of a joint, peak apart; the fields of fused.Softmax in its order.
struct Softmax {
  double peak_a, peak_b, peak_k, peak, shift, log_sum, mean_a, mean_b, mean_k, log_complement, odds;

  double gap() const { return shift - peak + log_sum; }
  double log_others() const { return gap() < 0 ? gap() - std::log1p(std::exp(gap())) : -std::log1p(std::exp(-gap())); }
  double log_share() const { return log_others() - shift - log_sum; }  // log p = x + log_share
};

// From the sums of a joint's planes, the peak left out of them. The top of a plane with a logit that is not finite
// is NaN, and so then are the peak or the total, and every result.
Softmax merge_planes(const PlaneSums* planes, const Shape& shape, double peak) {
  Softmax softmax = {};
  softmax.peak = peak;
  softmax.shift = -kInfinity;
  for (int64_t a = 0; a < shape.A; ++a) softmax.shift = std::fmax(softmax.shift, planes[a].top);
  double total = 0, powers[3] = {};
  for (int64_t a = 0; a < shape.A; ++a) {
    const PlaneSums& plane = planes[a];
    const double e = std::exp(plane.top - softmax.shift), e_2 = e * e;
    total += e * plane.sum_1;
    softmax.mean_a += e * plane.sum_1 * ((a + 0.5) / shape.A - 0.5);
    softmax.mean_b += e * plane.moment_b;
    softmax.mean_k += e * plane.moment_k;
    powers[0] += e_2 * plane.sum_2;
    powers[1] += e_2 * e * plane.sum_3;
    powers[2] += e_2 * e_2 * plane.sum_4;
  }
  softmax.log_sum = std::log(total);
  softmax.mean_a /= total;
  softmax.mean_b /= total;
  softmax.mean_k /= total;
  const double others = std::exp(softmax.log_others()), scale = others / total, scale_2 = scale * scale;
  const double p_2 = scale_2 * powers[0], p_3 = scale_2 * scale * powers[1], p_4 = scale_2 * scale_2 * powers[2];
  softmax.log_complement = -(others + p_2 / 2 + p_3 / 3 + p_4 / 4);
  softmax.odds = others + p_2 + p_3 + p_4;
  return softmax;
}

// log(1 - p) = -(p + p^2/2 + p^3/3 + p^4/4) serves while p <= 1/32: what is left out of a joint's sum is below 2e-7.
// The at most 31 larger voxels of a joint, in planes whose top exceeds it, are corrected one by one.
constexpr double kLogLargestInSeries = -3.4657359027997265;

template <typename T>
void correct_large(const T* volume, const Shape& shape, int64_t n, int64_t g, const PlaneSums* planes,
                   int64_t peak_offset, Softmax* softmax) {
  const double log_share = softmax->log_share();
  const float threshold = float(kLogLargestInSeries - log_share);
  for (int64_t a = 0; a < shape.A; ++a) {
    if (!(planes[a].top > threshold)) continue;
    for (int64_t b = 0; b < shape.B; ++b) {
      const int64_t row = shape.row(n, a, b, g);
      for (int64_t k = 0; k < shape.K; ++k) {
        const float x = to_float(volume[row + k]);
        if (!(x > threshold) || row + k == peak_offset) continue;
        const double p = std::exp(x + log_share);
        softmax->log_complement += std::log1p(-p) + p * (1 + p * (1. / 2 + p * (1. / 3 + p / 4)));
        softmax->odds += p / (1 - p) - p * (1 + p * (1 + p * (1 + p)));
      }
    }
  }
}

template <typename T, bool kPowers>
void read_softmax(const T* volume, const Shape& shape, const float* centers_b, const float* centers_k,
                  int64_t num_threads, Softmax* result) {
  std::vector<PlaneSums> sums(shape.N * shape.G * shape.A);
  in_parallel(shape.N * shape.A, num_threads, [&](int64_t unit) {
    std::vector<float> plane(shape.B * shape.padded_K());
    const int64_t n = unit / shape.A, a = unit % shape.A;
    for (int64_t g = 0; g < shape.G; ++g) {
      const float top = read_plane(volume, shape, n, a, g, plane.data());
      sums[(n * shape.G + g) * shape.A + a] = sum_plane<kPowers>(plane.data(), top, shape, centers_b, centers_k);
    }
  });
  in_parallel(shape.N * shape.G, num_threads, [&](int64_t q) {
    std::vector<float> plane(shape.B * shape.padded_K());
    PlaneSums* planes = sums.data() + q * shape.A;
    int64_t peak_a = 0, peak_index = 0;
    for (int64_t a = 1; a < shape.A; ++a)
      if (planes[a].top > planes[peak_a].top) peak_a = a;
    const int64_t n = q / shape.G, g = q % shape.G;
    const float peak = read_plane(volume, shape, n, peak_a, g, plane.data());
    planes[peak_a] =
        sum_plane_without_peak<kPowers>(plane.data(), peak, shape, centers_b, centers_k, &peak_index);
    Softmax softmax = merge_planes(planes, shape, peak);
    softmax.peak_a = double(peak_a);
    softmax.peak_b = double(peak_index / shape.K);
    softmax.peak_k = double(peak_index % shape.K);
    const int64_t peak_offset = shape.row(n, peak_a, peak_index / shape.K, g) + peak_index % shape.K;
    if (kPowers) correct_large(volume, shape, n, g, planes, peak_offset, &softmax);
    result[q] = softmax;
  });
}

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
void sum_cubes(const T* volume, const Shape& shape, const double* logs, const int64_t* peak_offsets,
               const Cubes& cubes, int64_t num_threads, double* results) {
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
          const Floats x = load_first(volume + row + k, count);
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

template <bool kHeatmap, typename T>
void write_row(const T* logits, int64_t size, const Joint joint, float slope, const float* along_k, float target,
               const float* target_along_k, T* result) {
  const int64_t whole = size / kLanes * kLanes, rest = size - whole;
  for (int64_t k = 0; k < whole; k += kLanes) {
    const Floats value =
        gradient<kHeatmap>(load(logits + k), joint, slope + load(along_k + k), target * load(target_along_k + k));
    store(result + k, value);
  }
  if (rest)
    store_first(result + whole,
                gradient<kHeatmap>(load_first(logits + whole, rest), joint, slope + load(along_k + whole),
                                   target * load(target_along_k + whole)),
                rest);
}

template <typename T, bool kHeatmap>
void write_gradient(const T* volume, const Shape& shape, const Joint* joints, const int64_t* peak_offsets,
                    const float* slope_a, const float* slope_b, const float* slope_k, const float* target_a,
                    const float* target_b, const float* target_k, int64_t num_threads, T* result) {
  in_parallel(shape.N * shape.A, num_threads, [&](int64_t unit) {
    const int64_t n = unit / shape.A, a = unit % shape.A;
    for (int64_t b = 0; b < shape.B; ++b) {
      for (int64_t g = 0; g < shape.G; ++g) {
        const int64_t q = n * shape.G + g, row = shape.row(n, a, b, g);
        const Joint joint = joints[q];
        const float slope = slope_a[q * shape.A + a] + slope_b[q * shape.B + b];
        const float target = kHeatmap ? target_a[q * shape.A + a] * target_b[q * shape.B + b] : 0.0f;
        const float* along_k = slope_k + q * shape.padded_K();
        const float* target_along_k = kHeatmap ? target_k + q * shape.padded_K() : along_k;
        write_row<kHeatmap>(volume + row, shape.K, joint, slope, along_k, target, target_along_k, result + row);
        const int64_t peak = peak_offsets[q] - row;
        if (peak >= 0 && peak < shape.K) store_first(result + row + peak, fill(joint.peak_gradient), 1);
      }
    }
  });
}

}  // namespace

#define INSTANTIATE(name, T)                                                                                          \
  extern "C" void read_softmax_##name(const T* volume, const int64_t* shape, const float* centers_b,                  \
                                      const float* centers_k, int64_t with_loss, int64_t num_threads,                 \
                                      double* result) {                                                               \
    (with_loss ? read_softmax<T, true> : read_softmax<T, false>)(volume, *(const Shape*)shape, centers_b, centers_k,  \
                                                                 num_threads, (Softmax*)result);                      \
  }                                                                                                                   \
  extern "C" void sum_cubes_##name(const T* volume, const int64_t* shape, const double* logs,                         \
                                   const int64_t* peak_offsets, const int64_t* spans, const int64_t* starts,          \
                                   const float* factors_a, const float* factors_b, const float* factors_k,            \
                                   int64_t num_threads, double* results) {                                            \
    const Cubes cubes = {spans[0], spans[1], spans[2], starts, factors_a, factors_b, factors_k};                      \
    sum_cubes<T>(volume, *(const Shape*)shape, logs, peak_offsets, cubes, num_threads, results);                      \
  }                                                                                                                   \
  extern "C" void write_gradient_##name(                                                                              \
      const T* volume, const int64_t* shape, const float* joints, const int64_t* peak_offsets, const float* slope_a,  \
      const float* slope_b, const float* slope_k, const float* target_a, const float* target_b,                       \
      const float* target_k, int64_t num_threads, T* result) {                                                        \
    (target_a ? write_gradient<T, true> : write_gradient<T, false>)(                                                  \
        volume, *(const Shape*)shape, (const Joint*)joints, peak_offsets, slope_a, slope_b, slope_k, target_a,        \
        target_b, target_k, num_threads, result);                                                                     \
  }

INSTANTIATE(float32, float)
INSTANTIATE(bfloat16, uint16_t)
