"""azure-storage-blob: write, read, list, copy within the container, overwrite."""

import os
import time

from azure.storage.blob import ContainerClient

folder = os.environ["FOLDER"]
with ContainerClient.from_container_url(os.environ["SAS_URL"]) as container:
    container.upload_blob(f"{folder}/one.txt", b"one")
    container.upload_blob(f"{folder}/one.txt", b"weights", overwrite=True)
    assert container.download_blob(f"{folder}/one.txt").readall() == b"weights"
    source, target = container.get_blob_client(f"{folder}/one.txt"), container.get_blob_client(f"{folder}/two.txt")
    target.start_copy_from_url(source.url)
    while target.get_blob_properties().copy.status == "pending":
        time.sleep(0.05)
    assert target.download_blob().readall() == b"weights"
    assert sorted(container.list_blob_names(name_starts_with=f"{folder}/")) == [
        f"{folder}/one.txt",
        f"{folder}/two.txt",
    ]
    container.delete_blob(f"{folder}/one.txt")
