"""Whether predicted standard deviations are right: shares of errors within them, against what they claim.

The error e of a joint is a distance in three dimensions. Its density is assumed proportional to exp(-|e| / b), the
same in all directions, as the loss `beta_nll` has it. The standard deviation along each axis is sigma = 2 b, and the
share of errors with |e| <= r is that of a Gamma(3, b) distribution:

    F(r) = 1 - exp(-t) (1 + t + t^2 / 2),    t = r / b = 2 r / sigma

So 32.3 % lie within sigma and 76.2 % within 2 sigma. (Of a normal distribution it would be 19.9 % and 73.9 %.)
"""

import numpy as np
from numpy.typing import ArrayLike

from integral_pose.contracts import FloatArray

LEVELS = np.arange(1, 10) / 10  # of confidence, at which claims and shares are compared
GRID = np.linspace(0, 10, 10_001)  # multiples of sigma; beyond lies less than 1e-6 of a Gamma(3) distribution


def share_claimed(errors_over_sigma: ArrayLike) -> FloatArray:
    """F above: the share of errors claimed to be no larger than these, given as multiples of sigma."""
    t = 2 * np.asarray(errors_over_sigma, np.float64)
    return 1 - np.exp(-t) * (1 + t + t * t / 2)


def calibration(errors_mm: ArrayLike, sigma_mm: ArrayLike) -> dict[str, float]:
    """Shares of errors within 1 and 2 sigma, the expected calibration error, and the mean sigma in mm; arrays alike.

    The calibration error is the mean over LEVELS p of |share of errors with F <= p, less p|: that of Kuleshov et al.
    (Accurate Uncertainties for Deep Learning Using Calibrated Regression, 2018), with the absolute difference for its
    square. 0 is right; 0.5 is the most, where all sigmas are 0 or without bound. Errors of exactly 0 lie within all,
    and errors that are NaN, of joints without a label, are passed over.
    """
    errors, sigma = np.asarray(errors_mm, np.float64), np.asarray(sigma_mm, np.float64)
    if errors.shape == sigma.shape and (unknown := np.isnan(errors)).any():
        errors, sigma = errors[~unknown], sigma[~unknown]
    if errors.shape != sigma.shape or errors.size == 0:
        raise ValueError(f"expected a sigma for each of some errors, found {sigma.shape} and {errors.shape}")
    multiples = np.divide(errors, sigma, out=np.where(errors > 0, np.inf, 0.0), where=sigma > 0).ravel()
    bounds = np.interp(LEVELS, share_claimed(GRID), GRID)
    shares = np.searchsorted(np.sort(multiples), bounds, side="right") / multiples.size
    return {
        "within_1_sigma": float(np.mean(multiples <= 1)),
        "within_2_sigma": float(np.mean(multiples <= 2)),
        "calibration_error": float(np.abs(shares - LEVELS).mean()),
        "sigma_mm": float(sigma.mean()),
    }
