"""What TensorFlow's kernels do with the memory of their inputs, by the operation's name."""

from __future__ import annotations

from typing import Any

# fmt: off

# The output is the first input's memory; of IdentityN each output that of its own input.
ALIASES = frozenset({
    "Bitcast", "CheckNumerics", "EnsureShape", "Enter", "Exit", "ExpandDims", "Identity",
    "IdentityN", "Merge", "NextIteration", "PlaceholderWithDefault", "PreventGradient",
    "ReadVariableOp", "RefEnter", "RefExit", "RefIdentity", "RefMerge", "RefNextIteration",
    "RefSwitch", "Reshape", "Snapshot", "Squeeze", "StopGradient", "Switch",
    "TensorListGetItem", "TensorListResize",
})

# The first output goes into an input's memory, where nothing reads that input afterwards.
IN_PLACE = frozenset({
    "Abs", "Acos", "Acosh", "Add", "AddN", "AddV2", "Asin", "Asinh", "Atan", "Atan2", "Atanh",
    "BiasAdd", "Ceil", "ClipByValue", "Cos", "Cosh", "Div", "DivNoNan", "Elu", "Erf", "Erfc",
    "Exp", "Expm1", "Floor", "FloorDiv", "FloorMod", "FusedBatchNorm", "FusedBatchNormV2",
    "FusedBatchNormV3", "Inv", "LeakyRelu", "Log", "Log1p", "LogicalAnd", "LogicalNot",
    "LogicalOr", "LogSoftmax", "Maximum", "Minimum", "Mul", "MulNoNan", "Neg", "Pow", "RealDiv",
    "Reciprocal", "Relu", "Relu6", "Rint", "Round", "Rsqrt", "Selu", "Sigmoid", "Sign", "Sin",
    "Sinh", "Softmax", "Softplus", "Softsign", "Sqrt", "Square", "SquaredDifference", "Sub",
    "Tan", "Tanh", "Xdivy", "Xlogy",
})

# The output stays as long as the model.
KEPT = frozenset({"Const", "VarHandleOp", "Variable", "VariableV2"})

# Which inputs a list of tensors shares memory with after a write.
LIST_WRITES = {"TensorListSetItem": (0, 2), "TensorListPushBack": (0, 1)}

# fmt: on


def operation_names(graph: Any) -> set[str]:
    """Names of the operations in a ``GraphDef`` and its functions."""
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    return {node.op for body in bodies for node in body}
