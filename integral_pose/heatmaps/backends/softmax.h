// One read of the logits: the softmax of each joint, its expectation, and sums of its powers. Used by volume.cpp.
//
// A volume lies in memory as (N, A, B, G, K), contiguous; joint q is volume (n, g) with q = n * G + g.
// A "plane" is the B x K voxels of one joint at one place on axis A: small enough for the L1 cache.

#pragma once

#include <cmath>

#include "vectors.h"

namespace {

struct Shape {
  int64_t N, A, B, G, K;
  int64_t padded_K() const { return (K + kLanes - 1) / kLanes * kLanes; }
  int64_t row(int64_t n, int64_t a, int64_t b, int64_t g) const { return (((n * A + a) * B + b) * G + g) * K; }
};

// Numbers added to the logits along single axes: of each joint A, B and K of them, the last padded to whole vectors.
// Null where there are none.
struct Terms {
  const float* tables;  // (Q, A + B + padded K)
  int64_t length(const Shape& shape) const { return shape.A + shape.B + shape.padded_K(); }
  float of_row(const Shape& shape, int64_t q, int64_t a, int64_t b) const {
    const float* own = tables + q * length(shape);
    return own[a] + own[shape.A + b];
  }
  const float* along_k(const Shape& shape, int64_t q) const { return tables + q * length(shape) + shape.A + shape.B; }
};

// What is kept of a plane: its largest logit, and sums of e = exp(x - top), e^2, e^3, e^4.
struct PlaneSums {
  float top, sum_1, moment_b, moment_k, sum_2, sum_3, sum_4;
};

// The plane as float32 rows padded with -inf to whole vectors; returns its largest logit, NaN if any is not finite.
template <bool kTerms, typename T>
float read_plane(const T* volume, const Shape& shape, const Terms& terms, int64_t n, int64_t a, int64_t g,
                 float* plane) {
  Floats top = fill(-kInfinity), zero_if_finite = {};
  const int64_t whole = shape.K / kLanes * kLanes, rest = shape.K - whole, q = n * shape.G + g;
  for (int64_t b = 0; b < shape.B; ++b) {
    const T* row = volume + shape.row(n, a, b, g);
    const float of_row = kTerms ? terms.of_row(shape, q, a, b) : 0.0f;
    const float* along_k = kTerms ? terms.along_k(shape, q) : nullptr;
    float* packed = plane + b * shape.padded_K();
    for (int64_t k = 0; k < whole; k += kLanes) {
      Floats x = load(row + k);
      if (kTerms) x = (x + of_row) + load(along_k + k);
      zero_if_finite += x * 0.0f;
      top = select(x > top, x, top);
      store(packed + k, x);
    }
    if (rest) {
      Floats x = load_first(row + whole, rest);
      if (kTerms) x = (x + of_row) + load(along_k + whole);
      zero_if_finite += x * 0.0f;
      Floats padded = x;
      for (int64_t i = rest; i < kLanes; ++i) padded[i] = -kInfinity;
      top = select(padded > top, padded, top);
      store(packed + whole, padded);
    }
  }
  return maximum(top) + sum(zero_if_finite);
}

template <typename T>
float read_plane(const T* volume, const Shape& shape, const Terms& terms, int64_t n, int64_t a, int64_t g,
                 float* plane) {
  return (terms.tables ? read_plane<true, T> : read_plane<false, T>)(volume, shape, terms, n, a, g, plane);
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
void correct_large(const T* volume, const Shape& shape, const Terms& terms, int64_t n, int64_t g,
                   const PlaneSums* planes, int64_t peak_offset, Softmax* softmax) {
  const double log_share = softmax->log_share();
  const float threshold = float(kLogLargestInSeries - log_share);
  const int64_t q = n * shape.G + g;
  for (int64_t a = 0; a < shape.A; ++a) {
    if (!(planes[a].top > threshold)) continue;
    for (int64_t b = 0; b < shape.B; ++b) {
      const int64_t row = shape.row(n, a, b, g);
      for (int64_t k = 0; k < shape.K; ++k) {
        float x = to_float(volume[row + k]);
        if (terms.tables) x = (x + terms.of_row(shape, q, a, b)) + terms.along_k(shape, q)[k];
        if (!(x > threshold) || row + k == peak_offset) continue;
        const double p = std::exp(x + log_share);
        softmax->log_complement += std::log1p(-p) + p * (1 + p * (1. / 2 + p * (1. / 3 + p / 4)));
        softmax->odds += p / (1 - p) - p * (1 + p * (1 + p * (1 + p)));
      }
    }
  }
}

template <typename T, bool kPowers>
void read_softmax(const T* volume, const Shape& shape, const Terms& terms, const float* centers_b,
                  const float* centers_k, int64_t num_threads, Softmax* result) {
  std::vector<PlaneSums> sums(shape.N * shape.G * shape.A);
  in_parallel(shape.N * shape.A, num_threads, [&](int64_t unit) {
    std::vector<float> plane(shape.B * shape.padded_K());
    const int64_t n = unit / shape.A, a = unit % shape.A;
    for (int64_t g = 0; g < shape.G; ++g) {
      const float top = read_plane(volume, shape, terms, n, a, g, plane.data());
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
    const float peak = read_plane(volume, shape, terms, n, peak_a, g, plane.data());
    planes[peak_a] =
        sum_plane_without_peak<kPowers>(plane.data(), peak, shape, centers_b, centers_k, &peak_index);
    Softmax softmax = merge_planes(planes, shape, peak);
    softmax.peak_a = double(peak_a);
    softmax.peak_b = double(peak_index / shape.K);
    softmax.peak_k = double(peak_index % shape.K);
    const int64_t peak_offset = shape.row(n, peak_a, peak_index / shape.K, g) + peak_index % shape.K;
    if (kPowers) correct_large(volume, shape, terms, n, g, planes, peak_offset, &softmax);
    result[q] = softmax;
  });
}

}  // namespace
