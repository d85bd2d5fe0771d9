"""Operations in a SavedModel that reach for files or for Python, by name."""

from __future__ import annotations

from transforms.engine.operation_kinds import operation_names
from transforms.engine.saved_model import SavedModelFile

# SaveV2, RestoreV2 and the like are in every SavedModel, for its own variables.
FILE_OPERATIONS = frozenset({
    "CreateSummaryFileWriter", "DatasetToTFRecord", "EagerPyFunc", "FixedLengthRecordDataset",
    "FixedLengthRecordDatasetV2", "FixedLengthRecordReader", "FixedLengthRecordReaderV2",
    "InitializeTableFromTextFile", "InitializeTableFromTextFileV2", "LoadDataset", "MatchingFiles",
    "MatchingFilesDataset", "PrintV2", "PyFunc", "PyFuncStateless", "ReadFile", "SaveDataset",
    "SaveDatasetV2", "TFRecordDataset", "TFRecordDatasetV2", "TFRecordReader", "TFRecordReaderV2",
    "TextLineDataset", "TextLineReader", "TextLineReaderV2", "WholeFileReader",
    "WholeFileReaderV2", "WriteFile",
})  # fmt: skip


def file_operations(file: SavedModelFile) -> list[str]:
    """Names of the operations in the graph and its functions that read or write files, or call
    Python, which only works in the process that made the model.
    """
    return sorted(operation_names(file.graph.graph_def) & FILE_OPERATIONS)
