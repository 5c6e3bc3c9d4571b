"""Settings of the dataset."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from hybridflow.config.fields import NonNegativeInt, Section, Text


class DatasetSettings(Section):
    """Where the images come from."""

    source: Literal["cifar10", "folder"] = Field("cifar10", description="cifar10, or a folder of your own images")
    url: Text = Field(
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", description="where CIFAR-10 is fetched from"
    )
    archive: Text | None = Field(None, description="a copy of CIFAR-10's archive: a path or a URL; it is used instead")
    folder: Text | None = Field(None, description="with source folder: a directory that holds train/ and test/")
    holdout: NonNegativeInt = Field(0, description="training images kept back, the last ones, for choosing settings")

    @model_validator(mode="after")
    def _folder_and_source_agree(self) -> DatasetSettings:
        if self.source == "folder" and self.folder is None:
            raise ValueError("folder must name a directory with train/ and test/ when source is 'folder'")
        if self.source != "folder" and self.folder is not None:
            raise ValueError(
                f"folder is {self.folder!r}, but source is {self.source!r}; set source to folder, or folder to null"
            )
        return self
