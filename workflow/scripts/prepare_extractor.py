"""Gets the weights of a feature extractor: trained (kept in the store), fetched, or a copy of the user's own."""

from contextlib import AbstractContextManager
from pathlib import Path

from hybridflow.jobs import job_device, workflow_job

name, weights = snakemake.wildcards.extractor, Path(snakemake.output.weights)
downloads = Path("resources/inception")

with workflow_job(snakemake) as settings:
    from hybridflow.evaluation.extractors.base import Preparation, extractor_class
    from hybridflow.io.hashing import sha256_file
    from hybridflow.io.records import write_record
    from hybridflow.runtime.revision import code_revision

    def device() -> AbstractContextManager:
        return job_device(snakemake, snakemake.params.device)

    dataset = Path(snakemake.input.manifest).parent
    given = Preparation(settings, dataset, snakemake.params.dataset, downloads, device, snakemake.threads)
    description = extractor_class(name).prepare(weights, given)
    values = {"extractor": name, "weights_sha256": sha256_file(weights), "description": description}
    values |= {"revision": code_revision()}
    write_record(snakemake.output.record, values, [weights])
