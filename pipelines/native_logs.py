"""Starts TensorFlow without the chatter of its native libraries."""

from __future__ import annotations

import os
import re
import sys
import tempfile

# Written before TensorFlow's own log level applies. Warnings and errors pass; the one error is
# how a CUDA build says that there is no driver, which `--devices all` checks by itself.
_CHATTER = re.compile(
    rb"I\d{4} .*|WARNING: All log messages before absl::InitializeLog.*"
    rb"|E\d{4} .*failed call to cuInit.*"
)


def import_tensorflow() -> None:
    """Imports TensorFlow and lists its devices; what that says on stderr is sifted.

    Everything is shown where `TF_CPP_MIN_LOG_LEVEL` asks for it with 0.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0" or "tensorflow" in sys.modules:
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        try:
            os.dup2(held.fileno(), 2)
            import tensorflow as tf

            tf.config.list_physical_devices()
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            for line in held:
                if not _CHATTER.fullmatch(line.rstrip(b"\n")):
                    sys.stderr.write(line.decode(errors="replace"))
