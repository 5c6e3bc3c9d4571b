# The configuration: config.yaml, the files after --configfile over it, and over them what --config says.
#
# Snakemake's own reading keeps the last of two equal keys in silence, takes `010` for 8, and names no line of a syntax
# error. So the same files are read strictly before it reads them, and `config` gets the result.
import os
import sys

from snakemake.exceptions import WorkflowError

try:
    from hybridflow.config.yaml_files import read_config
    from hybridflow.runtime.errors import UserError
except ModuleNotFoundError as error:
    raise WorkflowError(
        f"the Python that runs snakemake ({sys.executable}) has no module {error.name!r}; "
        "run `make setup` and use .venv/bin/snakemake."
    )

if len(sys.executable.split()) > 1:
    raise WorkflowError(
        f"Snakemake cannot start jobs with a Python whose path has a space ({sys.executable}); "
        "make the environment elsewhere, with `make VENV=/path/without/spaces setup`."
    )


def strict_config():
    """What the configuration files and the command line say."""
    given = workflow.config_settings
    base = os.path.exists("config.yaml") and not given.replace_workflow_config
    files = [*(["config.yaml"] if base else []), *map(os.path.relpath, given.configfiles)]
    try:
        return read_config(*files, command_line=given.config)
    except UserError as error:
        raise WorkflowError(str(error))


# Where this workflow is a module of another, that one gives the configuration.
STRICT_CONFIG = config if workflow.modifier.skip_configfile else strict_config()


configfile: "config.yaml"


if STRICT_CONFIG is not config:
    config.clear()
    config.update(STRICT_CONFIG)
