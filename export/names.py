"""The names of the values in a graph: which there are, which are read, and their change."""

from collections import Counter
from collections.abc import Sequence

from onnx import GraphProto, NodeProto


def value_names(graph: GraphProto) -> set[str]:
    """Names of all values of a graph, those of its subgraphs included."""
    values = {value.name for value in [*graph.input, *graph.output]}
    values |= {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        values.update(node.input, node.output)
        for inner in subgraphs(node):
            values |= value_names(inner)
    return values


def used_values(graph: GraphProto) -> Counter[str]:
    """How often nodes and outputs read each value."""
    used = Counter(value.name for value in graph.output)
    for node in graph.node:
        used.update(node.input)
        for inner in subgraphs(node):
            used += used_values(inner)
    return used


def subgraphs(node: NodeProto) -> list[GraphProto]:
    """Graphs inside a node, as of an If."""
    return [g for item in node.attribute for g in ([item.g] if item.HasField("g") else item.graphs)]


def unused_prefix(graph: GraphProto) -> str:
    """Return a prefix that no name in a graph has."""
    names = value_names(graph) | {node.name for node in graph.node}
    prefixes = ["r/", *(f"r{i}/" for i in range(2, len(names) + 3))]
    return next(p for p in prefixes if not any(name.startswith(p) for name in names))


def remove_unused(graph: GraphProto, name: str) -> None:
    """Remove the nodes that only an output needed which is no longer one."""
    if name in used_values(graph):
        return
    for node in graph.node:
        if list(node.output) == [name]:
            graph.node.remove(node)
            for value in [value for value in graph.value_info if value.name == name]:
                graph.value_info.remove(value)
            for above in node.input:
                remove_unused(graph, above)
            return


def rename(nodes: Sequence[NodeProto], old: str, new: str) -> None:
    """Change the name of a value wherever these nodes have it."""
    for node in nodes:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
