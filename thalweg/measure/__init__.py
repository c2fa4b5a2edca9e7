"""Measurements: each takes the least it needs and returns Estimates with their error and cost."""

from thalweg.measure.adaptive import Filled
from thalweg.measure.alignment import Alignment, align
from thalweg.measure.comparison import Comparison, Minimum, compare
from thalweg.measure.connection import Connection, connect, connect_points
from thalweg.measure.connectivity import Bend, Between, bezier_path, interpolation
from thalweg.measure.critical import Classified, Critical, critical_points
from thalweg.measure.curvature import Eigenvalues, extreme_eigenvalues
from thalweg.measure.density import Density
from thalweg.measure.descent import Descent, descend_from
from thalweg.measure.directions import (
    Flat,
    eigen_directions,
    gradient_directions,
    path_directions,
    random_directions,
    through,
)
from thalweg.measure.examples import PerExample, per_example
from thalweg.measure.fit import constant_loss, overfit_one_batch
from thalweg.measure.flatness import Flatness, flatness
from thalweg.measure.gradient_noise import GradientNoise, gradient_noise
from thalweg.measure.lanczos import Lanczos
from thalweg.measure.layers import LayerReport, layers
from thalweg.measure.operators import MATRICES, Block, Scaled
from thalweg.measure.passes import Spot
from thalweg.measure.path import path
from thalweg.measure.profile import Profile, random_rise, smoothed_rise, worst_rise
from thalweg.measure.quadrature import density
from thalweg.measure.recorded import path_of_run
from thalweg.measure.relative import RelativeFlatness, filter_curvature, relative_flatness
from thalweg.measure.restart import restart
from thalweg.measure.sharpness import epsilon_sharpness, sam_sharpness
from thalweg.measure.shift import ShiftLine, shift_test
from thalweg.measure.signal import label_signal
from thalweg.measure.sketched import path_of_sketches
from thalweg.measure.spectra import save_spectra, spectra_by_layer, spectra_of_run
from thalweg.measure.spectrum import Spectrum, spectrum
from thalweg.measure.standing import flatness_of_task
from thalweg.measure.steps import (
    LineDrop,
    krylov_step,
    largest_drop,
    loss_and_error,
    newton_step,
    predicted_change,
)
from thalweg.measure.surface import Surface, Walk, surface
from thalweg.measure.survey import survey
from thalweg.measure.trace import trace
from thalweg.measure.waypoint import Ball, RunPath, Spread, Waypoint, least_convexity

__all__ = [
    "MATRICES",
    "Alignment",
    "Ball",
    "Bend",
    "Between",
    "Block",
    "Classified",
    "Comparison",
    "Connection",
    "Critical",
    "Density",
    "Descent",
    "Eigenvalues",
    "Filled",
    "Flat",
    "Flatness",
    "GradientNoise",
    "Lanczos",
    "LayerReport",
    "LineDrop",
    "Minimum",
    "PerExample",
    "Profile",
    "RelativeFlatness",
    "RunPath",
    "Scaled",
    "ShiftLine",
    "Spectrum",
    "Spot",
    "Spread",
    "Surface",
    "Walk",
    "Waypoint",
    "align",
    "bezier_path",
    "compare",
    "connect",
    "connect_points",
    "constant_loss",
    "critical_points",
    "density",
    "descend_from",
    "eigen_directions",
    "epsilon_sharpness",
    "extreme_eigenvalues",
    "filter_curvature",
    "flatness",
    "flatness_of_task",
    "gradient_directions",
    "gradient_noise",
    "interpolation",
    "krylov_step",
    "label_signal",
    "largest_drop",
    "layers",
    "least_convexity",
    "loss_and_error",
    "newton_step",
    "overfit_one_batch",
    "path",
    "path_directions",
    "path_of_run",
    "path_of_sketches",
    "per_example",
    "predicted_change",
    "random_directions",
    "random_rise",
    "relative_flatness",
    "restart",
    "sam_sharpness",
    "save_spectra",
    "shift_test",
    "smoothed_rise",
    "spectra_by_layer",
    "spectra_of_run",
    "spectrum",
    "surface",
    "survey",
    "through",
    "trace",
    "worst_rise",
]
