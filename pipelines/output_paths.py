"""Where everything lies in the folder that a job writes to."""

from __future__ import annotations

import os

from pipelines import storage

WORK_FOLDER = "_mirrorbeam"
SUCCESS = "_SUCCESS"


class OutputPaths:
    """Names every file of a job's output."""

    def __init__(self, path: str) -> None:
        """Takes a folder on any Beam filesystem; it need not exist."""
        self.path = os.path.abspath(path) if storage.is_local(path) else path.rstrip("/")

    def part(self, split: str, suffix: str) -> str:
        """Path of a split's predictions; `split` is the split's name."""
        return storage.join(self.path, f"part-{split}.{suffix}")

    @property
    def failed_folder(self) -> str:
        """Folder of the rows that could not be scored."""
        return storage.join(self.path, WORK_FOLDER, "failed")

    def failed_part(self, split: str) -> str:
        """Path of a split's failed rows."""
        return storage.join(self.failed_folder, f"part-{split}.parquet")

    @property
    def commits_folder(self) -> str:
        """Folder of the records of committed splits."""
        return storage.join(self.path, WORK_FOLDER, "commits")

    def commit(self, split: str) -> str:
        """Path of the record that a split is committed."""
        return storage.join(self.commits_folder, f"{split}.json")

    def temporary(self, stem: str, suffix: str) -> str:
        """Path of a file on its way; `stem` begins with the split's name, if it is a split's."""
        return storage.join(self.temporary_folder, f"{stem}.{suffix}")

    @property
    def temporary_folder(self) -> str:
        """Folder of the files on their way."""
        return storage.join(self.path, WORK_FOLDER, "tmp")

    @property
    def tuning_folder(self) -> str:
        """Folder of batch sizes that workers found."""
        return storage.join(self.path, WORK_FOLDER, "tuning")

    def tuning(self, key: str) -> str:
        """Path of a batch size that a worker found; `key` is what it depends on."""
        return storage.join(self.tuning_folder, f"{key}.json")

    @property
    def plan(self) -> str:
        """Path of the plan."""
        return storage.join(self.path, WORK_FOLDER, "plan.json")

    @property
    def inputs(self) -> str:
        """Path of the list of files that the plan was made from."""
        return storage.join(self.path, WORK_FOLDER, "inputs.json")

    @property
    def runs_folder(self) -> str:
        """Folder of what is known of the commands that worked on the job."""
        return storage.join(self.path, WORK_FOLDER, "runs")

    def run(self, name: str) -> str:
        """Path of what is known of one of them."""
        return storage.join(self.runs_folder, f"{name}.json")

    @property
    def report(self) -> str:
        """Path of the report."""
        return storage.join(self.path, WORK_FOLDER, "report.json")

    @property
    def html_report(self) -> str:
        """Path of the report for people."""
        return storage.join(self.path, WORK_FOLDER, "report.html")

    @property
    def finishing(self) -> str:
        """Path of the empty file that becomes `success`, on local disks, if nobody deletes it."""
        return storage.join(self.path, WORK_FOLDER, "finishing")

    @property
    def success(self) -> str:
        """Path of the empty file that appears when all else is there."""
        return storage.join(self.path, SUCCESS)
