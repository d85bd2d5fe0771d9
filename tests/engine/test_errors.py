"""Which errors ask for a smaller batch, and how errors read in a failure record."""

from __future__ import annotations

import pytest
import tensorflow as tf

from transforms.engine.errors import (
    describe,
    is_consequence,
    is_out_of_memory,
    may_be_the_device,
)

OUT_OF_MEMORY = [
    tf.errors.ResourceExhaustedError(
        None, None, "OOM when allocating tensor with shape[4096,1024] by allocator GPU_0_bfc"
    ),
    tf.errors.InternalError(None, None, "Failed to allocate scratch space: out of memory"),
    tf.errors.InternalError(None, None, "cuDNN launch failure: CUDNN_STATUS_ALLOC_FAILED"),
    tf.errors.InternalError(
        None, None, "failed to create cublas handle: CUBLAS_STATUS_ALLOC_FAILED"
    ),
    tf.errors.UnknownError(None, None, "CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
    # Texts of TensorFlow 2.21's libraries.
    tf.errors.NotFoundError(
        None,
        None,
        "No algorithm worked!  Error messages:\n  Profiling failure on CUDNN engine 1: "
        "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 17179869184 bytes.",
    ),
    tf.errors.InternalError(
        None,
        None,
        "CUDNN failed to allocate the scratch space for the runner or to find a working "
        "no-scratch runner.",
    ),
    tf.errors.InternalError(None, None, "EigenAllocator for GPU ran out of memory when allocating"),
    tf.errors.FailedPreconditionError(
        None, None, "DNN library initialization failed. Look at the errors above for more details."
    ),
    tf.errors.InternalError(None, None, "No BLAS for stream."),
    tf.errors.InternalError(
        None, None, "Attempting to perform BLAS operation using StreamExecutor without BLAS support"
    ),
    tf.errors.InternalError(
        None,
        None,
        "2 root error(s) found.\n  (0) INTERNAL:  stream did not block host\n"
        "  (1) RESOURCE_EXHAUSTED:  OOM when allocating tensor with shape[8]",
    ),
]
OTHERS = [
    tf.errors.InvalidArgumentError(None, None, "Incompatible shapes: [8] vs. [0]"),
    tf.errors.InternalError(None, None, "Blas GEMM launch failed"),
    tf.errors.NotFoundError(None, None, "No algorithm worked!"),
    tf.errors.FailedPreconditionError(None, None, "Table not initialized."),
    tf.errors.InvalidArgumentError(None, None, "the text says: out of memory"),
    MemoryError("of the host"),
    ValueError("out of memory"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=str)
def test_out_of_memory(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", OTHERS, ids=repr)
def test_other_errors(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_a_real_allocation_failure_is_recognised() -> None:
    with pytest.raises(tf.errors.ResourceExhaustedError) as raised:
        tf.zeros([2500, 1024, 1024, 1024])
    assert is_out_of_memory(raised.value)


def test_a_description_has_no_stack() -> None:
    @tf.function
    def check(x: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([tf.debugging.assert_positive(x, "not positive")]):
            return tf.identity(x)

    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        check(tf.constant([-1.0]))
    described = describe(raised.value)
    assert described.error == "InvalidArgumentError"
    assert described.message.startswith("assertion failed: [not positive")
    assert "File" not in described.message


ROOTS = """2 root error(s) found.
  (0) CANCELLED:  Function was cancelled before it was started
\t [[{{node replica_1/Call}}]]
  (1) INVALID_ARGUMENT:  assertion failed: [not positive] [two
lines]
\t [[{{node replica_2/Assert}}]]
0 successful operations.
1 derived errors ignored. [Op:__inference_step_82]"""


@pytest.mark.parametrize("kind", [tf.errors.CancelledError, tf.errors.InvalidArgumentError])
def test_of_several_errors_the_cause_is_described(kind: type[tf.errors.OpError]) -> None:
    error = kind(None, None, f"Graph execution error:\n\n{ROOTS}")
    described = describe(error)
    assert described.error == "InvalidArgumentError"
    assert described.message == (
        "assertion failed: [not positive] [two\nlines]\n\t [[{{node replica_2/Assert}}]]"
    )
    assert not is_consequence(error)
    assert not may_be_the_device(error)


def test_of_consequences_alone_the_first_is_described() -> None:
    error = tf.errors.CancelledError(None, None, ROOTS.replace("INVALID_ARGUMENT", "CANCELLED"))
    assert describe(error).message.startswith("Function was cancelled before it was started")
    assert is_consequence(error)
    assert is_consequence(tf.errors.CancelledError(None, None, "RecvAsync is cancelled."))


def test_a_long_message_is_cut() -> None:
    assert len(describe(ValueError("x" * 10_000)).message) == 500
