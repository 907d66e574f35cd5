"""adlfs: write, read, list, copy and move, as fsspec's users do."""

import os

from adlfs import AzureBlobFileSystem

folder = f"{os.environ['CONTAINER']}/{os.environ['FOLDER']}"
files = AzureBlobFileSystem(
    account_name=os.environ["ACCOUNT"],
    account_host=os.environ["BLOB_HOST"],
    sas_token=os.environ["SAS_TOKEN"],
    # A token for one container may not ask for the container's properties.
    assume_container_exists=True,
)
files.pipe_file(f"{folder}/one.txt", b"weights")
assert files.cat_file(f"{folder}/one.txt") == b"weights"
files.cp_file(f"{folder}/one.txt", f"{folder}/two.txt")
files.mv(f"{folder}/two.txt", f"{folder}/three.txt")
assert files.cat_file(f"{folder}/three.txt") == b"weights"
assert sorted(files.ls(f"{folder}", refresh=True)) == [f"{folder}/one.txt", f"{folder}/three.txt"]
