"""Writes files through the active store and reads them again, as many as it is told; says how many there were."""

import sys

from zenml.client import Client
from zenml.io import fileio

folder = f"{Client().active_stack.artifact_store.path}/many"
names = [f"{folder}/{number}/data.json" for number in range(int(sys.argv[1]))]
for name in names:
    with fileio.open(name, "w") as file:
        file.write(name)
read = []
for name in names:
    with fileio.open(name) as file:
        read.append(file.read())
assert read == names, read
print(f"{len(read)} files in {len(fileio.listdir(folder))} folders")
