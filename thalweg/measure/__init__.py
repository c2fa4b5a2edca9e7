"""Measurements: each takes the least it needs and returns Estimates with their error and cost."""

from thalweg.measure.critical import Classified, Critical, critical_points
from thalweg.measure.curvature import Eigenvalues, Lanczos, extreme_eigenvalues
from thalweg.measure.density import Density
from thalweg.measure.descent import Descent, descend_from
from thalweg.measure.examples import PerExample, per_example
from thalweg.measure.fit import constant_loss, overfit_one_batch
from thalweg.measure.gradient_noise import GradientNoise, gradient_noise
from thalweg.measure.layers import LayerReport, layers
from thalweg.measure.operators import MATRICES, Block, Scaled
from thalweg.measure.path import path
from thalweg.measure.quadrature import density
from thalweg.measure.recorded import path_of_run
from thalweg.measure.signal import label_signal
from thalweg.measure.sketched import path_of_sketches
from thalweg.measure.spectra import save_spectra, spectra_by_layer, spectra_of_run
from thalweg.measure.spectrum import Spectrum, spectrum
from thalweg.measure.steps import (
    LineDrop,
    krylov_step,
    largest_drop,
    loss_and_error,
    newton_step,
    predicted_change,
)
from thalweg.measure.trace import trace
from thalweg.measure.waypoint import Ball, RunPath, Spread, Waypoint, least_convexity

__all__ = [
    "MATRICES",
    "Ball",
    "Block",
    "Classified",
    "Critical",
    "Density",
    "Descent",
    "Eigenvalues",
    "GradientNoise",
    "Lanczos",
    "LayerReport",
    "LineDrop",
    "PerExample",
    "RunPath",
    "Scaled",
    "Spectrum",
    "Spread",
    "Waypoint",
    "constant_loss",
    "critical_points",
    "density",
    "descend_from",
    "extreme_eigenvalues",
    "gradient_noise",
    "krylov_step",
    "label_signal",
    "largest_drop",
    "layers",
    "least_convexity",
    "loss_and_error",
    "newton_step",
    "overfit_one_batch",
    "path",
    "path_of_run",
    "path_of_sketches",
    "per_example",
    "predicted_change",
    "save_spectra",
    "spectra_by_layer",
    "spectra_of_run",
    "spectrum",
    "trace",
]
