"""obstore: write, read, list, copy and rename."""

import os

import obstore
from obstore.store import AzureStore

folder = os.environ["FOLDER"]
store = AzureStore(
    os.environ["CONTAINER"],
    account_name=os.environ["ACCOUNT"],
    endpoint=os.environ["BLOB_ENDPOINT"],
    sas_key=os.environ["SAS_TOKEN"],
)
obstore.put(store, f"{folder}/one.txt", b"weights")
assert bytes(obstore.get(store, f"{folder}/one.txt").bytes()) == b"weights"
obstore.copy(store, f"{folder}/one.txt", f"{folder}/two.txt")
obstore.rename(store, f"{folder}/two.txt", f"{folder}/three.txt")
assert bytes(obstore.get(store, f"{folder}/three.txt").bytes()) == b"weights"
found = sorted(entry["path"] for entry in obstore.list(store, folder).collect())
assert found == [f"{folder}/one.txt", f"{folder}/three.txt"], found

# Ends without what the interpreter does as it ends, which is not tested.
os._exit(0)
