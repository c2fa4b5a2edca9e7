"""Symbolic derivatives of expressions."""

from thalweg.objective.expression import (
    Call,
    Expression,
    Number,
    Power,
    Product,
    Sum,
    Variable,
    add,
    call,
    multiply,
    power,
)

__all__ = ["derivative"]

ZERO = Number(0.0)


def derivative(tree: Expression, name: str) -> Expression:
    """The partial derivative with respect to a variable.

    Raises:
        ArithmeticError, ValueError: a number in it would not be finite or real.
    """
    match tree:
        case Variable(own):
            return Number(float(own == name))
        case Sum(terms):
            return add(derivative(term, name) for term in terms)
        case Product(factors):
            slopes = [derivative(factor, name) for factor in factors]
            return add(
                multiply([*factors[:i], slope, *factors[i + 1 :]])
                for i, slope in enumerate(slopes)
                if slope != ZERO
            )
        case Power(base, exponent):
            lower = power(base, exponent - 1)
            return multiply([Number(float(exponent)), lower, derivative(base, name)])
        case Call("min" | "max" as which, (first, second)):
            one, other = derivative(first, name), derivative(second, name)
            half = Number(0.5 if which == "max" else -0.5)
            choice = call("sign", [_minus(first, second)])
            mean = multiply([Number(0.5), add([one, other])])
            return add([mean, multiply([half, choice, _minus(one, other)])])
        case Call(which, (argument,)):
            return multiply([_slope(which, argument), derivative(argument, name)])
    return ZERO


def _slope(name: str, u: Expression) -> Expression:
    """The derivative of a function of one argument, at ``u``."""
    one, own = Number(1.0), Call(name, (u,))
    match name:
        case "sin":
            return Call("cos", (u,))
        case "cos":
            return multiply([Number(-1.0), Call("sin", (u,))])
        case "tan":
            return add([one, power(own, 2)])
        case "exp":
            return own
        case "log":
            return power(u, -1)
        case "sqrt":
            return multiply([Number(0.5), power(own, -1)])
        case "abs":
            return Call("sign", (u,))
        case "sign":
            return Number(0.0)
        case "tanh":
            return _minus(one, power(own, 2))
        case "sinh":
            return Call("cosh", (u,))
        case "cosh":
            return Call("sinh", (u,))
        case _:  # atan
            return power(add([one, power(u, 2)]), -1)


def _minus(first: Expression, second: Expression) -> Expression:
    return add([first, multiply([Number(-1.0), second])])
