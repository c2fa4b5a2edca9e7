"""A plain network as a chain of layers: which parameters belong to which units."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node, symbolic_trace
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd

from thalweg.errors import UsageError
from thalweg.objective.supervised import Supervised

__all__ = ["Chain", "Link"]

POINTWISE = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.SELU,
    nn.CELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Tanh,
    nn.Sigmoid,
    nn.Softplus,
    nn.Hardtanh,
    nn.Hardswish,
    nn.LogSigmoid,
    nn.Identity,
    _DropoutNd,
)
"""Modules that treat every number alike and by itself."""

POOLS = (
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
)
"""Modules that treat every channel alike and by itself."""

KEEPING = (*POINTWISE, *POOLS, nn.Flatten)
"""Modules that leave every unit its place."""

FUNCTIONS = {
    "relu",
    "tanh",
    "sigmoid",
    "gelu",
    "silu",
    "elu",
    "selu",
    "softplus",
    "leaky_relu",
    "flatten",
    "dropout",
    "max_pool2d",
    "avg_pool2d",
    "adaptive_avg_pool2d",
    "max_pool1d",
    "avg_pool1d",
}
"""The same as functions and as methods of tensors."""


@dataclass(frozen=True)
class Link:
    """A linear layer or a convolution.

    Attributes:
        module: its name in the model.
        weight: place of its weight among the trainable parameters.
        vectors: places of what has one number for each of its units: its bias, the scale and the
            shift of a norm after it.
        inputs: how many units (not numbers) go into it.
    """

    module: str
    weight: int
    vectors: tuple[int, ...]
    inputs: int


@dataclass(frozen=True)
class Chain:
    """The layers of a plain network in their order; the last gives the output."""

    links: tuple[Link, ...]

    @classmethod
    def of(cls, objective: Supervised) -> "Chain":
        """The chain that a network is.

        Raises:
            UsageError: it is none, or parts of it are frozen or tied; the sentence says what stands in
                the way.
        """
        model = objective.placed.model
        try:
            graph = symbolic_trace(model)
        except Exception as error:  # whatever a forward pass may do that cannot be traced
            raise UsageError(
                "model must be a plain chain of layers for its units to be aligned, but its forward "
                "pass cannot be traced"
            ) from error
        places = {id(p): place for place, p in enumerate(objective.placed.parameters)}
        links: list[Link] = []
        for node in _in_order(graph):
            _add(links, node, graph, places, objective.mode)
        weights = [link.weight for link in links]
        if len(links) < 2:
            raise UsageError("model must have a hidden layer for its units to be aligned")
        if len(set(weights)) < len(weights):
            raise UsageError("model must use each layer once for its units to be aligned")
        owned = {place for link in links for place in (link.weight, *link.vectors)}
        if owned != set(places.values()):
            raise _refused("parameters that belong to no layer of a chain")
        return cls(tuple(links))

    def activations(self, objective: Supervised, point: Tensor) -> list[Tensor]:
        """What the units of each hidden layer answer before their nonlinearity, ``(rows, units)``."""
        kept: list[list[Tensor]] = [[] for _ in self.links[:-1]]
        model = objective.placed.model
        modules = [model.get_submodule(link.module) for link in self.links[:-1]]
        units_at = [1 if isinstance(module, _ConvNd) else -1 for module in modules]
        handles = []
        for place, module in enumerate(modules):

            def keep(_: nn.Module, __: object, output: Tensor, place: int = place) -> None:
                values = output.detach().double().cpu()
                units = values.movedim(units_at[place], -1).flatten(0, -2)
                kept[place].append(units[:: max(1, len(units) // (8 * len(output)))])

            handles.append(module.register_forward_hook(keep))
        try:
            with torch.no_grad(), objective.placed.at(point, objective.mode, objective.seed):
                for batch, _ in objective.weighted_chunks():
                    objective.batch_loss(batch)
        finally:
            for handle in handles:
                handle.remove()
        return [torch.cat(rows) for rows in kept]


def _in_order(graph: GraphModule) -> Sequence[Node]:
    """The operations between the input and the output; each takes what the one before gives."""
    nodes = [node for node in graph.graph.nodes if node.op not in ("placeholder", "output")]
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
    if len([node for node in inputs if node.users]) != 1:
        raise _refused("several inputs")
    before = next(node for node in inputs if node.users)
    for node in nodes:
        if node.all_input_nodes != [before] or len(before.users) != 1:
            raise _refused("branches")
        before = node
    return nodes


def _add(
    links: list[Link], node: Node, graph: GraphModule, places: dict[int, int], mode: str
) -> None:
    if node.op in ("call_function", "call_method"):
        name = node.target if isinstance(node.target, str) else node.target.__name__
        if links and name not in FUNCTIONS:  # what is done to the input moves no unit
            raise _refused(f"an operation {name}")
        return
    if node.op != "call_module":
        raise _refused("parameters that it reads by itself")
    module = graph.get_submodule(str(node.target))
    if isinstance(module, nn.Linear | _ConvNd):
        if isinstance(module, _ConvNd) and (module.groups != 1 or module.transposed):
            raise _refused("grouped or transposed convolutions")
        before = _units(links[-1], graph) if links else module.weight.shape[1]
        if module.weight.shape[1] % before:
            raise _refused(f"a layer {node.target} that does not take the units before it")
        vectors = [] if module.bias is None else [_place(module.bias, places)]
        links.append(Link(str(node.target), _place(module.weight, places), tuple(vectors), before))
    elif isinstance(module, _BatchNorm):
        if not links or module.num_features != _units(links[-1], graph):
            raise _refused("a norm that is not of the units before it")
        if module.track_running_stats and mode == "eval":
            raise _refused("running statistics, which are no parameters (mode batch uses none)")
        own = [p for p in (module.weight, module.bias) if p is not None]
        last = links.pop()
        more = (*last.vectors, *(_place(p, places) for p in own))
        links.append(Link(last.module, last.weight, more, last.inputs))
    elif (links or any(True for _ in module.parameters())) and not isinstance(module, KEEPING):
        raise _refused(f"a layer {node.target} that is a {type(module).__name__}")


def _units(link: Link, graph: GraphModule) -> int:
    weight = graph.get_submodule(link.module).weight
    assert isinstance(weight, Tensor)
    return len(weight)


def _place(parameter: Tensor, places: dict[int, int]) -> int:
    if id(parameter) not in places:
        raise _refused("frozen parameters")
    return places[id(parameter)]


def _refused(what: str) -> UsageError:
    return UsageError(
        "model must be a plain chain of linear layers and convolutions for its units to be aligned, "
        f"but has {what}"
    )
