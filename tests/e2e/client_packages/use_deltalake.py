"""deltalake: make a table, append to it, read it; its commits are renames."""

import os

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

options = {
    "account_name": os.environ["ACCOUNT"],
    "endpoint": os.environ["BLOB_ENDPOINT"],
    "sas_token": os.environ["SAS_TOKEN"],
}
place = f"az://{os.environ['CONTAINER']}/{os.environ['FOLDER']}/table"
for step in (1, 2):
    write_deltalake(place, pa.table({"step": [step]}), mode="append", storage_options=options)
table = DeltaTable(place, storage_options=options)
assert table.version() == 1
assert sorted(table.to_pyarrow_table()["step"].to_pylist()) == [1, 2]

# Now and then one of its threads ends the process by a signal as the interpreter ends, which is not what is tested.
os._exit(0)
