"""What one-point convexity promises: the numbers of the bounds, given their constants.

Source: Kleinberg, Li, Yuan, *An Alternative View: When Does SGD Escape Local Minima?*, ICML 2018,
arXiv 1802.06175. Notation: x the parameters, η the learning rate, ω the gradient noise,
x_{t+1} = x_t − η(∇f(x_t) + ω_t), y_t = x_t − η∇f(x_t) the point after the deterministic half of a
step, g the loss smoothed by the step's noise ηω, x* the target, d₀ = ‖y₀ − x*‖.
"""

import math
from dataclasses import dataclass

from thalweg.errors import UsageError

__all__ = ["EscapeBounds", "OnePointBounds", "PaperTheorem", "step_limit"]


def _check(name: str, value: float, *, least: float = 0.0, most: float = math.inf) -> None:
    if not (isinstance(value, int | float) and least <= value <= most):
        upper = "" if math.isinf(most) else f" and at most {most:g}"
        raise UsageError(f"{name} must be a number of at least {least:g}{upper}, not {value!r}")


def _square(x: float) -> float:
    """x², infinite where it is beyond a double."""
    return x * x


@dataclass(frozen=True, kw_only=True)
class OnePointBounds:
    """Bounds (1) to (5) on the distance to the target; proved.

    They hold while the iterates stay where the constants hold, if ∇f is L-Lipschitz, ‖ω‖ ≤ r almost
    surely, ⟨∇g(y), y − x*⟩ ≥ c‖y − x*‖², and the noise's distribution does not depend on x (or
    ∇f(x*) = 0). All are infinite, or 1 for a probability, where λ ≤ 0.

    Attributes:
        convexity: c.
        smoothness: L.
        radius: r; infinite for unbounded noise, which leaves (1) and (2) standing.
        second_moment: E‖ω‖², at most r².
        learning_rate: η.
        excess: δ of the pair (c, δ) with ⟨∇g, e⟩ ≥ c‖e‖² − δ; adds 2ηδ to B and b.
    """

    convexity: float
    smoothness: float
    radius: float
    second_moment: float
    learning_rate: float
    excess: float = 0.0

    @property
    def rate(self) -> float:
        """λ = 2ηc − η²L²: the share of the squared distance that a step removes."""
        eta = self.learning_rate
        return 2 * eta * self.convexity - _square(eta * self.smoothness)

    @property
    def gain(self) -> float:
        """K = 1 + ηL."""
        return 1 + self.learning_rate * self.smoothness

    @property
    def noise(self) -> float:
        """b = η²r²(1 + ηL)², the most that one step's noise adds to the squared distance."""
        return _square(self.learning_rate * self.radius * self.gain) + self._added

    @property
    def mean_noise(self) -> float:
        """B = η²K² E‖ω‖² ≤ b."""
        return _square(self.learning_rate * self.gain) * self.second_moment + self._added

    @property
    def _added(self) -> float:
        return 2 * self.learning_rate * self.excess

    def expected_square(self, steps: int, distance: float) -> float:
        """(1): E‖y_t − x*‖² ≤ (1−λ)^t d₀² + (B/λ)(1 − (1−λ)^t)."""
        _check("distance", distance)
        if not self.rate > 0:
            return math.inf
        kept = max(0.0, 1 - self.rate) ** steps
        return kept * distance**2 + self.mean_noise / self.rate * (1 - kept)

    def tail(self, steps: int, distance: float, square: float) -> float:
        """(2): P(‖y_t − x*‖² ≥ s) is at most the bound (1) over s."""
        return min(1.0, self.expected_square(steps, distance) / square) if square > 0 else 1.0

    def quantile(
        self, steps: int, distance: float, probability: float, *, window: int = 1
    ) -> float:
        """(3): the squared distance at step t is below this with probability ≥ 1 − p.

        (1−λ/2)^t d₀² + (b/λ)(2.3 + 8K² log(1/p)); for a window of N times p is shared out, p/N.
        """
        _check("distance", distance)
        if not 0 < probability < 1:
            raise UsageError(f"probability must be between 0 and 1, not {probability!r}")
        if not self.rate > 0 or math.isinf(self.radius):
            return math.inf
        spread = 2.3 + 8 * _square(self.gain) * math.log(window / probability)
        kept = max(0.0, 1 - self.rate / 2) ** steps
        return kept * distance**2 + self.noise / self.rate * spread

    def stays(self, steps: int, distance: float, probability: float, ball: float) -> bool:
        """(4): constants that hold on the ball of radius R + ηr only suffice for N steps.

        True where the bound (3) over the whole window from step 0 is at most R².
        """
        return self.quantile(0, distance, probability, window=max(1, steps)) <= ball**2

    def point_distance(self, distance: float) -> float:
        """(5): ‖x_{t+1} − x*‖ ≤ ‖y_t − x*‖ + ηr."""
        return distance + self.learning_rate * self.radius


@dataclass(frozen=True, kw_only=True)
class PaperTheorem:
    """The paper's main theorem with its constants, quoted as the paper states it.

    It is no certificate of an escape: its hypotheses alone put every critical point of f at distance
    D ≤ Lηr/c < √(b/λ)/K from the target, so inside the ball that it promises.
    """

    bounds: OnePointBounds

    @property
    def rate_limit(self) -> float:
        """η must be below min{1/(2L), c/L², 1/(2c)}; 0 where c ≤ 0."""
        c, smooth = self.bounds.convexity, self.bounds.smoothness
        if not c > 0 or math.isinf(smooth):
            return 0.0
        return min(1 / (2 * smooth), c / smooth / smooth, 1 / (2 * c)) if smooth else 1 / (2 * c)

    @property
    def applies(self) -> bool:
        """Whether c > 0, the noise is bounded and η is below the limit."""
        return self.bounds.learning_rate < self.rate_limit and math.isfinite(self.bounds.radius)

    def steps(self, distance: float) -> float:
        """T₁ = log(λd₀²/b)/λ, at least 0; infinite where λ ≤ 0, 0 without noise at the target."""
        rate, noise = self.bounds.rate, self.bounds.noise
        if not rate > 0:
            return math.inf
        if distance == 0 or math.isinf(noise):
            return 0.0
        return max(0.0, math.log(rate * distance**2 / noise) / rate) if noise else math.inf

    @property
    def radius(self) -> float:
        """√(20b/λ): ‖y_{T₁} − x*‖ is at most this with probability ≥ 1/2."""
        rate = self.bounds.rate
        return math.sqrt(20 * self.bounds.noise / rate) if rate > 0 else math.inf

    def window_radius(self, steps: int) -> float:
        """μ√(b/λ), μ = max{8, 42 √log(9T₂/4)}: over T₂ further steps, with probability ≥ 1/2."""
        rate = self.bounds.rate
        if not rate > 0:
            return math.inf
        mu = max(8.0, 42 * math.sqrt(max(0.0, math.log(9 * steps / 4))))
        return mu * math.sqrt(self.bounds.noise / rate)

    def second_stage(self, later: "PaperTheorem") -> tuple[float, float]:
        """A smaller rate η′ from √(20b/λ) on: its steps T₂ = log(λ′(20b/λ)/b′)/λ′ and its radius.

        With probability ≥ 1/4 the radius √(20b′/λ′) holds after T₂ steps (the published line has
        two slips, put right here). It is worth it where b′/λ′ < b/λ.
        """
        return later.steps(self.radius), later.radius


@dataclass(frozen=True, kw_only=True)
class EscapeBounds:
    """Bounds (6) and (7), the ones that certify an escape; proved.

    They need noise whose distribution does not depend on x, and on the domain
    c‖e‖² ≤ ⟨∇g(y), e⟩ and ‖∇g(y)‖ ≤ C‖e‖ with e = y − x*, and V ≥ Var(ηω + η∇f(y − ηω)).
    No condition ties η to L.

    Attributes:
        convexity: c.
        slope: C.
        variance: V, the sum over the coordinates.
        learning_rate: η.
        dim: of x; one dimension has a better q.
        excess: δ where only ⟨∇g, e⟩ ≥ c‖e‖² − δ holds; adds 2ηδ to V, and leaves the better q out.
        offset: κ where only ‖∇g‖² ≤ C²‖e‖² + κ holds; adds η²κ to V.
    """

    convexity: float
    slope: float
    variance: float
    learning_rate: float
    dim: int = 1
    excess: float = 0.0
    offset: float = 0.0

    @property
    def factor(self) -> float:
        """q = 1 − 2ηc + η²C², in one dimension max(|1−ηc|, |1−ηC|)²: below 1 for a bound."""
        eta = self.learning_rate
        if not self.convexity > 0 or not math.isfinite(self.slope):
            return math.inf
        if self.dim == 1 and self.excess == self.offset == 0:
            return _square(max(abs(1 - eta * self.convexity), abs(1 - eta * self.slope)))
        return max(0.0, 1 - 2 * eta * self.convexity + _square(eta * self.slope))

    @property
    def noise(self) -> float:
        """V, with what an excess δ and an offset κ add to it."""
        eta = self.learning_rate
        return self.variance + 2 * eta * self.excess + _square(eta) * self.offset

    @property
    def stationary(self) -> float:
        """V/(1−q): the bound on E‖y_t − x*‖² as t grows; infinite where q ≥ 1."""
        return self.noise / (1 - self.factor) if self.factor < 1 else math.inf

    def expected_square(self, steps: int, distance: float) -> float:
        """(6): E‖e_t‖² ≤ q^t d₀² + V(1−q^t)/(1−q); infinite where q ≥ 1."""
        _check("distance", distance)
        if not self.factor < 1:
            return math.inf
        kept = self.factor**steps
        return kept * distance**2 + self.stationary * (1 - kept)

    def leaving(self, steps: int, distance: float, ball: float) -> float:
        """(7): P(max over t ≤ N of ‖e_t‖ ≥ R) ≤ (d₀² + NV)/R²; 1 where q > 1."""
        _check("distance", distance)
        if not self.factor <= 1:
            return 1.0
        if math.isinf(ball):
            return 0.0
        return min(1.0, (distance**2 + steps * self.noise) / ball**2) if ball > 0 else 1.0

    def tail(self, steps: int, distance: float, radius: float, *, ball: float = math.inf) -> float:
        """P(‖e_t‖ ≥ radius) by (6) and Markov, plus the probability (7) of having left the ball.

        Args:
            ball: radius R around the target on which the constants hold; infinite where they hold
                everywhere, or where no step leads out of the domain.
        """
        if radius <= 0:
            return 1.0
        inside = self.expected_square(steps, distance) / radius**2
        return min(1.0, inside + self.leaving(steps, distance, ball))


def step_limit(gradient: float, inner: float) -> float:
    """The rate from which a full-gradient step brings x no closer to x*: 2⟨∇f, x − x*⟩/‖∇f‖².

    Exact: ‖x − η∇f − x*‖ < ‖x − x*‖ if and only if 0 < η < this. Infinite where ∇f = 0.

    Args:
        gradient: ‖∇f(x)‖.
        inner: ⟨∇f(x), x − x*⟩.
    """
    return 2 * inner / _square(gradient) if gradient else math.inf
